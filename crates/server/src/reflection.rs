//! gRPC server reflection on the Workload API's socket (Workload API §7): which services there are, and what their messages look
//! like. Many clients know the protocol's version 1alpha alone, so both are here. It says nothing of this server's identities, and asks for the security header as the Workload API does.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;

use hyper::body::Incoming;
use tonic::metadata::MetadataMap;
use tonic_reflection::server::Builder;
use tower_service::Service as _;

use crate::pb::DESCRIPTORS;
use crate::workload::{MARK, check_mark};

/// What a service answers with.
pub(crate) type Answer = http::Response<tonic::body::Body>;
/// An answer under way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

/// The service that a path is of; nothing where it is not server reflection.
pub(crate) fn of(path: &str) -> Option<&'static Reflect> {
    VERSIONS.iter().find(|(begin, _)| path.starts_with(begin)).map(|(_, reflect)| reflect)
}

/// Answers a request for server reflection.
pub(crate) fn answer(reflect: &Reflect, request: http::Request<Incoming>) -> Answering {
    match check_mark(&MetadataMap::from_headers(request.headers().clone()), MARK) {
        Ok(()) => reflect(request),
        Err(status) => Box::pin(async move { Ok(status.into_http()) }),
    }
}

/// Where the paths of a version begin, and its service. Made once: the descriptors are the same for every connection.
static VERSIONS: LazyLock<Vec<(&str, Reflect)>> = LazyLock::new(|| {
    let (v1, v1alpha) = (named(V1).build_v1(), named(V1ALPHA).build_v1alpha());
    match (v1, v1alpha) {
        (Ok(v1), Ok(v1alpha)) => vec![
            (V1, Box::new(move |request| Box::pin(v1.clone().call(request)))),
            (V1ALPHA, Box::new(move |request| Box::pin(v1alpha.clone().call(request)))),
        ],
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!("server reflection is not served: {error}");
            Vec::new()
        }
    }
});

/// A service.
pub(crate) type Reflect = Box<dyn Fn(http::Request<Incoming>) -> Answering + Send + Sync>;

/// What is listed: the services of this socket, and a version of reflection.
fn named(version: &str) -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .with_service_name("SpiffeWorkloadAPI")
        .with_service_name("envoy.service.secret.v3.SecretDiscoveryService")
        .with_service_name(version.trim_matches('/'))
}

const V1: &str = "/grpc.reflection.v1.ServerReflection/";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/";
