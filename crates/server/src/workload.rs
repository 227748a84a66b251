//! The SPIFFE Workload API (SPIFFE_Workload_API §5, §6; SPIFFE_Workload_Endpoint §3–§6).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use marque_core::attestation::Instance;
use marque_core::time::Timestamp;
use marque_engine::{AuthorityId, Engine, EngineError, Launch};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};

use crate::pb::workload as pb;
use crate::pb::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use crate::serve::Peer;

/// The gRPC service for one connection, whose peer the kernel named.
pub fn service(engine: Arc<Engine>, peer: Peer, launch: Option<Launch>) -> SpiffeWorkloadApiServer<WorkloadApi> {
    SpiffeWorkloadApiServer::new(WorkloadApi(Arc::new(Inner { engine, peer, launch })))
}

/// The Workload API of one caller.
#[derive(Clone, Debug)]
pub struct WorkloadApi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Arc<Engine>,
    peer: Peer,
    launch: Option<Launch>,
}

/// A stream of full states.
pub struct Updates<T>(mpsc::Receiver<Result<T, Status>>);

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
        let instance = self.caller(&request).await?;
        Arc::clone(&self.0).updates(instance).await
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<pb::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let instance = self.caller(&request).await?;
        Arc::clone(&self.0).updates(instance).await
    }

    async fn fetch_jwtsvid(&self, request: Request<pb::JwtsvidRequest>) -> Result<Response<pb::JwtsvidResponse>, Status> {
        let instance = self.caller(&request).await?;
        let asked = request.into_inner();
        let mine = instance.identity.to_string();
        if !asked.spiffe_id.is_empty() && asked.spiffe_id != mine {
            return Err(Status::permission_denied(format!("this workload is not `{}`", asked.spiffe_id)));
        }
        let svid = self.0.engine.jwt_svid(&instance, &asked.audience).await.map_err(|e| status(&e))?;
        Ok(Response::new(pb::JwtsvidResponse { svids: vec![pb::Jwtsvid { spiffe_id: mine, svid, hint: String::new() }] }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<pb::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let instance = self.caller(&request).await?;
        Arc::clone(&self.0).updates(instance).await
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
        let invalid = |e: EngineError| Status::invalid_argument(e.to_string());
        let valid = self.0.engine.validate_any_jwt_svid(&asked.svid, Some(&asked.audience)).map_err(invalid)?;
        let fields = valid.claims.iter().map(|(k, v)| (k.clone(), value(v))).collect();
        Ok(Response::new(pb::ValidateJwtsvidResponse {
            spiffe_id: valid.id.to_string(),
            claims: Some(prost_types::Struct { fields }),
        }))
    }
}

impl WorkloadApi {
    /// The caller, attested now. Every call carries `workload.spiffe.io: true` (Endpoint §3, §6).
    async fn caller<T>(&self, request: &Request<T>) -> Result<Instance, Status> {
        let marked = request.metadata().get("workload.spiffe.io").is_some_and(|v| v.as_bytes() == b"true");
        if !marked {
            return Err(Status::invalid_argument("the security header `workload.spiffe.io: true` is missing"));
        }
        let inner = Arc::clone(&self.0);
        let look = tokio::task::spawn_blocking(move || inner.engine.look(inner.peer.pid)).await;
        let seen = look.map_err(|_| Status::unavailable("the process could not be looked at"))?;
        // A process that has gone is nobody.
        let seen = seen.map_err(|e| Status::permission_denied(e.chain()))?;
        self.0.engine.attest(seen, self.0.launch.as_ref()).await.map_err(|e| status(&e))
    }
}

impl Inner {
    fn domain(&self) -> String {
        self.engine.trust_domain().id().to_string()
    }

    /// The CA certificates of other trust domains, by their SPIFFE ID (Workload API §5.2.1).
    fn foreign_roots(&self) -> HashMap<String, Vec<u8>> {
        let bundles = self.engine.foreign_bundles();
        bundles.iter().map(|b| (b.trust_domain.id().to_string(), b.x509_authorities.concat())).collect()
    }

    /// Sends the first state at once and a new one whenever it changes: when an SVID has lived half its life, when a bundle
    /// changes, when the authority that signed it is tainted. Ends the stream with `PermissionDenied` when the caller is no
    /// longer who it was (Workload API §4.3, §5.2.1).
    async fn updates<T: Stated>(self: Arc<Self>, instance: Instance) -> Result<Response<Updates<T>>, Status> {
        let (tx, rx) = mpsc::channel(1);
        let mut ended = self.engine.watch_ended();
        let mut bundles = self.engine.watch_bundles();
        let mut state = T::fresh(&self, &instance).await?;
        tokio::spawn(async move {
            loop {
                let rotate = state.rotate;
                let signed_by = state.signed_by.take();
                if tx.send(Ok(state.message)).await.is_err() {
                    return;
                }
                let next = loop {
                    if let Err(dead) = self.engine.state().check_instance(instance.id) {
                        break Err(Status::permission_denied(dead.to_string()));
                    }
                    tokio::select! {
                        () = tx.closed() => return,
                        _ = ended.changed() => {}
                        _ = bundles.changed() => {
                            let urgent = signed_by.as_ref().is_some_and(|id| !self.engine.x509_standing(id));
                            tokio::time::sleep(jitter(&instance, if urgent { URGENT } else { CALM })).await;
                            break T::fresh(&self, &instance).await;
                        }
                        () = tokio::time::sleep(self.until(rotate)) => {
                            if rotate.is_some_and(|at| self.engine.now() >= at) {
                                break T::fresh(&self, &instance).await;
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

    /// How long to sleep before it is time to rotate, or to look at the time again.
    fn until(&self, rotate: Option<Timestamp>) -> Duration {
        let left = |at: Timestamp| at.micros().saturating_sub(self.engine.now().micros()).max(0).unsigned_abs();
        rotate.map_or(IDLE, |at| Duration::from_micros(left(at))).min(IDLE)
    }
}

/// A part of `most` that differs from one instance to the next: when a bundle changes, not everybody comes at once.
fn jitter(instance: &Instance, most: Duration) -> Duration {
    let bytes = instance.id.to_bytes();
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
    async fn fresh(inner: &Inner, instance: &Instance) -> Result<Current<Self>, Status>;
}

#[tonic::async_trait]
impl Stated for pb::X509svidResponse {
    async fn fresh(inner: &Inner, instance: &Instance) -> Result<Current<Self>, Status> {
        let svid = inner.engine.x509_svid(instance).await.map_err(|e| status(&e))?.svid;
        let now = inner.engine.now().micros();
        // After half its life, a tenth of it sooner or later, so that those of one start do not stay together.
        let half = svid.not_after.micros().saturating_sub(now) / 2;
        let spread = jitter(instance, Duration::from_micros((half / 5).unsigned_abs())).as_micros();
        let due = now.saturating_add(half).saturating_sub(half / 10).saturating_add(i64::try_from(spread).unwrap_or(0));
        let message = pb::X509svid {
            spiffe_id: svid.id.to_string(),
            x509_svid: svid.chain.concat(),
            x509_svid_key: svid.key_pkcs8.to_vec(),
            bundle: inner.engine.authorities().bundle().x509_authorities.concat(),
            hint: String::new(),
        };
        let federated_bundles = inner.foreign_roots();
        Ok(Current {
            message: Self { svids: vec![message], crl: Vec::new(), federated_bundles },
            rotate: Some(Timestamp::from_micros(due)),
            signed_by: Some(svid.authority),
        })
    }
}

#[tonic::async_trait]
impl Stated for pb::X509BundlesResponse {
    async fn fresh(inner: &Inner, _: &Instance) -> Result<Current<Self>, Status> {
        let mut bundles = inner.foreign_roots();
        bundles.insert(inner.domain(), inner.engine.authorities().bundle().x509_authorities.concat());
        Ok(Current { message: Self { crl: Vec::new(), bundles }, rotate: None, signed_by: None })
    }
}

#[tonic::async_trait]
impl Stated for pb::JwtBundlesResponse {
    async fn fresh(inner: &Inner, _: &Instance) -> Result<Current<Self>, Status> {
        let own = inner.engine.authorities().bundle().jwt_jwks_json().map_err(|e| status(&e.into()))?;
        let mut bundles = HashMap::from([(inner.domain(), own.into_bytes())]);
        for foreign in inner.engine.foreign_bundles().iter() {
            let jwks = foreign.jwt_jwks_json().map_err(|e| status(&e.into()))?;
            bundles.insert(foreign.trust_domain.id().to_string(), jwks.into_bytes());
        }
        Ok(Current { message: Self { bundles }, rotate: None, signed_by: None })
    }
}

/// The status of an error (Endpoint §6 and appendix A).
fn status(error: &EngineError) -> Status {
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

/// How long a stream sleeps at most before it looks at the time again.
const IDLE: Duration = Duration::from_secs(60);
/// Over how long new bundles are handed out. They are published well before they are needed.
const CALM: Duration = Duration::from_secs(5);
/// Over how long SVIDs of a tainted authority are issued anew.
const URGENT: Duration = Duration::from_millis(500);
