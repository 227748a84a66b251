//! What a broker gets: the answers of this process's engine, on the broker's word, for as long as both count.

use std::sync::Arc;

use marque_core::state::Dead;
use marque_core::time::Timestamp;
use marque_engine::{Clock, Engine, Identified, Launch, Process, ValidatedJwt, Workload};
use tonic::Status;

use super::refusal::{Refusal, refused};
use crate::pb::{broker as pb, workload};
use crate::source::{Bundles, Changes, HeldSvid, Local, Source, status};
use crate::updates::{Current, Stated};

/// The source of one broker, for the processes of this host or of one launch.
#[derive(Debug)]
pub(super) struct OnBehalf {
    engine: Arc<Engine>,
    local: Arc<dyn Source>,
    broker: Workload,
}

impl OnBehalf {
    pub(super) fn of(engine: Arc<Engine>, broker: Workload, launch: Option<Launch>) -> Arc<Self> {
        Arc::new(Self { local: Local::of(Arc::clone(&engine), launch), engine, broker })
    }

    /// A broker counts as long as the X.509-SVID of its connection (Broker Endpoint §6).
    pub(super) fn check_broker(&self) -> Result<(), Status> {
        let now = self.engine.now();
        let dead = self.engine.state().check_lease(self.broker.lease, now).err();
        match dead {
            None => Ok(()),
            Some(dead) => Err(Status::unauthenticated(format!("{dead}: connect again with a fresh X.509-SVID"))),
        }
    }

    /// A status with the reason of the standard (Broker API §4.8): what has ended meanwhile says it, the broker first; else
    /// who is denied is not entitled.
    fn explained(&self, copies: &[Identified], status: Status) -> Status {
        self.ended(copies).unwrap_or_else(|| Refusal::NotEntitled.explain()(status))
    }
}

impl Clock for OnBehalf {
    fn now(&self) -> Timestamp {
        self.engine.now()
    }
}

#[tonic::async_trait]
impl Source for OnBehalf {
    async fn attest(&self, process: &Process) -> Result<Vec<Identified>, Status> {
        self.local.attest(process).await
    }

    async fn check_seen(&self, process: &Process, copies: &[Identified]) -> Result<(), Status> {
        self.local.check_seen(process, copies).await.map_err(|status| self.explained(copies, status))
    }

    async fn x509_svid(&self, of: &Identified) -> Result<HeldSvid, Status> {
        let fetched = async { self.engine.brokered_x509_svid(&self.broker, &self.engine.instance(of.instance)?).await };
        let held = fetched.await.map_err(|e| self.explained(std::slice::from_ref(of), status(&e)))?;
        Ok(HeldSvid::from(&held))
    }

    async fn jwt_svid(&self, of: &Identified, audience: &[String]) -> Result<String, Status> {
        let fetched = async { self.engine.brokered_jwt_svid(&self.broker, &self.engine.instance(of.instance)?, audience).await };
        fetched.await.map_err(|e| self.explained(std::slice::from_ref(of), status(&e)))
    }

    async fn validate(&self, token: &str, audience: &str) -> Result<ValidatedJwt, Status> {
        self.local.validate(token, audience).await
    }

    fn bundles(&self) -> Result<Bundles, Status> {
        self.local.bundles()
    }

    fn changes(&self) -> Changes {
        self.local.changes()
    }

    /// Broker API §4.9: nothing more is sent once the workload has stopped, or may not be spoken for any more.
    async fn moved(&self, copies: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
        self.local.moved(copies).await.map_err(|status| self.explained(copies, status))
    }

    fn ended(&self, copies: &[Identified]) -> Option<Status> {
        if let Err(status) = self.check_broker() {
            return Some(status);
        }
        let (copy, dead) = copies.iter().find_map(|copy| Some((copy, self.engine.ended(copy.instance)?)))?;
        // The process has ended, or it is there and may not be spoken for: its task can be unknown, too.
        let is_gone = matches!(&dead, Dead::Unknown(what) if *what == copy.instance.to_string());
        let refusal = if is_gone { Refusal::NotFound } else { Refusal::NotEntitled };
        Some(refused(refusal, &dead.to_string(), None))
    }
}

#[tonic::async_trait]
impl Stated for pb::SubscribeToX509svidResponse {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status> {
        let state = workload::X509svidResponse::fresh(source, copies).await?;
        let said = |svid: workload::X509svid| pb::X509svid {
            spiffe_id: svid.spiffe_id,
            x509_svid: svid.x509_svid,
            x509_svid_key: svid.x509_svid_key,
            bundle: svid.bundle,
            hint: svid.hint,
        };
        Ok(state.map(|full| Self {
            svids: full.svids.into_iter().map(said).collect(),
            crl: full.crl,
            federated_bundles: full.federated_bundles,
        }))
    }
}

#[tonic::async_trait]
impl Stated for pb::SubscribeToX509BundlesResponse {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status> {
        let state = workload::X509BundlesResponse::fresh(source, copies).await?;
        Ok(state.map(|full| Self { crl: full.crl, bundles: full.bundles }))
    }
}

#[tonic::async_trait]
impl Stated for pb::SubscribeToJwtBundlesResponse {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status> {
        let state = workload::JwtBundlesResponse::fresh(source, copies).await?;
        Ok(state.map(|full| Self { bundles: full.bundles }))
    }
}
