//! Lines 21 to 25: SPIFFE Workload Endpoint.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use marque_core::task::Task;
use marque_engine::parent_of;
use marque_server::launch::{Doorway, Launches};
use marque_server::pb::sds::{DiscoveryRequest, DiscoveryResponse};
use marque_server::pb::workload::{X509svidRequest, X509svidResponse};
use marque_server::source::{Local, Source};
use marque_server::{AnyAuthority, agent, bind_unix, ledger, node, oauth_router, unix_connections};

use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::{GOOD, METHODS, refused, statuses, token};
use crate::grpc::{HEADER, MARK, Socket};
use crate::nodes::{Endpoint, UNAVAILABLE, joined};
use crate::workload::{INVALID_ARGUMENT, PERMISSION_DENIED, UNIMPLEMENTED};
use crate::world::{LEAD, ME, NoDoor, World, ask, me, spiffe, within};

#[tokio::test]
async fn line_21_grpc_over_a_unix_socket_without_tls() {
    let world = World::with_me().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("workload.sock");
    let (listener, engine) = (bind_unix(&path, 0o666).unwrap(), Arc::clone(&world.engine));
    tokio::spawn(unix_connections(listener, move |stream, peer| {
        marque_server::http(AnyAuthority::new(stream), agent::service(Arc::clone(&engine), peer, None))
    }));
    let shown: X509svidResponse = Socket::connect(&path).await.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert_eq!(shown.svids[0].spiffe_id, spiffe(ME).to_string());
}

/// What the server serves on TCP comes from anywhere, so that the Workload API is not among it.
#[tokio::test]
async fn line_21_what_listens_on_tcp_does_not_serve_it() {
    let world = World::with_me().await;
    let engine = || Arc::clone(&world.engine);
    let nodes = node::router(engine(), None);
    let tcp = oauth_router(engine(), None).merge(nodes).merge(ledger::router(world.engine.published_log()));
    for method in METHODS {
        let path = format!("/SpiffeWorkloadAPI/{method}");
        let request = Request::post(path).header("content-type", "application/grpc").header(HEADER, "true");
        let got = ask(tcp.clone(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{method}");
    }
}

#[tokio::test]
async fn line_22_every_call_has_the_security_header() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let token = token(&socket).await;
    let size = world.engine.log_size();
    assert_eq!(statuses(&socket, &token, &[]).await, [Some(INVALID_ARGUMENT); 5]);
    for value in ["", "false", "1", "yes", "True", "TRUE", "truetrue", "true,true", "true, true"] {
        assert_eq!(statuses(&socket, &token, &[(HEADER, value)]).await, [Some(INVALID_ARGUMENT); 5], "{value:?}");
    }
    for twice in [["true", "true"], ["true", "false"], ["false", "true"]] {
        let metadata = twice.map(|value| (HEADER, value));
        assert_eq!(statuses(&socket, &token, &metadata).await, [Some(INVALID_ARGUMENT); 5], "{twice:?}");
    }
    for other in ["workload-spiffe-io", "broker.spiffe.io", "spiffe.io"] {
        assert_eq!(statuses(&socket, &token, &[(other, "true")]).await, [Some(INVALID_ARGUMENT); 5], "{other}");
    }
    assert_eq!(world.engine.log_size(), size, "nobody was even looked at");
    assert_eq!(statuses(&socket, &token, GOOD).await, [None; 5]);
}

#[tokio::test]
async fn line_23_nobody_authenticates_and_what_a_caller_says_counts_for_nothing() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let lead = spiffe(LEAD).to_string();
    let credential = world.credential();
    let said = [(HEADER, "true"), ("authorization", credential.as_str()), ("spiffe-id", lead.as_str())];
    for metadata in [GOOD, &said[..]] {
        let mut call = socket.send("/SpiffeWorkloadAPI/FetchX509SVID", &X509svidRequest {}, metadata).await;
        let shown: X509svidResponse = call.next().await.unwrap();
        let ids: Vec<&str> = shown.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
        assert_eq!(ids, [spiffe(ME).to_string()]);
    }
}

fn sleeper() -> tokio::process::Child {
    tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap()
}

#[tokio::test]
async fn line_23_the_kernel_says_who_calls() {
    let world = World::with_me().await;
    let mut child = sleeper();
    let source = Local::of(Arc::clone(&world.engine), None);
    let socket = Socket::of(source, child.id().unwrap()).await;
    assert_eq!(statuses(&socket, "", GOOD).await, [Some(PERMISSION_DENIED); 5], "another executable");
    child.kill().await.unwrap();
    assert_eq!(statuses(&socket, "", GOOD).await, [Some(PERMISSION_DENIED); 5], "it has ended");
}

/// What the processes are given that this launcher starts.
async fn launched(world: &World, dir: &Path, launcher: u32) -> (Doorway, Task) {
    let task = world.task(ME, None).await;
    let launch = world.engine.launch(&world.alice, &spiffe(ME), task.id, launcher).unwrap();
    let launches = Arc::new(Launches::new(Arc::clone(&world.engine), dir.to_owned(), Arc::new(NoDoor)));
    (launches.open(launch, false).await.unwrap(), task)
}

fn path_of(doorway: &Doorway) -> &Path {
    Path::new(doorway.workload_api.strip_prefix("unix://").unwrap())
}

/// A socket of its own for each launch is the second way to know the caller: who was started there is who was launched.
#[tokio::test]
async fn line_23_a_launch_has_a_socket_of_its_own() {
    let world = World::with_me().await;
    let dir = tempfile::tempdir().unwrap();
    let (doorway, task) = launched(&world, dir.path(), parent_of(std::process::id()).unwrap()).await;
    let socket = Socket::connect(path_of(&doorway)).await;
    let shown: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    let workload = world.engine.authenticate_certificate(&[shown.svids[0].x509_svid.as_slice()]).unwrap();
    assert_eq!(workload.identity, spiffe(ME));
    assert_eq!(world.engine.instance(workload.instance).unwrap().task, Some(task.id));

    let child = sleeper();
    let (others, _) = launched(&world, dir.path(), child.id().unwrap()).await;
    let socket = Socket::connect(path_of(&others)).await;
    assert_eq!(statuses(&socket, "", GOOD).await, [Some(PERMISSION_DENIED); 5], "not started by this launcher");
}

#[tokio::test]
async fn line_24_no_identity_is_permission_denied() {
    let world = World::start().await;
    let socket = Socket::open(&world.engine).await;
    assert_eq!(statuses(&socket, "", GOOD).await, [Some(PERMISSION_DENIED); 5]);
    assert!(world.engine.state().leases.is_empty());
    world.register(me(ME)).await.unwrap();
    let token = token(&socket).await;
    assert_eq!(statuses(&socket, &token, GOOD).await, [None; 5], "once there is one");
}

#[tokio::test]
async fn line_24_what_is_not_there_is_unimplemented() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    for method in ["FetchEverything", "fetchX509SVID", "FetchX509SVID/", ""] {
        assert_eq!(refused(&socket, method, &X509svidRequest {}, GOOD).await, Some(UNIMPLEMENTED), "{method:?}");
    }
    for path in ["/spiffe.broker.API/FetchJWTSVID", "/spiffe.workload.SpiffeWorkloadAPI/FetchX509SVID", "/x"] {
        assert_eq!(socket.send(path, &X509svidRequest {}, GOOD).await.refusal().await, Some(UNIMPLEMENTED), "{path}");
    }
}

/// A server listens when it has its state; a node does before it has reached its server.
#[tokio::test]
async fn line_24_a_start_under_way_is_unavailable() {
    let world = World::with_me_on(&["web"]).await;
    let endpoint = Endpoint::open(&world.engine, 0).await;
    let (node, _dir) = joined(&world, &endpoint, "web", None).await;
    let source: Arc<dyn Source> = node.clone();
    let socket = Socket::over(source).await;
    assert_eq!(statuses(&socket, "x", GOOD).await, [Some(UNAVAILABLE); 5]);
    assert_eq!(statuses(&socket, "x", &[]).await, [Some(INVALID_ARGUMENT); 5], "that much is known");
    let shown = Arc::clone(&node);
    tokio::spawn(async move { shown.run().await });
    within(node.reached()).await;
    let token = token(&socket).await;
    assert_eq!(statuses(&socket, &token, GOOD).await, [None; 5]);
}

/// `marque run` sets `SPIFFE_ENDPOINT_SOCKET` to this very text, and never to a `tcp://` address.
#[tokio::test]
async fn line_25_the_address_is_a_scheme_and_an_absolute_path() {
    let world = World::with_me().await;
    let dir = tempfile::tempdir().unwrap();
    let (doorway, _) = launched(&world, dir.path(), parent_of(std::process::id()).unwrap()).await;
    let path = doorway.workload_api.strip_prefix("unix://").unwrap();
    assert!(path.starts_with('/') && !path.starts_with("//"), "no authority, and absolute: {path}");
    assert!(!path.contains(['?', '#', '%']), "no other component: {path}");
    assert!(std::fs::metadata(path).unwrap().file_type().is_socket());
    assert_eq!(Socket::connect(Path::new(path)).await.refused("FetchX509SVID", &X509svidRequest {}, MARK).await, None);
}

#[test]
fn line_25_the_service_has_the_standard_methods_and_no_other() {
    let code = include_str!("../../../src/pb/workload.rs");
    let served = code.split("\"/SpiffeWorkloadAPI/").skip(1).filter_map(|rest| rest.split('"').next());
    assert_eq!(served.collect::<Vec<_>>(), [&METHODS[..], &["FetchWITSVID", "FetchWITBundles"]].concat());
}

/// Envoy's Secret Discovery Service is beside the Workload API, a service of its own whose clients know it by name and send no
/// security header.
#[tokio::test]
async fn line_25_extensions_are_services_of_their_own() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let asked = DiscoveryRequest::default();
    let secrets = "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets";
    let answer: DiscoveryResponse = socket.send(secrets, &asked, &[]).await.next().await.unwrap();
    assert_eq!(answer.resources.len(), 2, "a certificate and the authorities");
    for method in ["FetchSecrets", "StreamSecrets", "DeltaSecrets"] {
        assert_eq!(refused(&socket, method, &asked, GOOD).await, Some(UNIMPLEMENTED), "{method}");
    }
}

#[tokio::test]
async fn line_25_server_reflection_says_what_is_served() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    // The messages of both versions are the same.
    for version in ["v1", "v1alpha"] {
        reflects(&socket, &format!("grpc.reflection.{version}.ServerReflection")).await;
    }
}

async fn reflects(socket: &Socket, service: &str) {
    let path = format!("/{service}/ServerReflectionInfo");
    let asked = |what| ServerReflectionRequest { host: String::new(), message_request: Some(what) };
    let ask = async |what| socket.send(&path, &asked(what), GOOD).await.next::<ServerReflectionResponse>().await;
    let Some(MessageResponse::ListServicesResponse(list)) =
        ask(MessageRequest::ListServices("*".into())).await.unwrap().message_response
    else {
        panic!("no list")
    };
    let named: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(named, ["SpiffeWorkloadAPI", "envoy.service.secret.v3.SecretDiscoveryService", service]);
    for symbol in [&named[..], &["X509SVIDResponse", "google.protobuf.Struct"]].concat() {
        let told = ask(MessageRequest::FileContainingSymbol(symbol.into())).await.unwrap().message_response;
        assert!(matches!(told, Some(MessageResponse::FileDescriptorResponse(_))), "{symbol}: {told:?}");
    }
    assert!(ask(MessageRequest::FileContainingSymbol("spiffe.broker.API".into())).await.is_err(), "it is not on this socket");
    let list = asked(MessageRequest::ListServices(String::new()));
    assert_eq!(socket.send(&path, &list, &[]).await.refusal().await, Some(INVALID_ARGUMENT), "without the security header");
}
