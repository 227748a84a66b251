//! `unix`: a process of this host.

use marque_core::attestation::Attestation;
use marque_core::time::Timestamp;

use super::Attestor;
use crate::error::Result;
use crate::observe::{Observer, Process};

impl Attestor for Observer {
    const NAME: &'static str = "unix";
    type Evidence<'a> = &'a Process;

    fn attest(&self, process: &Process, _: Timestamp) -> Result<Attestation> {
        self.look(process)
    }
}
