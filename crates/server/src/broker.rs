//! The SPIFFE Broker API (SPIFFE_Broker_API §3 to §6; SPIFFE_Broker_Endpoint §3 to §6), incubating, of revision [`REVISION`]:
//! brokers fetch the SVIDs and bundles of workloads that they refer to by process number.
//!
//! A process number counts on its own host only (Broker API §3.1.2): this server looks at processes of its own host, and only
//! for a broker that it attested on that host itself. What a broker fetches is recorded on the broker's word.

mod behalf;
mod refusal;

use std::collections::BTreeSet;
use std::sync::Arc;

use marque_core::spiffe::SpiffeId;
use marque_engine::{Engine, EngineError, Identified, Process, Workload, shares_pids, start_time};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Code, Request, Response, Status};

use self::behalf::OnBehalf;
use self::refusal::{Refusal, refused};
use crate::authority::AnyAuthority;
use crate::launch::Launches;
use crate::pb::broker as pb;
use crate::pb::broker::api_server::{Api, ApiServer};
use crate::serve::http;
use crate::source::{Source, status};
use crate::tls::{Client, Tls};
use crate::updates::{Stated, Updates, updates};
use crate::workload::{check_audience, check_mark, chosen};

/// The revision of the SPIFFE specifications whose Broker API this is.
pub const REVISION: &str = "665a28f3";

/// Who may be a broker, and of which processes.
#[derive(Debug)]
pub struct Brokers {
    engine: Arc<Engine>,
    launches: Option<Arc<Launches>>,
    allowed: BTreeSet<SpiffeId>,
}

impl Brokers {
    /// The identities of `allowed`, and nobody else, for the processes of this host, those of launches too (Broker API §4.1).
    pub fn new(engine: Arc<Engine>, launches: Option<Arc<Launches>>, allowed: BTreeSet<SpiffeId>) -> Arc<Self> {
        Arc::new(Self { engine, launches, allowed })
    }

    /// Serves one connection until it ends. Who shows no X.509-SVID of this trust domain that counts is not answered
    /// (Broker Endpoint §5).
    pub async fn serve<S>(self: Arc<Self>, stream: S, tls: &Tls)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match tls.accept_on(stream).await {
            Ok((stream, Client { workload: Some(broker), .. })) => {
                let source = OnBehalf::of(Arc::clone(&self.engine), broker.clone(), None);
                let service = ApiServer::new(BrokerApi { brokers: self, broker, source });
                http(AnyAuthority::new(stream), service).await;
            }
            Ok(_) => tracing::warn!("a broker's connection was refused: it showed no X.509-SVID that counts"),
            Err(error) => tracing::debug!("a broker's TLS connection was refused: {error}"),
        }
    }
}

/// The Broker API of one broker.
#[derive(Debug)]
struct BrokerApi {
    brokers: Arc<Brokers>,
    broker: Workload,
    source: Arc<OnBehalf>,
}

/// What a request refers to.
struct Referred {
    /// Where the answers about it come from.
    source: Arc<dyn Source>,
    /// The process.
    process: Process,
    /// The copies that it is.
    copies: Vec<Identified>,
}

#[tonic::async_trait]
impl Api for BrokerApi {
    type SubscribeToX509SVIDStream = Updates<pb::SubscribeToX509svidResponse>;
    type SubscribeToX509BundlesStream = Updates<pb::SubscribeToX509BundlesResponse>;
    type SubscribeToJWTBundlesStream = Updates<pb::SubscribeToJwtBundlesResponse>;

    async fn subscribe_to_x509svid(
        &self,
        request: Request<pb::SubscribeToX509svidRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDStream>, Status> {
        self.stream(self.admitted(request)?.reference).await
    }

    async fn subscribe_to_x509_bundles(
        &self,
        request: Request<pb::SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        self.stream(self.admitted(request)?.reference).await
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<pb::FetchJwtsvidRequest>,
    ) -> Result<Response<pb::FetchJwtsvidResponse>, Status> {
        let asked = self.admitted(request)?;
        check_audience(&asked.audience)?;
        let Referred { source, copies, .. } = self.referred(asked.reference).await?;
        let copies = chosen(copies, &asked.spiffe_id).map_err(Refusal::NotEntitled.explain())?;
        let mut svids = Vec::new();
        for copy in &copies {
            let svid = source.jwt_svid(copy, &asked.audience).await?;
            svids.push(pb::Jwtsvid { spiffe_id: copy.identity.to_string(), svid, hint: copy.hint.clone() });
        }
        Ok(Response::new(pb::FetchJwtsvidResponse { svids }))
    }

    async fn subscribe_to_jwt_bundles(
        &self,
        request: Request<pb::SubscribeToJwtBundlesRequest>,
    ) -> Result<Response<Self::SubscribeToJWTBundlesStream>, Status> {
        self.stream(self.admitted(request)?.reference).await
    }
}

impl BrokerApi {
    /// What an allowed broker asks whose X.509-SVID still counts (Broker Endpoint §3, §5, §6).
    fn admitted<T>(&self, request: Request<T>) -> Result<T, Status> {
        check_mark(request.metadata(), "broker.spiffe.io")?;
        self.source.check_broker()?;
        if !self.brokers.allowed.contains(&self.broker.identity) {
            tracing::warn!(broker = %self.broker.identity, "a workload that is no broker asked for another's SVID");
            return Err(Status::permission_denied(format!("`{}` is not a broker here", self.broker.identity)));
        }
        Ok(request.into_inner())
    }

    /// A stream for what is referred to.
    async fn stream<T: Stated>(&self, reference: Option<pb::WorkloadReference>) -> Result<Response<Updates<T>>, Status> {
        // Before the process is looked at, so that nothing is missed.
        let changes = self.source.changes();
        let Referred { source, process, copies } = self.referred(reference).await?;
        updates(source, process, changes, copies, String::new()).await
    }

    /// The copies that the referred process is, attested now by what is seen of it (Broker API §3.1.1, §4.8).
    async fn referred(&self, reference: Option<pb::WorkloadReference>) -> Result<Referred, Status> {
        let pid = process(reference)?;
        self.check_host(pid)?;
        let engine = &self.brokers.engine;
        let not_found = |e: EngineError| refused(Refusal::NotFound, &e.chain(), Some(pid));
        let process = Process::open(pid).map_err(not_found)?;
        let seen = engine.look(&process).await.map_err(not_found)?;
        let started = seen.0.started;
        let launch = self.brokers.launches.as_ref().and_then(|launches| launches.of(pid));
        let instances = engine.attest_all(seen, launch.as_ref()).await.map_err(|e| match status(&e) {
            denied if denied.code() == Code::PermissionDenied => {
                // It may have ended since it was looked at, and be denied for that.
                let is_there = start_time(pid).ok() == Some(started);
                refused(if is_there { Refusal::NotEntitled } else { Refusal::NotFound }, denied.message(), Some(pid))
            }
            other => other,
        })?;
        let copies = engine.identified(&instances);
        for copy in &copies {
            tracing::info!(broker = %self.broker.identity, pid, workload = %copy.identity, instance = %copy.instance, "a broker asked");
        }
        // It stays a process of its launch for as long as it is asked about.
        let source = OnBehalf::of(Arc::clone(engine), self.broker.clone(), launch);
        Ok(Referred { source, process, copies })
    }

    /// A process number means the same to both only where both see the same processes: the broker was attested by this
    /// server as a process of its own host, and is in its PID namespace (Broker API §3.1.2).
    fn check_host(&self, pid: u32) -> Result<(), Status> {
        let elsewhere = |why: String| refused(Refusal::Invalid, &why, Some(pid));
        let broker = self.brokers.engine.instance(self.broker.instance).map_err(|e| Status::unauthenticated(e.to_string()))?;
        let seen = broker.attestation;
        if let Some(node) = seen.node {
            return Err(elsewhere(format!("a process number counts on its own host only, and this broker is on node `{node}`")));
        }
        if seen.until.is_some() {
            return Err(elsewhere(
                "a process number counts on its own host only, and this broker was attested by a token".into(),
            ));
        }
        if !shares_pids(seen.pid) {
            return Err(elsewhere("this broker does not see the processes of this server's PID namespace".into()));
        }
        Ok(())
    }
}

/// The number of the process that a request refers to. Only this sort of reference is understood (Broker API §3.1.3).
pub fn process(reference: Option<pb::WorkloadReference>) -> Result<u32, Status> {
    let invalid = |why: &str| refused(Refusal::Invalid, why, None);
    let reference = reference.and_then(|r| r.reference).ok_or_else(|| invalid("the request refers to no workload"))?;
    if reference.type_url != PID_REFERENCE {
        let shown: String = reference.type_url.chars().take(200).collect();
        return Err(invalid(&format!("a reference of the type `{shown}` is not understood: use `{PID_REFERENCE}`")));
    }
    let process = pb::WorkloadPidReference::decode(reference.value.as_slice());
    let process = process.map_err(|_| invalid("the reference is no `WorkloadPIDReference`"))?;
    let positive = u32::try_from(process.pid).ok().filter(|pid| *pid > 0);
    positive.ok_or_else(|| invalid(&format!("`{}` is no process number", process.pid)))
}

const PID_REFERENCE: &str = "type.googleapis.com/spiffe.broker.WorkloadPIDReference";
