//! A node and its server, over real TLS: what this process gets from the node's Workload API.

use std::sync::Arc;
use std::time::Duration;

use marque_core::identity::Lifecycle;
use marque_core::node::NodeName;
use marque_core::time::Ttl;
use marque_engine::desired::IdentitySpec;
use marque_engine::{Bundle, BundleSet, Engine, Env, SecretText};
use marque_server::node::{Credentials, Home, JoinError, LinkError, RemoteSource, join, router};
use marque_server::pb::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
    X509svidRequest, X509svidResponse,
};
use marque_server::source::Source;
use marque_server::tls::Tls;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::grpc::{MARK, Socket};
use crate::world::{ME, World, me, spiffe, within};

const PERMISSION_DENIED: u16 = 7;
pub(crate) const UNAVAILABLE: u16 = 14;

/// A server's TLS listener with the routes of nodes. Dropping it cuts every connection.
pub(crate) struct Endpoint {
    url: String,
    serving: JoinHandle<()>,
}

impl Endpoint {
    pub(crate) async fn open(engine: &Arc<Engine>, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (engine, tls) = (Arc::clone(engine), Tls::new(Arc::clone(engine), &["localhost".into()]).unwrap());
        let serving = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (engine, tls) = (Arc::clone(&engine), tls.clone());
                open.spawn(async move {
                    if let Ok((stream, client)) = tls.accept(stream).await {
                        marque_server::http(stream, router(engine, client.node)).await;
                    }
                });
            }
        });
        Self { url, serving }
    }

    fn port(&self) -> u16 {
        self.url.rsplit_once(':').unwrap().1.parse().unwrap()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A node that has joined and serves.
struct Node {
    source: Arc<RemoteSource>,
    running: JoinHandle<String>,
    _dir: TempDir,
}

async fn credentials(world: &World, name: &str) -> (Bundle, Credentials) {
    let made = world.engine.make_node_token(&world.admin, name, Ttl::from_minutes(1)).await.unwrap();
    let bundle = BundleSet::from_map_json(made.bundle.as_bytes()).unwrap().iter().next().unwrap().clone();
    (bundle, Credentials::Token(made.token))
}

/// A node that has joined and does not run yet, with its directory.
pub(crate) async fn joined(world: &World, endpoint: &Endpoint, name: &str, limit: Option<Ttl>) -> (Arc<RemoteSource>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (env, home) = (Env::system(), Home::open(dir.path()).unwrap());
    let (bundle, credentials) = credentials(world, name).await;
    let name: NodeName = name.parse().unwrap();
    let joined = within(join(&endpoint.url, &bundle, &name, &credentials, &env)).await.unwrap();
    home.save(&joined).unwrap();
    (RemoteSource::new(home.load().unwrap().unwrap(), home, env, limit).unwrap(), dir)
}

impl Node {
    async fn join(world: &World, endpoint: &Endpoint, name: &str, limit: Option<Ttl>) -> Self {
        let (source, dir) = joined(world, endpoint, name, limit).await;
        let shown = Arc::clone(&source);
        let running = tokio::spawn(async move { shown.run().await });
        within(source.reached()).await;
        Self { source, running, _dir: dir }
    }

    async fn socket(&self) -> Socket {
        let source: Arc<dyn Source> = self.source.clone();
        Socket::over(source).await
    }
}

/// A world in which this process is an identity that is for `web`, and nowhere else.
async fn world() -> World {
    World::with_me_on(&["web"]).await
}

fn jwt_for(audience: &str) -> JwtsvidRequest {
    JwtsvidRequest { audience: vec![audience.to_owned()], spiffe_id: String::new() }
}

#[tokio::test]
async fn a_process_gets_its_identity_from_the_node_that_may_serve_it() {
    let world = world().await;
    let endpoint = Endpoint::open(&world.engine, 0).await;
    let (web, db) = (Node::join(&world, &endpoint, "web", None).await, Node::join(&world, &endpoint, "db", None).await);
    let (here, elsewhere) = (web.socket().await, db.socket().await);
    let local = Socket::open(&world.engine).await;
    for other in [&elsewhere, &local] {
        assert_eq!(other.refused("FetchX509SVID", &X509svidRequest {}, MARK).await, Some(PERMISSION_DENIED));
        assert_eq!(other.refused("FetchJWTSVID", &jwt_for("a"), MARK).await, Some(PERMISSION_DENIED));
    }

    let shown: X509svidResponse = here.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert_eq!(shown.svids[0].spiffe_id, spiffe(ME).to_string());
    assert_eq!(shown.svids[0].bundle, world.engine.authorities().bundle().x509_authorities.concat());
    let workload = world.engine.authenticate_certificate(&[shown.svids[0].x509_svid.as_slice()]).unwrap();
    assert_eq!(world.engine.instance(workload.instance).unwrap().attestation.node, Some("web".parse().unwrap()));
    let again: X509svidResponse = here.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert_eq!(again.svids[0].x509_svid, shown.svids[0].x509_svid, "until it is due it is the same");

    let jwt: JwtsvidResponse = here.ask("FetchJWTSVID", &jwt_for("https://api.example.org")).await.unwrap();
    let svid = jwt.svids[0].svid.clone();
    let question = ValidateJwtsvidRequest { audience: "https://api.example.org".into(), svid };
    let valid: ValidateJwtsvidResponse = here.ask("ValidateJWTSVID", &question).await.unwrap();
    assert_eq!(valid.spiffe_id, spiffe(ME).to_string());
    let bundles: JwtBundlesResponse = here.ask("FetchJWTBundles", &JwtBundlesRequest {}).await.unwrap();
    assert!(bundles.bundles.contains_key("spiffe://example.org"));
}

#[tokio::test]
async fn a_stream_on_a_node_follows_entries() {
    let world = world().await;
    let endpoint = Endpoint::open(&world.engine, 0).await;
    let web = Node::join(&world, &endpoint, "web", None).await;
    let socket = web.socket().await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let mut next = async || {
        let shown: X509svidResponse = stream.next().await?;
        Ok::<_, u16>(shown.svids.into_iter().map(|svid| (svid.spiffe_id, svid.hint)).collect::<Vec<_>>())
    };
    let entry = |name: &str, hint: &str| (spiffe(name).to_string(), hint.to_owned());
    let on_web =
        |name: &str, hint: &str| IdentitySpec { hint: Some(hint.into()), nodes: ["web".parse().unwrap()].into(), ..me(name) };
    assert_eq!(next().await, Ok(vec![entry(ME, "")]));
    world.register(on_web(ME, "inside")).await.unwrap();
    assert_eq!(next().await, Ok(vec![entry(ME, "inside")]));
    world.register(on_web("agent/other", "outside")).await.unwrap();
    assert_eq!(next().await, Ok(vec![entry(ME, "inside"), entry("agent/other", "outside")]));
    let elsewhere = |name| IdentitySpec { selectors: ["unix:path:/elsewhere".parse().unwrap()].into(), ..on_web(name, "x") };
    world.register(elsewhere(ME)).await.unwrap();
    assert_eq!(next().await, Ok(vec![entry("agent/other", "outside")]));
    world.register(elsewhere("agent/other")).await.unwrap();
    assert_eq!(next().await, Err(PERMISSION_DENIED), "it is nobody any more");
}

#[tokio::test]
async fn what_ends_at_the_server_ends_on_the_node() {
    let world = world().await;
    let endpoint = Endpoint::open(&world.engine, 0).await;
    let web = Node::join(&world, &endpoint, "web", None).await;
    let socket = web.socket().await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let _: X509svidResponse = stream.next().await.unwrap();
    world.engine.move_identity(&world.admin, ME, Lifecycle::Suspended, "test").await.unwrap();
    assert_eq!(stream.next::<X509svidResponse>().await.err(), Some(PERMISSION_DENIED));
    world.engine.move_identity(&world.admin, ME, Lifecycle::Active, "test").await.unwrap();

    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let first: X509svidResponse = stream.next().await.unwrap();
    world.engine.ban_node(&world.admin, "web", "test").await.unwrap();
    assert!(world.engine.authenticate_certificate(&[first.svids[0].x509_svid.as_slice()]).is_err(), "at once");
    assert_eq!(stream.next::<X509svidResponse>().await.err(), Some(PERMISSION_DENIED));
    let why = within(web.running).await.unwrap();
    assert!(why.contains("banned"), "{why}");
    assert_eq!(socket.refused("FetchX509SVID", &X509svidRequest {}, MARK).await, Some(PERMISSION_DENIED));
}

/// What is known is shown for a while, and nothing new; then nothing, until the server is there again.
#[tokio::test]
async fn a_node_without_its_server_closes_and_opens_again() {
    let world = world().await;
    let endpoint = Endpoint::open(&world.engine, 0).await;
    let port = endpoint.port();
    let web = Node::join(&world, &endpoint, "web", Some(Ttl::from_seconds(3))).await;
    let socket = web.socket().await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let first: X509svidResponse = stream.next().await.unwrap();
    drop(endpoint);
    let kept: Result<X509svidResponse, u16> = socket.ask("FetchX509SVID", &X509svidRequest {}).await;
    assert_eq!(kept.unwrap().svids[0].x509_svid, first.svids[0].x509_svid);
    assert_eq!(socket.refused("FetchJWTSVID", &jwt_for("a"), MARK).await, Some(UNAVAILABLE), "nothing new is issued");
    assert_eq!(stream.next::<X509svidResponse>().await.err(), Some(UNAVAILABLE));
    assert_eq!(socket.refused("FetchX509SVID", &X509svidRequest {}, MARK).await, Some(UNAVAILABLE));

    let _endpoint = Endpoint::open(&world.engine, port).await;
    let shown = async {
        loop {
            match socket.ask::<X509svidResponse>("FetchX509SVID", &X509svidRequest {}).await {
                Ok(shown) => return shown,
                Err(code) => assert_eq!(code, UNAVAILABLE),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(within(shown).await.svids[0].spiffe_id, spiffe(ME).to_string());
}

#[tokio::test]
async fn a_node_knows_its_server_and_the_server_its_nodes() {
    let world = world().await;
    let endpoint = Endpoint::open(&world.engine, 0).await;
    let stranger = World::start().await;
    let name: NodeName = "web".parse().unwrap();
    let (_, good) = credentials(&world, "web").await;
    let (other_bundle, other) = credentials(&stranger, "web").await;
    let env = Env::system();
    let error = within(join(&endpoint.url, &other_bundle, &name, &good, &env)).await.unwrap_err();
    assert!(matches!(error, JoinError::Link(LinkError::Unreachable { .. })), "another trust domain's server: {error}");
    let bundle = world.engine.authorities().bundle().clone();
    let empty = Credentials::Token(SecretText::new(String::new()));
    for bad in [&other, &empty] {
        let error = within(join(&endpoint.url, &bundle, &name, bad, &env)).await.unwrap_err();
        assert!(matches!(&error, JoinError::Link(LinkError::Refused { code, .. }) if code == "unauthenticated"), "{error}");
    }
    for bad in ["", "marque", "http://127.0.0.1:1"] {
        let error = within(join(bad, &bundle, &name, &good, &env)).await.unwrap_err();
        assert!(matches!(error, JoinError::Link(LinkError::Address(_))), "{bad}: {error}");
    }
    assert!(within(join(&endpoint.url, &bundle, &name, &good, &env)).await.is_ok(), "and the token still counts");
}
