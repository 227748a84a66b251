//! A server with a broker on mutual TLS, and a process that it asks for.

use std::collections::{BTreeSet, HashMap};
use std::process::{Child, Command};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use marque_core::attestation::Instance;
use marque_engine::IssuedX509;
use marque_server::broker::Brokers;
use marque_server::pb::broker::{
    FetchJwtsvidRequest, SubscribeToJwtBundlesRequest, SubscribeToX509BundlesRequest, SubscribeToX509svidRequest,
    WorkloadPidReference, WorkloadReference, api_server,
};
use marque_server::pb::sds::Status as RpcStatus;
use marque_server::tls::Tls;
use marque_svid::verify_x509_svid;
use prost::Message;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::grpc::{Call, MARK, Sender, call, connected, framed};
use crate::world::{LEAD, World, spiffe, within};

pub(super) const AUDIENCE: &str = "https://api.example.org";
pub(super) const PID_REFERENCE: &str = "type.googleapis.com/spiffe.broker.WorkloadPIDReference";
/// What the process is that brokers ask for, once it is registered.
pub(super) const SLEEPER: &str = "agent/sleeper";

/// A server with one broker, and a process that sleeps.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) brokers: Arc<Brokers>,
    tls: Tls,
    pub(super) sleeper: Sleeper,
}

/// Ends with the test.
pub(super) struct Sleeper(pub(super) Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    pub(super) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    pub(super) fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// A connected broker.
pub(super) struct Broker(Sender);

impl Broker {
    pub(super) async fn call(&self, method: &str, message: &impl Message, mark: Option<&str>) -> Call {
        let header = mark.map(|mark| ("broker.spiffe.io", mark));
        call(&self.0, framed(&format!("{}/{method}", api_server::SERVICE_NAME), header, message)).await
    }

    pub(super) async fn ask<T: Message + Default>(&self, method: &str, message: &impl Message) -> Result<T, u16> {
        self.call(method, message, MARK).await.next().await
    }

    /// The statuses of all methods for this reference.
    pub(super) async fn statuses(&self, reference: Option<WorkloadReference>, mark: Option<&str>) -> [Option<u16>; 4] {
        let jwt = FetchJwtsvidRequest { reference: reference.clone(), ..jwt_of(0) };
        let svid = SubscribeToX509svidRequest { reference: reference.clone() };
        let bundles = SubscribeToX509BundlesRequest { reference: reference.clone() };
        let jwt_bundles = SubscribeToJwtBundlesRequest { reference };
        [
            self.call("SubscribeToX509SVID", &svid, mark).await.raw().await.err(),
            self.call("SubscribeToX509Bundles", &bundles, mark).await.raw().await.err(),
            self.call("FetchJWTSVID", &jwt, mark).await.raw().await.err(),
            self.call("SubscribeToJWTBundles", &jwt_bundles, mark).await.raw().await.err(),
        ]
    }

    /// The status for a reference, and its `google.rpc.ErrorInfo`: reason, domain, metadata.
    pub(super) async fn refused(&self, reference: Option<WorkloadReference>) -> (u16, String, String) {
        let asked = SubscribeToX509svidRequest { reference };
        reason(&mut self.call("SubscribeToX509SVID", &asked, MARK).await).await
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// With what a call is refused.
pub(super) async fn reason(call: &mut Call) -> (u16, String, String) {
    let code = call.raw().await.expect_err("it is refused");
    let details = STANDARD_NO_PAD.decode(call.told("grpc-status-details-bin").expect("it has details")).unwrap();
    let status = RpcStatus::decode(details.as_slice()).unwrap();
    assert_eq!(status.code, i32::from(code));
    let [info] = status.details.as_slice() else { panic!("one detail") };
    assert_eq!(info.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = ErrorInfo::decode(info.value.as_slice()).unwrap();
    (code, info.reason, info.domain)
}

pub(super) fn refusal(code: u16, reason: &str) -> (u16, String, String) {
    (code, reason.to_owned(), "spiffe.io".to_owned())
}

pub(super) fn packed(type_url: &str, value: Vec<u8>) -> Option<WorkloadReference> {
    Some(WorkloadReference { reference: Some(prost_types::Any { type_url: type_url.to_owned(), value }) })
}

pub(super) fn process(pid: i32) -> Option<WorkloadReference> {
    packed(PID_REFERENCE, WorkloadPidReference { pid }.encode_to_vec())
}

pub(super) fn x509_of(pid: i32) -> SubscribeToX509svidRequest {
    SubscribeToX509svidRequest { reference: process(pid) }
}

pub(super) fn jwt_of(pid: i32) -> FetchJwtsvidRequest {
    FetchJwtsvidRequest { reference: process(pid), audience: vec![AUDIENCE.to_owned()], spiffe_id: String::new() }
}

impl Scene {
    /// With the lead as the only broker; the sleeping process is nobody yet.
    pub(super) async fn start() -> Self {
        let world = World::start().await;
        let brokers = Brokers::new(Arc::clone(&world.engine), None, BTreeSet::from([spiffe(LEAD)]));
        let tls = Tls::new(Arc::clone(&world.engine), &["localhost".into()]).unwrap();
        Self { world, brokers, tls, sleeper: Sleeper::start() }
    }

    /// The sleeping process is a workload, too.
    pub(super) async fn with_sleeper() -> Self {
        let scene = Self::start().await;
        scene.world.register_program(SLEEPER, scene.sleeper.0.id()).await;
        scene
    }

    pub(super) async fn broker(&self, name: &str) -> Broker {
        let agent = self.world.agent(name).await;
        self.broker_of(&agent.instance).await
    }

    pub(super) async fn broker_of(&self, instance: &Instance) -> Broker {
        let issued = self.world.engine.x509_svid(instance).await.unwrap();
        Broker(connected(self.connect(Some(&issued)).await.unwrap()).await)
    }

    /// A TLS connection on which both sides show an X.509-SVID: the server is known by its SPIFFE ID.
    async fn connect(&self, shown: Option<&IssuedX509>) -> std::io::Result<TlsStream<UnixStream>> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (brokers, tls) = (Arc::clone(&self.brokers), self.tls.clone());
        tokio::spawn(async move { brokers.serve(theirs, &tls).await });
        let name = ServerName::try_from("localhost").unwrap();
        let stream = within(self.client(shown).connect(name, ours)).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let chain: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
        let bundle = self.world.engine.authorities();
        assert_eq!(verify_x509_svid(&chain, bundle.bundle(), self.world.engine.now()).unwrap().id, spiffe("marque"));
        Ok(stream)
    }

    fn client(&self, shown: Option<&IssuedX509>) -> TlsConnector {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for der in &self.world.engine.authorities().bundle().x509_authorities {
            roots.add(CertificateDer::from(der.clone())).unwrap();
        }
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(issued) => {
                let chain = issued.svid.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.svid.key_pkcs8.to_vec()));
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// Whether a client that shows this is answered anything at all.
    pub(super) async fn is_answered(&self, shown: Option<&IssuedX509>) -> bool {
        let Ok(stream) = self.connect(shown).await else { return false };
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let Ok((mut sender, connection)) = within(handshake).await else { return false };
        tokio::spawn(connection);
        let header = MARK.map(|mark| ("broker.spiffe.io", mark));
        let request = framed("spiffe.broker.API/SubscribeToX509SVID", header, &x509_of(self.sleeper.pid()));
        within(async { sender.ready().await.is_ok() && sender.send_request(request).await.is_ok() }).await
    }
}
