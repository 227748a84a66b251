//! Where the Workload API's answers come from: the engine of this process, or the server that this node joined.

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_core::attestation::Instance;
use marque_core::time::Timestamp;
use marque_engine::{
    AuthorityId, Bundle, BundleSet, Clock, Engine, EngineError, HeldWit, HeldX509, Identified, Launch, Process, ValidatedJwt,
};
use tokio::sync::watch;
use tonic::{Code, Status};
use zeroize::Zeroizing;

/// An X.509-SVID as it is shown (Workload API §5.2.1).
#[derive(Clone)]
pub struct HeldSvid {
    /// The certificates, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The private key (RFC 5208).
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    /// From when the next one is due, by the source's own clock.
    pub due: Timestamp,
    /// The CA whose taint makes it due at once.
    pub authority: AuthorityId,
}

impl From<&HeldX509> for HeldSvid {
    fn from(held: &HeldX509) -> Self {
        let svid = &held.issued.svid;
        Self { chain: svid.chain.clone(), key_pkcs8: svid.key_pkcs8.clone(), due: held.due, authority: svid.authority.clone() }
    }
}

/// The bundles to verify others by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundles {
    /// Of this trust domain.
    pub own: Bundle,
    /// Of the others.
    pub foreign: BundleSet,
    /// The keys of which X.509-SVIDs and WIT-SVIDs may be shown.
    pub good: BTreeSet<AuthorityId>,
}

/// Each counts up whenever something may have changed.
#[derive(Debug)]
pub struct Changes {
    /// A copy may have lost its authority, or the source can show nothing any more.
    pub ended: watch::Receiver<u64>,
    /// The caller may be others than it was.
    pub entries: watch::Receiver<u64>,
    /// A bundle, or what is tainted.
    pub bundles: watch::Receiver<u64>,
}

/// Where identities come from. A source tells the time, too: that by which its SVIDs are due.
///
/// Contract: what it gives counts at that moment. `PermissionDenied` says that the caller is not, or no longer, who it
/// would have to be; `Unavailable`, that the source cannot tell, so that nothing is issued.
#[tonic::async_trait]
pub trait Source: Clock + 'static {
    /// Who is at the other end of a connection, as it is now: a copy of each identity that it is, and at least one.
    async fn attest(&self, process: &Process) -> Result<Vec<Identified>, Status>;
    /// An error unless the process is what was seen of it when it became these copies: it may have become another program, and
    /// its open streams get nothing new then.
    async fn check_seen(&self, process: &Process, copies: &[Identified]) -> Result<(), Status>;
    /// The X.509-SVID that a copy holds now.
    async fn x509_svid(&self, of: &Identified) -> Result<HeldSvid, Status>;
    /// A JWT-SVID for a copy.
    async fn jwt_svid(&self, of: &Identified, audience: &[String]) -> Result<String, Status>;
    /// Checks a JWT-SVID of any trust domain whose bundle is known.
    async fn validate(&self, token: &str, audience: &str) -> Result<ValidatedJwt, Status>;
    /// The bundles, as they are now.
    fn bundles(&self) -> Result<Bundles, Status>;
    /// What to wait for.
    fn changes(&self) -> Changes;
    /// Why one of these copies may be shown nothing any more; nothing while each of them still counts. This is cheap.
    fn ended(&self, copies: &[Identified]) -> Option<Status>;
    /// The copies that the caller is instead of these, which all count: its entries may have changed since it was attested.
    /// Nothing while it is who it was.
    async fn moved(&self, copies: &[Identified]) -> Result<Option<Vec<Identified>>, Status>;
    /// Where WIT-SVIDs come from; nothing where they are not served.
    fn wit(&self) -> Option<&dyn WitSource> {
        None
    }
}

/// A source that has WIT-SVIDs, too. Experimental.
#[tonic::async_trait]
pub trait WitSource: Send + Sync {
    /// The WIT-SVID that a copy holds now.
    async fn wit_svid(&self, of: &Identified) -> Result<HeldWit, Status>;
}

/// The engine of this process, for its own host, or for the processes of one launch.
#[derive(Clone, Debug)]
pub struct Local {
    engine: Arc<Engine>,
    launch: Option<Launch>,
}

impl Local {
    /// A source over an engine; with a launch, for its processes only.
    pub fn of(engine: Arc<Engine>, launch: Option<Launch>) -> Arc<dyn Source> {
        Arc::new(Self { engine, launch })
    }

    /// The copy itself, while it counts.
    fn instance(&self, of: &Identified) -> Result<Instance, Status> {
        self.engine.instance(of.instance).map_err(|e| status(&e))
    }
}

impl Clock for Local {
    fn now(&self) -> Timestamp {
        self.engine.now()
    }
}

#[tonic::async_trait]
impl Source for Local {
    async fn check_seen(&self, process: &Process, copies: &[Identified]) -> Result<(), Status> {
        let seen = self.engine.look(process).await.map_err(|e| Status::permission_denied(e.chain()))?;
        self.engine.check_seen(copies, seen, self.launch.as_ref()).map_err(|e| status(&e))
    }

    async fn attest(&self, process: &Process) -> Result<Vec<Identified>, Status> {
        // A process that has gone is nobody.
        let seen = self.engine.look(process).await.map_err(|e| Status::permission_denied(e.chain()))?;
        let instances = self.engine.attest_all(seen, self.launch.as_ref()).await.map_err(|e| status(&e))?;
        Ok(self.engine.identified(&instances))
    }

    async fn x509_svid(&self, of: &Identified) -> Result<HeldSvid, Status> {
        let held = self.engine.current_x509_svid(&self.instance(of)?).await.map_err(|e| status(&e))?;
        Ok(HeldSvid::from(&held))
    }

    async fn jwt_svid(&self, of: &Identified, audience: &[String]) -> Result<String, Status> {
        self.engine.jwt_svid(&self.instance(of)?, audience).await.map_err(|e| status(&e))
    }

    async fn validate(&self, token: &str, audience: &str) -> Result<ValidatedJwt, Status> {
        let invalid = |e: EngineError| Status::invalid_argument(e.to_string());
        self.engine.validate_any_jwt_svid(token, Some(audience)).map_err(invalid)
    }

    fn bundles(&self) -> Result<Bundles, Status> {
        Ok(Bundles {
            own: self.engine.authorities().bundle().clone(),
            foreign: self.engine.foreign_bundles(),
            good: self.engine.good_authorities(),
        })
    }

    fn changes(&self) -> Changes {
        let engine = &self.engine;
        Changes { ended: engine.watch_ended(), entries: engine.watch_entries(), bundles: engine.watch_bundles() }
    }

    fn ended(&self, copies: &[Identified]) -> Option<Status> {
        let dead = copies.iter().find_map(|copy| self.engine.ended(copy.instance))?;
        Some(Status::permission_denied(dead.to_string()))
    }

    async fn moved(&self, copies: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
        let now = self.engine.attest_again(copies, self.launch.as_ref()).await.map_err(|e| status(&e))?;
        Ok(now.map(|instances| self.engine.identified(&instances)))
    }

    fn wit(&self) -> Option<&dyn WitSource> {
        self.engine.serves_wit().then_some(self as &dyn WitSource)
    }
}

#[tonic::async_trait]
impl WitSource for Local {
    async fn wit_svid(&self, of: &Identified) -> Result<HeldWit, Status> {
        self.engine.current_wit_svid(&self.instance(of)?).await.map_err(|e| status(&e))
    }
}

/// The status of an error (Endpoint §6 and appendix A).
pub(crate) fn status(error: &EngineError) -> Status {
    let code = match error {
        EngineError::NoIdentity(_) | EngineError::Ambiguous(_) | EngineError::Forbidden(_) | EngineError::Dead(_) => {
            Code::PermissionDenied
        }
        EngineError::Invalid(_) | EngineError::Parse(_) => Code::InvalidArgument,
        _ => Code::Unavailable,
    };
    if code == Code::Unavailable {
        tracing::error!("a Workload API call failed: {}", error.chain());
    }
    Status::new(code, error.to_string())
}
