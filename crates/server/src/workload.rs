//! The SPIFFE Workload API (SPIFFE_Workload_API §5, §6; SPIFFE_Workload_Endpoint §3–§6).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use marque_core::attestation::Instance;
use marque_core::time::Timestamp;
use marque_engine::{Engine, EngineError, Launch};
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
        let inner = Arc::clone(&self.0);
        let (first, rotate) = inner.x509(&instance).await?;
        Ok(inner.updates(instance, first, Some(rotate)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<pb::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let instance = self.caller(&request).await?;
        let bundles = HashMap::from([(self.0.domain(), self.0.roots())]);
        Ok(self.0.clone().updates(instance, pb::X509BundlesResponse { crl: Vec::new(), bundles }, None))
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
        let jwks = self.0.engine.bundle().jwt_jwks_json().map_err(|e| status(&e.into()))?;
        let bundles = HashMap::from([(self.0.domain(), jwks.into_bytes())]);
        Ok(self.0.clone().updates(instance, pb::JwtBundlesResponse { bundles }, None))
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
        let valid = self.0.engine.validate_jwt_svid(&asked.svid, Some(&asked.audience)).map_err(invalid)?;
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

    fn roots(&self) -> Vec<u8> {
        self.engine.bundle().x509_authorities.concat()
    }

    /// A fresh X.509-SVID, and when to rotate it: after half its life.
    async fn x509(&self, instance: &Instance) -> Result<(pb::X509svidResponse, Timestamp), Status> {
        let issued = self.engine.x509_svid(instance).await.map_err(|e| status(&e))?;
        let svid = issued.svid;
        let half = svid.not_after.micros().saturating_sub(self.engine.now().micros()) / 2;
        let rotate = Timestamp::from_micros(self.engine.now().micros().saturating_add(half));
        let message = pb::X509svid {
            spiffe_id: svid.id.to_string(),
            x509_svid: svid.chain.concat(),
            x509_svid_key: svid.key_pkcs8.to_vec(),
            bundle: self.roots(),
            hint: String::new(),
        };
        Ok((pb::X509svidResponse { svids: vec![message], crl: Vec::new(), federated_bundles: HashMap::new() }, rotate))
    }

    /// Sends the first state at once, a new one when it rotates, and ends the stream with `PermissionDenied` when the
    /// caller is no longer who it was (Workload API §5.2.1).
    fn updates<T: Rotates>(self: Arc<Self>, instance: Instance, first: T, rotate: Option<Timestamp>) -> Response<Updates<T>> {
        let (tx, rx) = mpsc::channel(1);
        let mut ended = self.engine.watch_ended();
        tokio::spawn(async move {
            let mut next = Ok(first);
            let mut rotate = rotate;
            loop {
                let last = next.is_err();
                if tx.send(next).await.is_err() || last {
                    return;
                }
                next = loop {
                    if let Err(dead) = self.engine.state().check_instance(instance.id) {
                        break Err(Status::permission_denied(dead.to_string()));
                    }
                    let wait = rotate.map_or(IDLE, |at| {
                        Duration::from_micros(at.micros().saturating_sub(self.engine.now().micros()).max(0).unsigned_abs())
                    });
                    tokio::select! {
                        () = tx.closed() => return,
                        _ = ended.changed() => {}
                        () = tokio::time::sleep(wait.min(IDLE)) => {
                            if rotate.is_some_and(|at| self.engine.now() >= at) {
                                match T::fresh(&self, &instance).await {
                                    Ok((state, at)) => { rotate = Some(at); break Ok(state) }
                                    Err(status) => break Err(status),
                                }
                            }
                        }
                    }
                };
            }
        });
        Response::new(Updates(rx))
    }
}

/// A state that can be made again when it is time.
#[tonic::async_trait]
trait Rotates: Sized + Send + 'static {
    async fn fresh(inner: &Inner, instance: &Instance) -> Result<(Self, Timestamp), Status>;
}

#[tonic::async_trait]
impl Rotates for pb::X509svidResponse {
    async fn fresh(inner: &Inner, instance: &Instance) -> Result<(Self, Timestamp), Status> {
        inner.x509(instance).await
    }
}

/// Bundles do not rotate by time.
macro_rules! never_rotates {
    ($($type:ty),+) => {$(
        #[tonic::async_trait]
        impl Rotates for $type {
            async fn fresh(_: &Inner, _: &Instance) -> Result<(Self, Timestamp), Status> {
                Err(Status::unavailable("there is nothing to rotate"))
            }
        }
    )+};
}

never_rotates!(pb::X509BundlesResponse, pb::JwtBundlesResponse);

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
