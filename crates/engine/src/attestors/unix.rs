//! `unix`: a process of this host, by its number.

use marque_core::attestation::Attestation;
use marque_core::time::Timestamp;

use super::Attestor;
use crate::error::Result;
use crate::observe::Observer;

impl Attestor for Observer {
    const NAME: &'static str = "unix";
    type Evidence<'a> = u32;

    fn attest(&self, pid: u32, _: Timestamp) -> Result<Attestation> {
        self.look(pid)
    }
}
