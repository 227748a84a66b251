//! The SPIFFE Workload API (SPIFFE_Workload_API §5, §6; SPIFFE_Workload_Endpoint §3–§6).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use marque_core::spiffe::SpiffeId;
use marque_core::time::Timestamp;
use marque_engine::{AuthorityId, Identified};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::pb::workload as pb;
use crate::pb::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use crate::serve::Peer;
use crate::source::{Bundles, Changes, Source};

/// The gRPC service for one connection, whose peer the kernel named.
pub fn service(source: Arc<dyn Source>, peer: Peer) -> SpiffeWorkloadApiServer<WorkloadApi> {
    SpiffeWorkloadApiServer::new(WorkloadApi(Arc::new(Inner { source, peer })))
}

/// The Workload API of one caller.
#[derive(Clone, Debug)]
pub struct WorkloadApi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    peer: Peer,
}

/// A stream of full states.
pub struct Updates<T>(mpsc::Receiver<Result<T, Status>>);

impl<T> Updates<T> {
    /// Of what a task sends.
    pub(crate) fn of(states: mpsc::Receiver<Result<T, Status>>) -> Self {
        Self(states)
    }
}

impl<T> Stream for Updates<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = Updates<pb::X509svidResponse>;
    type FetchX509BundlesStream = Updates<pb::X509BundlesResponse>;
    type FetchJWTBundlesStream = Updates<pb::JwtBundlesResponse>;

    async fn fetch_x509svid(&self, request: Request<pb::X509svidRequest>) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let copies = self.caller(&request).await?;
        Arc::clone(&self.0).updates(copies).await
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<pb::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let copies = self.caller(&request).await?;
        Arc::clone(&self.0).updates(copies).await
    }

    async fn fetch_jwtsvid(&self, request: Request<pb::JwtsvidRequest>) -> Result<Response<pb::JwtsvidResponse>, Status> {
        let mut copies = self.caller(&request).await?;
        let asked = request.into_inner();
        if asked.audience.len() > MAX_AUDIENCE || asked.audience.iter().any(|a| a.len() > MAX_AUDIENCE_BYTES) {
            return Err(Status::invalid_argument(format!("at most {MAX_AUDIENCE} audiences of {MAX_AUDIENCE_BYTES} bytes")));
        }
        if !asked.spiffe_id.is_empty() {
            let wanted: SpiffeId =
                asked.spiffe_id.parse().map_err(|_| Status::invalid_argument("`spiffe_id` is not a SPIFFE ID"))?;
            copies.retain(|copy| copy.identity == wanted);
            if copies.is_empty() {
                return Err(Status::permission_denied(format!("this workload is not `{wanted}`")));
            }
        }
        let mut svids = Vec::new();
        for copy in &copies {
            let svid = self.0.source.jwt_svid(copy, &asked.audience).await?;
            svids.push(pb::Jwtsvid { spiffe_id: copy.identity.to_string(), svid, hint: copy.hint.clone() });
        }
        Ok(Response::new(pb::JwtsvidResponse { svids }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<pb::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let copies = self.caller(&request).await?;
        Arc::clone(&self.0).updates(copies).await
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<pb::ValidateJwtsvidRequest>,
    ) -> Result<Response<pb::ValidateJwtsvidResponse>, Status> {
        self.caller(&request).await?;
        let asked = request.into_inner();
        if asked.audience.is_empty() || asked.svid.is_empty() {
            return Err(Status::invalid_argument("an audience and a JWT-SVID are needed"));
        }
        let valid = self.0.source.validate(&asked.svid, &asked.audience).await?;
        let fields = valid.claims.iter().map(|(k, v)| (k.clone(), value(v))).collect();
        Ok(Response::new(pb::ValidateJwtsvidResponse {
            spiffe_id: valid.id.to_string(),
            claims: Some(prost_types::Struct { fields }),
        }))
    }
}

impl WorkloadApi {
    /// The caller, attested now: a copy of each identity that it is. Every call carries `workload.spiffe.io: true`,
    /// once (Endpoint §3, §6).
    async fn caller<T>(&self, request: &Request<T>) -> Result<Vec<Identified>, Status> {
        let mut marks = request.metadata().get_all("workload.spiffe.io").iter();
        if marks.next().is_none_or(|v| v.as_bytes() != b"true") || marks.next().is_some() {
            return Err(Status::invalid_argument("the security header `workload.spiffe.io: true` is missing"));
        }
        self.0.source.attest(self.0.peer).await
    }
}

impl Inner {
    /// Sends the first state at once and a new one whenever it changes: when an SVID has lived half its life, when a bundle
    /// changes, when the authority that signed it is tainted, when the caller's identities are others. Ends the stream with
    /// `PermissionDenied` when the caller has none any more (Workload API §4.3, §5.2.1).
    async fn updates<T: Stated>(self: Arc<Self>, mut copies: Vec<Identified>) -> Result<Response<Updates<T>>, Status> {
        let (tx, rx) = mpsc::channel(1);
        let Changes { mut ended, mut bundles } = self.source.changes();
        let mut state = T::fresh(&*self.source, &copies).await?;
        tokio::spawn(async move {
            loop {
                let rotate = state.rotate;
                let signed_by = state.signed_by.take();
                if tx.send(Ok(state.message)).await.is_err() {
                    return;
                }
                let next = loop {
                    match self.moved(&copies).await {
                        Ok(None) => {}
                        Ok(Some(now)) => {
                            copies = now;
                            break T::fresh(&*self.source, &copies).await;
                        }
                        Err(status) => break Err(status),
                    }
                    tokio::select! {
                        () = tx.closed() => return,
                        _ = ended.changed() => {}
                        _ = bundles.changed() => {
                            let urgent = signed_by.as_ref().is_some_and(|id| !self.is_good(id));
                            tokio::time::sleep(jitter(&copies, if urgent { URGENT } else { CALM })).await;
                            break T::fresh(&*self.source, &copies).await;
                        }
                        () = tokio::time::sleep(self.until(rotate)) => {
                            if rotate.is_some_and(|at| self.source.now() >= at) {
                                break T::fresh(&*self.source, &copies).await;
                            }
                        }
                    }
                };
                match next {
                    Ok(fresh) => state = fresh,
                    Err(status) => {
                        let _ = tx.send(Err(status)).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Updates(rx)))
    }

    /// The copies that count instead of these: those that have not ended, or what changed entries make of the caller.
    async fn moved(&self, copies: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
        let Some(status) = self.source.ended(copies) else { return self.source.moved(copies).await };
        let counts = |copy: &&Identified| self.source.ended(std::slice::from_ref(*copy)).is_none();
        let left: Vec<Identified> = copies.iter().filter(counts).cloned().collect();
        if left.is_empty() { Err(status) } else { Ok(Some(left)) }
    }

    fn is_good(&self, authority: &AuthorityId) -> bool {
        self.source.bundles().is_ok_and(|bundles| bundles.good.contains(authority))
    }

    /// How long to sleep before it is time to rotate, or to look at the time again.
    fn until(&self, rotate: Option<Timestamp>) -> Duration {
        let left = |at: Timestamp| at.micros().saturating_sub(self.source.now().micros()).max(0).unsigned_abs();
        rotate.map_or(IDLE, |at| Duration::from_micros(left(at))).min(IDLE)
    }
}

/// A part of `most` that differs from one copy to the next: when a bundle changes, not everybody comes at once.
fn jitter(copies: &[Identified], most: Duration) -> Duration {
    let bytes = copies.first().map(|copy| copy.instance.to_bytes()).unwrap_or_default();
    let tail = bytes.last_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b));
    most.mul_f64(f64::from(tail) / f64::from(u16::MAX))
}

/// A full state of a stream.
struct Current<T> {
    message: T,
    /// When a new one is due by time.
    rotate: Option<Timestamp>,
    /// The authority whose taint makes it due at once.
    signed_by: Option<AuthorityId>,
}

/// A kind of stream, each message of which is the full state (Workload API §4.3).
#[tonic::async_trait]
trait Stated: Sized + Send + 'static {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status>;
}

#[tonic::async_trait]
impl Stated for pb::X509svidResponse {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status> {
        let (mut svids, mut rotate, mut signed_by) = (Vec::new(), None, None);
        for copy in copies {
            let held = source.x509_svid(copy).await?;
            svids.push(pb::X509svid {
                spiffe_id: copy.identity.to_string(),
                x509_svid: held.chain.concat(),
                x509_svid_key: held.key_pkcs8.to_vec(),
                bundle: Vec::new(),
                hint: copy.hint.clone(),
            });
            rotate = Some(rotate.map_or(held.due, |at: Timestamp| at.min(held.due)));
            signed_by = Some(held.authority);
        }
        // After the SVIDs: an authority that signed one of them is in the bundle.
        let bundles = source.bundles()?;
        let bundle = bundles.own.x509_authorities.concat();
        svids.iter_mut().for_each(|svid| svid.bundle.clone_from(&bundle));
        let message = Self { svids, crl: Vec::new(), federated_bundles: foreign_roots(&bundles) };
        Ok(Current { message, rotate, signed_by })
    }
}

#[tonic::async_trait]
impl Stated for pb::X509BundlesResponse {
    async fn fresh(source: &dyn Source, _: &[Identified]) -> Result<Current<Self>, Status> {
        let known = source.bundles()?;
        let mut bundles = foreign_roots(&known);
        bundles.insert(known.own.trust_domain.id().to_string(), known.own.x509_authorities.concat());
        Ok(Current { message: Self { crl: Vec::new(), bundles }, rotate: None, signed_by: None })
    }
}

#[tonic::async_trait]
impl Stated for pb::JwtBundlesResponse {
    async fn fresh(source: &dyn Source, _: &[Identified]) -> Result<Current<Self>, Status> {
        let known = source.bundles()?;
        let mut bundles = HashMap::new();
        let foreign = known.foreign.iter().filter(|bundle| !bundle.jwt_keys.is_empty());
        for bundle in foreign.chain([&known.own]) {
            let jwks = bundle.jwt_jwks_json().map_err(|e| Status::unavailable(e.to_string()))?;
            bundles.insert(bundle.trust_domain.id().to_string(), jwks.into_bytes());
        }
        Ok(Current { message: Self { bundles }, rotate: None, signed_by: None })
    }
}

/// The CA certificates of other trust domains, by their SPIFFE ID (Workload API §5.2.1). One that has none is left out, by
/// which clients let go of those that it had (§4.4).
fn foreign_roots(bundles: &Bundles) -> HashMap<String, Vec<u8>> {
    let trusted = bundles.foreign.iter().filter(|bundle| !bundle.x509_authorities.is_empty());
    trusted.map(|b| (b.trust_domain.id().to_string(), b.x509_authorities.concat())).collect()
}

/// A JSON value as protobuf's.
fn value(json: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(b) => Kind::BoolValue(*b),
        serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(s) => Kind::StringValue(s.clone()),
        serde_json::Value::Array(list) => Kind::ListValue(prost_types::ListValue { values: list.iter().map(value).collect() }),
        serde_json::Value::Object(map) => {
            Kind::StructValue(prost_types::Struct { fields: map.iter().map(|(k, v)| (k.clone(), value(v))).collect() })
        }
    };
    prost_types::Value { kind: Some(kind) }
}

/// The most audiences of one JWT-SVID, and how long one may be.
const MAX_AUDIENCE: usize = 64;
const MAX_AUDIENCE_BYTES: usize = 1024;
/// How long a stream sleeps at most before it looks at the time again.
const IDLE: Duration = Duration::from_secs(60);
/// Over how long new bundles are handed out. They are published well before they are needed.
const CALM: Duration = Duration::from_secs(5);
/// Over how long SVIDs of a tainted authority are issued anew.
const URGENT: Duration = Duration::from_millis(500);
