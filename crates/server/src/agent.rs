//! What a process finds on the Workload API's socket: the Workload API itself, Envoy's Secret Discovery Service, and gRPC's server
//! reflection.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use marque_engine::{Engine, Launch};
use tower_service::Service;

use crate::pb::sds::secret_discovery_service_server::SecretDiscoveryServiceServer;
use crate::pb::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use crate::reflection::{self, Answer, Answering};
use crate::sds::{self, Sds};
use crate::serve::Peer;
use crate::source::{Local, Source};
use crate::workload::{self, WorkloadApi};

/// The services for one connection, whose peer the kernel named. What is of none of them is answered `Unimplemented`.
pub fn service(engine: Arc<Engine>, peer: Peer, launch: Option<Launch>) -> Agent {
    over(Local::of(engine, launch), peer)
}

/// The same over any source, such as the server that this node joined.
pub fn over(source: Arc<dyn Source>, peer: Peer) -> Agent {
    let sds = sds::service(Arc::clone(&source), peer.clone());
    Agent { workload: workload::service(source, peer), sds }
}

/// The services of one connection.
#[derive(Clone, Debug)]
pub struct Agent {
    workload: SpiffeWorkloadApiServer<WorkloadApi>,
    sds: SecretDiscoveryServiceServer<Sds>,
}

impl Service<http::Request<Incoming>> for Agent {
    type Response = Answer;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        if request.uri().path().starts_with(SDS) {
            return Box::pin(self.sds.call(request));
        }
        match reflection::of(request.uri().path()) {
            Some(reflect) => reflection::answer(reflect, request),
            None => Box::pin(self.workload.call(request)),
        }
    }
}

const SDS: &str = "/envoy.service.secret.v3.SecretDiscoveryService/";
