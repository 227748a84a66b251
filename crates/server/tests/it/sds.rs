//! Envoy's Secret Discovery Service: what makes a stream answer again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use marque_core::time::Ttl;
use marque_engine::TaskRequest;
use marque_server::pb::sds::{DiscoveryRequest, DiscoveryResponse};
use marque_server::source::Local;
use marque_server::{AnyAuthority, agent, peer_of};
use prost::Message as _;
use tokio::net::UnixStream;

use crate::world::{ME, World, me, within};

/// One message of a call that stays open.
struct Asked(Option<Bytes>);

impl Body for Asked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

/// A proxy's certificate is renewed in its time, however often something else on the server ends meanwhile.
#[tokio::test]
async fn what_ends_elsewhere_puts_no_renewal_off() {
    let world = World::start_as(|options| options.rotation.x509_svid_max = Ttl::from_seconds(4)).await;
    world.register(me(ME)).await.unwrap();
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
    let answer = within(sender.send_request(request.body(Asked(Some(asked))).unwrap())).await.unwrap();
    let mut body = answer.into_body();
    let mut next = async || {
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        DiscoveryResponse::decode(&data[5..]).unwrap()
    };
    let first = within(next()).await;
    let mut ends = tokio::time::interval(Duration::from_millis(100));
    let renewed = async {
        let mut second = std::pin::pin!(next());
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
    let second = within(renewed).await;
    assert_ne!(second.resources[0].value, first.resources[0].value, "another certificate");
}
