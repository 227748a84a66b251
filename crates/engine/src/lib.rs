//! What we do: the use cases of Marque, and the only layer with effects. Every surface calls only this.
//!
//! A use case checks against the live [`State`], appends its events to the log and applies them in one critical
//! section, then waits until they are durable before it answers. So the order of the log is the order of decisions,
//! and a request that comes after a revocation in the log has seen it.

mod access;
mod apply;
mod artifacts;
mod attest;
mod attestors;
mod authorities;
mod authorize;
mod caller;
mod commit;
pub mod desired;
mod digest;
mod elevate;
mod env;
mod erase;
mod error;
mod exchange;
mod followers;
mod issue;
mod keys;
mod nodes;
mod observe;
mod open;
mod passage;
mod query;
mod receipt;
mod refusals;
mod retention;
mod revoke;
mod seal;
mod secrets;
mod serving;
mod svids;
mod tasks;
mod tick;
mod trace;
mod witness;

pub use apply::{Applied, Change, ChangeKind};
pub use artifacts::{ArtifactRequest, Attested};
pub use attest::{OTHER as OTHER_PROCESS, Observed};
pub use attestors::{Attestor, Launch, Told, TrustedIssuer};
pub use authorities::{AuthorityVerb, AuthorityView};
pub use authorize::{ActionRequest, Permit, Verdict};
pub use caller::{Caller, Workload, certificate_thumbprint};
pub use digest::{canonical, content, content_within, sha256};
pub use elevate::ElevationView;
pub use env::{Clock, Entropy, Env, SystemClock, SystemEntropy};
pub use erase::Erasure;
pub use error::{EngineError, Result, describe};
pub use exchange::{Exchange, Exchanged, TokenType};
pub use followers::{Batch, Export, ExportFormat, ExportStatus, Follower, Framing, Limits, Piece, Rendering};
pub use issue::{HeldWit, IssuedWit, IssuedX509, ValidatedJwt};
pub use nodes::{NodePeer, NodeProof, NodeToken, NodeView};
pub use observe::{Connections, Observer, Process, observe, parent_of, shares_pids, start_time, tables};
pub use open::{Engine, Options};
pub use passage::Passage;
pub use query::{
    AccessAt, CredentialHistory, CredentialUse, Ended, Entry, Follow, HeldLease, Holder, Order, Page, Query, TaskCredential,
    TaskCredentials,
};
pub use receipt::{RECEIPT_INTERVAL, Receipt, ReceiptOf};
pub use retention::{PruneRequest, Pruning, Retention, SHORTEST_RETENTION};
pub use revoke::Revoked;
pub use seal::{seal_keys, seals_of, token};
pub use secrets::InjectedSecret;
pub use serving::{Holding, Identified, NodeSight, NodeSync};
pub use svids::HeldX509;
pub use tasks::TaskRequest;
pub use trace::{Chain, Found, FoundReceipt, Hint, InclusionProof, Missing, Trace, TraceClass, TraceSpan, TraceStep};
pub use witness::{
    Anchor, Keeper, Keeping, Kept, RootLog, Witness, WitnessAnswer, WitnessChange, WitnessReply, WitnessRequest, WitnessStatus,
    Witnesses,
};

pub use marque_core::state::State;
pub use marque_export::schema::event_schema;
pub use marque_ledger::MAX_ADD_CHECKPOINT_SIZE;
pub use marque_pkcs11::{EcCurve, EcKey};
pub use marque_policy::{Access, PolicyError};
pub use marque_store::published::{Published, Served};
pub use marque_store::seal::{SealMethod, Seals};
pub use marque_store::vault::Opening;
pub use marque_store::views::{HeldElevation, RecordRow, TaskRow};
pub use marque_svid::oidc::IssuerUrl;
pub use marque_svid::wit::WIT_SVID_REVISION;
pub use marque_svid::x509pop::{Answer as PopAnswer, Challenge as PopChallenge, PopKey, PopVerifier};
pub use marque_svid::{
    AuthorityId, Bundle, BundleSet, Curve, EndpointUrl, KeyKind, Profile, Relationship, RotationPolicy, SecretText, SvidError,
    UpstreamCa, UpstreamKey, X509Svid,
};
