//! Envoy's Secret Discovery Service: what makes a stream answer again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use marque_core::lease::CredentialClass;
use marque_core::time::Ttl;
use marque_engine::desired::IdentitySpec;
use marque_engine::{Holding, TaskRequest};
use marque_server::pb::sds::{DiscoveryRequest, DiscoveryResponse};
use marque_server::source::Local;
use marque_server::{AnyAuthority, agent, peer_of};
use prost::Message as _;
use tokio::net::UnixStream;

use crate::world::{ME, World, me, spiffe, within};

/// One message of a call that stays open.
struct Asked(Option<Bytes>);

impl Body for Asked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

/// A proxy on the socket that asked for its certificate, and keeps its request open.
struct Proxy(Incoming);

impl Proxy {
    async fn of(world: &World) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = peer_of(&theirs).unwrap();
        let source = Local::of(Arc::clone(&world.engine), None);
        tokio::spawn(marque_server::http(AnyAuthority::new(theirs), agent::over(source, peer)));
        let (mut sender, connection) = within(handshake(TokioExecutor::new(), TokioIo::new(ours))).await.unwrap();
        tokio::spawn(connection);
        let message = DiscoveryRequest { resource_names: vec!["default".into()], ..DiscoveryRequest::default() }.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let asked = Bytes::from([&[0][..], &length[..], &message[..]].concat());
        let request = Request::post("http://localhost/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        Self(within(sender.send_request(request.body(Asked(Some(asked))).unwrap())).await.unwrap().into_body())
    }

    /// The next certificate with its key; nothing at the end of the stream.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let data = self.0.frame().await.unwrap().unwrap().into_data().ok()?;
        Some(DiscoveryResponse::decode(&data[5..]).unwrap().resources.remove(0).value)
    }
}

/// A proxy's certificate is renewed in its time, however often something else on the server ends meanwhile.
#[tokio::test]
async fn what_ends_elsewhere_puts_no_renewal_off() {
    let world = World::start_as(|options| options.rotation.x509_svid_max = Ttl::from_seconds(4)).await;
    world.register(me(ME)).await.unwrap();
    let mut proxy = Proxy::of(&world).await;
    let first = within(proxy.next()).await.unwrap();
    let mut ends = tokio::time::interval(Duration::from_millis(100));
    let renewed = async {
        let mut second = std::pin::pin!(proxy.next());
        loop {
            tokio::select! {
                second = &mut second => return second,
                _ = ends.tick() => {
                    let request =
                        TaskRequest { identity: ME.into(), purpose: "ends".into(), scope: None, ttl: None, calls: None };
                    let task = world.engine.start_task(&world.alice, request).await.unwrap();
                    world.engine.finish_task(&world.alice, task.id).await.unwrap();
                }
            }
        }
    };
    assert_ne!(within(renewed).await.unwrap(), first, "another certificate");
}

/// A stream follows changes of entries, as those of the Workload API do.
#[tokio::test]
async fn a_proxy_is_who_the_entries_say_now() {
    let world = World::start().await;
    let hinted = |name: &str, hint: &str| IdentitySpec { hint: Some(hint.into()), ..me(name) };
    world.register(hinted(ME, "a")).await.unwrap();
    let mut proxy = Proxy::of(&world).await;
    let holds = |secret: &[u8]| {
        let held = world.engine.holdings(None);
        let chain = |h: &Holding| h.leases.iter().any(|lease| lease.class == CredentialClass::X509Svid);
        let of: Vec<_> = held.iter().filter(|h| chain(h)).map(|h| h.instance.identity.to_string()).collect();
        (of, secret.windows(11).any(|part| part == b"PRIVATE KEY"))
    };
    let first = within(proxy.next()).await.unwrap();
    assert_eq!(holds(&first), (vec![spiffe(ME).to_string()], true));
    // First the other one, or it would be nobody for a moment.
    world.register(hinted(OTHER, "b")).await.unwrap();
    let elsewhere = |name| IdentitySpec { selectors: ["unix:path:/elsewhere".parse().unwrap()].into(), ..me(name) };
    world.register(elsewhere(ME)).await.unwrap();
    // It may have been told of both before.
    let mut second = first.clone();
    while second == first {
        second = within(proxy.next()).await.unwrap();
    }
    assert_eq!(holds(&second).0, [spiffe(OTHER).to_string()]);
    world.register(elsewhere(OTHER)).await.unwrap();
    assert_eq!(within(proxy.next()).await, None, "it is nobody any more");
}

const OTHER: &str = "agent/other";
