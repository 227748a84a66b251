//! Lines 26 to 28: the profiles of the Workload API, its streams, and how they end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use marque_core::id::InstanceId;
use marque_core::identity::Lifecycle;
use marque_core::revocation::Target;
use marque_core::time::{Timestamp, Ttl};
use marque_engine::desired::IdentitySpec;
use marque_engine::{AuthorityVerb, Bundle, Clock, Identified, KeyKind, Process, ValidatedJwt};
use marque_server::pb::workload::{
    JwtBundlesRequest, JwtBundlesResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use marque_server::source::{Bundles, Changes, HeldSvid, Local, Source};
use marque_svid::verify_x509_svid;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tonic::Status;

use super::{FOREIGN, GOOD, OTHER, OWN, elements, federate, keys, statuses, token, twofold};
use crate::grpc::{Call, MARK, Socket};
use crate::workload::{PERMISSION_DENIED, UNIMPLEMENTED};
use crate::world::{LEAD, ME, World, me, spiffe, within};

/// The third is an experiment, and off unless it is asked for.
#[tokio::test]
async fn line_26_two_profiles_are_served_and_the_third_is_unimplemented_when_it_is_off() {
    for wit in [false, true] {
        let world = World::start_as(|options| options.rotation.wit = wit).await;
        world.register(me(ME)).await.unwrap();
        assert_eq!(world.engine.authorities().bundle().wit_keys.len(), usize::from(wit));
        let socket = Socket::open(&world.engine).await;
        let token = token(&socket).await;
        assert_eq!(statuses(&socket, &token, GOOD).await, [None; 5]);
        for method in ["FetchWITSVID", "FetchWITBundles"] {
            let refused = socket.refused(method, &X509svidRequest {}, MARK).await;
            assert_eq!(refused, if wit { None } else { Some(UNIMPLEMENTED) }, "{method}");
        }
    }
}

/// The three streams of a caller.
struct Streams {
    svids: Call,
    x509: Call,
    jwt: Call,
}

impl Streams {
    async fn open(socket: &Socket) -> Self {
        Self {
            svids: socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await,
            x509: socket.call("FetchX509Bundles", &X509BundlesRequest {}, MARK).await,
            jwt: socket.call("FetchJWTBundles", &JwtBundlesRequest {}, MARK).await,
        }
    }

    /// The next message of each.
    async fn next(&mut self) -> (X509svidResponse, X509BundlesResponse, JwtBundlesResponse) {
        let (svids, x509, jwt) = tokio::join!(
            self.svids.next::<X509svidResponse>(),
            self.x509.next::<X509BundlesResponse>(),
            self.jwt.next::<JwtBundlesResponse>()
        );
        (svids.unwrap(), x509.unwrap(), jwt.unwrap())
    }

    /// What each ends with, if not with another message.
    async fn end(&mut self) -> [Option<u16>; 3] {
        let (svids, x509, jwt) = tokio::join!(self.svids.refusal(), self.x509.refusal(), self.jwt.refusal());
        [svids, x509, jwt]
    }
}

#[tokio::test]
async fn line_27_the_first_message_waits_for_nothing() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let changes = [world.engine.watch_bundles(), world.engine.watch_ended(), world.engine.watch_entries()];
    let (svids, x509, jwt) = Streams::open(&socket).await.next().await;
    assert_eq!(svids.svids.len(), 1);
    assert!(x509.bundles.contains_key(OWN) && jwt.bundles.contains_key(OWN));
    assert!(changes.iter().all(|change| !change.has_changed().unwrap()), "nothing has happened");
}

#[tokio::test]
async fn line_27_a_new_bundle_pushes_the_full_state() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let mut streams = Streams::open(&socket).await;
    let (before, ..) = streams.next().await;
    let other = federate(&world, "other.example");
    let (svids, x509, jwt) = streams.next().await;
    assert!(svids.svids == before.svids, "what did not change is there again");
    assert_eq!(svids.federated_bundles[FOREIGN], other.bundle().x509_authorities.concat());
    for bundles in [&x509.bundles, &jwt.bundles] {
        assert_eq!(keys(bundles), BTreeSet::from([OWN, FOREIGN]));
    }
    assert_eq!(x509.bundles[OWN], before.svids[0].bundle);
}

#[tokio::test]
async fn line_27_a_rotation_pushes_the_next_svid() {
    let world = World::start_as(|options| options.rotation.x509_svid_max = Ttl::from_seconds(4)).await;
    world.register(me(ME)).await.unwrap();
    let socket = Socket::open(&world.engine).await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let first: X509svidResponse = stream.next().await.unwrap();
    let second: X509svidResponse = stream.next().await.unwrap();
    assert_ne!(second.svids[0].x509_svid, first.svids[0].x509_svid);
    assert_ne!(second.svids[0].x509_svid_key, first.svids[0].x509_svid_key);
    let leaf = [second.svids[0].x509_svid.as_slice()];
    let verified = verify_x509_svid(&leaf, world.engine.authorities().bundle(), world.engine.now()).unwrap();
    assert_eq!(verified.id, spiffe(ME));
}

#[tokio::test]
async fn line_27_a_tainted_authority_pushes_an_svid_of_the_next() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let before: X509svidResponse = stream.next().await.unwrap();
    world.engine.change_authority(&world.admin, AuthorityVerb::Taint, KeyKind::X509, None, "test").await.unwrap();
    let after: X509svidResponse = stream.next().await.unwrap();
    assert_ne!(after.svids[0].x509_svid, before.svids[0].x509_svid);
    let (old, new) = (elements(&before.svids[0].bundle), elements(&after.svids[0].bundle));
    assert!(new.len() == 2 && new.contains(&old[0]), "both authorities are in the bundle");
}

#[tokio::test]
async fn line_27_a_change_of_entries_pushes_what_holds_now() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let shown = |response: &X509svidResponse| {
        response.svids.iter().map(|svid| (svid.spiffe_id.clone(), svid.hint.clone())).collect::<Vec<_>>()
    };
    let entry = |name: &str, hint: &str| (spiffe(name).to_string(), hint.to_owned());
    let first: X509svidResponse = stream.next().await.unwrap();
    assert_eq!(shown(&first), [entry(ME, "")]);
    world.register(IdentitySpec { hint: Some("inside".into()), ..me(ME) }).await.unwrap();
    let second: X509svidResponse = stream.next().await.unwrap();
    assert_eq!(shown(&second), [entry(ME, "inside")]);
    assert_eq!(second.svids[0].x509_svid, first.svids[0].x509_svid, "it is the same copy");
    world.register(IdentitySpec { hint: Some("outside".into()), ..me(OTHER) }).await.unwrap();
    let third: X509svidResponse = stream.next().await.unwrap();
    assert_eq!(shown(&third), [entry(ME, "inside"), entry(OTHER, "outside")]);
    let elsewhere = |name| IdentitySpec { selectors: ["unix:path:/elsewhere".parse().unwrap()].into(), ..me(name) };
    world.register(elsewhere(ME)).await.unwrap();
    let fourth: X509svidResponse = stream.next().await.unwrap();
    assert_eq!(fourth.svids.iter().map(|svid| &svid.spiffe_id).collect::<Vec<_>>(), [&spiffe(OTHER).to_string()]);
    world.register(elsewhere(OTHER)).await.unwrap();
    assert_eq!(stream.refusal().await, Some(PERMISSION_DENIED), "it is nobody any more");
}

/// What is issued goes to what is there then, and not to what was there when the stream began.
#[tokio::test]
async fn line_27_a_process_that_became_another_program_gets_no_more() {
    let world = World::with_me().await;
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", "read line; exec sleep 600"])
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    let link = move || std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    within(async {
        while link() == std::env::current_exe().unwrap() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let shell = link();
    world.register_program(OTHER, pid).await;
    let socket = Socket::of(Local::of(Arc::clone(&world.engine), None), pid).await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let first: X509svidResponse = stream.next().await.unwrap();
    assert_eq!(first.svids[0].spiffe_id, spiffe(OTHER).to_string());
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    within(async {
        while link() == shell {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for verb in [AuthorityVerb::Prepare, AuthorityVerb::Activate, AuthorityVerb::Taint] {
        world.engine.change_authority(&world.admin, verb, KeyKind::X509, None, "test").await.unwrap();
    }
    assert_eq!(stream.refusal().await, Some(PERMISSION_DENIED));
}

/// A source to which each caller is a copy whose name ends in these bytes, until it is over.
#[derive(Debug)]
struct Named {
    of: Arc<dyn Source>,
    end: [u8; 2],
    over: AtomicBool,
    /// How often entries were looked at.
    looks: watch::Sender<u64>,
}

impl Named {
    fn of(world: &World, end: [u8; 2]) -> Arc<Self> {
        let of = Local::of(Arc::clone(&world.engine), None);
        Arc::new(Self { of, end, over: AtomicBool::new(false), looks: watch::channel(0).0 })
    }

    /// A stream of its bundles, after the first message.
    async fn stream(self: &Arc<Self>) -> (Socket, Call) {
        let source: Arc<dyn Source> = self.clone();
        let socket = Socket::over(source).await;
        let mut stream = socket.call("FetchX509Bundles", &X509BundlesRequest {}, MARK).await;
        let _: X509BundlesResponse = stream.next().await.unwrap();
        (socket, stream)
    }
}

impl Clock for Named {
    fn now(&self) -> Timestamp {
        self.of.now()
    }
}

#[tonic::async_trait]
impl Source for Named {
    /// The copies have other names here.
    async fn check_seen(&self, _: &Process, _: &[Identified]) -> Result<(), Status> {
        Ok(())
    }

    async fn attest(&self, process: &Process) -> Result<Vec<Identified>, Status> {
        let mut copies = self.of.attest(process).await?;
        for copy in &mut copies {
            let mut name = copy.instance.to_bytes();
            name[14..].copy_from_slice(&self.end);
            copy.instance = InstanceId::from_bytes(name);
        }
        Ok(copies)
    }

    async fn x509_svid(&self, of: &Identified) -> Result<HeldSvid, Status> {
        self.of.x509_svid(of).await
    }

    async fn jwt_svid(&self, of: &Identified, audience: &[String]) -> Result<String, Status> {
        self.of.jwt_svid(of, audience).await
    }

    async fn validate(&self, token: &str, audience: &str) -> Result<ValidatedJwt, Status> {
        self.of.validate(token, audience).await
    }

    fn bundles(&self) -> Result<Bundles, Status> {
        self.of.bundles()
    }

    fn changes(&self) -> Changes {
        self.of.changes()
    }

    fn ended(&self, _: &[Identified]) -> Option<Status> {
        self.over.load(Ordering::Acquire).then(|| Status::permission_denied("it is over"))
    }

    async fn moved(&self, _: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
        self.looks.send_modify(|looks| *looks += 1);
        Ok(None)
    }
}

#[tokio::test]
async fn line_27_what_concerns_everybody_is_spread_over_time() {
    let world = World::with_me().await;
    let (_early, mut early) = Named::of(&world, [0, 0]).stream().await;
    let (_late, mut late) = Named::of(&world, [0xff, 0xff]).stream().await;
    federate(&world, "other.example");
    tokio::select! {
        biased;
        _ = late.next::<X509BundlesResponse>() => panic!("both come at once"),
        message = early.next::<X509BundlesResponse>() => assert!(message.unwrap().bundles.contains_key(FOREIGN)),
    }
}

/// Whoever waits for new bundles hears all the same that it is over.
#[tokio::test]
async fn line_28_an_end_does_not_wait_for_what_is_spread_over_time() {
    let world = World::with_me().await;
    let (source, other) = (Named::of(&world, [0xff, 0xff]), Named::of(&world, [0xc0, 0]));
    let (_socket, mut stream) = source.stream().await;
    let (_other, mut waits) = other.stream().await;
    federate(&world, "other.example");
    source.over.store(true, Ordering::Release);
    let lead = world.agent(LEAD).await;
    world.engine.revoke(&world.admin, Target::Lease(lead.workload.lease), "test").await.unwrap();
    tokio::select! {
        biased;
        _ = waits.next::<X509BundlesResponse>() => panic!("the end came after the bundles"),
        code = stream.refusal() => assert_eq!(code, Some(PERMISSION_DENIED)),
    }
}

/// What ends elsewhere costs nobody more than a glance: entries are looked at when they have changed.
#[tokio::test]
async fn line_27_entries_are_looked_at_when_they_change() {
    let world = World::with_me().await;
    let source = Named::of(&world, [0, 0]);
    let mut looks = source.looks.subscribe();
    let (_socket, mut stream) = source.stream().await;
    for name in ["one.example", "two.example", "three.example"] {
        let lead = world.agent(LEAD).await;
        world.engine.revoke(&world.admin, Target::Instance(lead.instance.id), "test").await.unwrap();
        federate(&world, name);
        let _: X509BundlesResponse = stream.next().await.unwrap();
    }
    assert_eq!(*looks.borrow(), 0);
    world.register(IdentitySpec { hint: Some("inside".into()), ..me(ME) }).await.unwrap();
    within(looks.wait_for(|looks| *looks == 1)).await.unwrap();
}

#[tokio::test]
async fn line_28_streams_end_with_the_last_identity() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let mut streams = Streams::open(&socket).await;
    streams.next().await;
    world.engine.move_identity(&world.admin, ME, Lifecycle::Suspended, "test").await.unwrap();
    assert_eq!(streams.end().await, [Some(PERMISSION_DENIED); 3]);
    assert_eq!(statuses(&socket, "x", GOOD).await, [Some(PERMISSION_DENIED); 5]);
    world.engine.move_identity(&world.admin, ME, Lifecycle::Active, "test").await.unwrap();
    let mut streams = Streams::open(&socket).await;
    streams.next().await;
    let nobody = BTreeSet::from(["unix:name:nobody".parse().unwrap()]);
    world.register(IdentitySpec { selectors: nobody, ..me(ME) }).await.unwrap();
    assert_eq!(streams.end().await, [Some(PERMISSION_DENIED); 3], "the entry is no longer of this process");
}

#[tokio::test]
async fn line_28_one_identity_of_two_is_redacted() {
    let world = twofold().await;
    let socket = Socket::open(&world.engine).await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let first: X509svidResponse = stream.next().await.unwrap();
    assert_eq!(first.svids.len(), 2);
    world.engine.move_identity(&world.admin, ME, Lifecycle::Suspended, "test").await.unwrap();
    let second: X509svidResponse = stream.next().await.unwrap();
    assert!(second.svids == first.svids[1..], "the other one, as it was");
    world.engine.move_identity(&world.admin, OTHER, Lifecycle::Suspended, "test").await.unwrap();
    assert_eq!(stream.refusal().await, Some(PERMISSION_DENIED));
}

/// INVARIANT (I4 revocation is monotone): a copy that was revoked does not come back into the stream that had it.
#[tokio::test]
async fn line_28_a_revoked_copy_of_two_stays_redacted() {
    let world = twofold().await;
    let socket = Socket::open(&world.engine).await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let first: X509svidResponse = stream.next().await.unwrap();
    let revoked = world.engine.authenticate_certificate(&[first.svids[0].x509_svid.as_slice()]).unwrap();
    assert_eq!(revoked.identity, spiffe(ME));
    world.engine.revoke(&world.admin, Target::Instance(revoked.instance), "test").await.unwrap();
    let second: X509svidResponse = stream.next().await.unwrap();
    assert!(second.svids == first.svids[1..], "the other one, as it was");
    world.register(IdentitySpec { hint: Some("elsewhere".into()), ..me(OTHER) }).await.unwrap();
    let third: X509svidResponse = stream.next().await.unwrap();
    let shown: Vec<_> = third.svids.iter().map(|svid| (svid.spiffe_id.clone(), svid.hint.as_str())).collect();
    assert_eq!(shown, [(spiffe(OTHER).to_string(), "elsewhere")]);
    let again: X509svidResponse = socket.ask("FetchX509SVID", &X509svidRequest {}).await.unwrap();
    assert_eq!(again.svids.len(), 2, "whoever asks again is attested again");
}

#[tokio::test]
async fn line_28_a_revoked_authority_is_redacted() {
    let world = World::with_me().await;
    let socket = Socket::open(&world.engine).await;
    let mut stream = socket.call("FetchX509SVID", &X509svidRequest {}, MARK).await;
    let before: X509svidResponse = stream.next().await.unwrap();
    world.engine.change_authority(&world.admin, AuthorityVerb::Revoke, KeyKind::X509, None, "test").await.unwrap();
    let after: X509svidResponse = stream.next().await.unwrap();
    let (old, new) = (elements(&before.svids[0].bundle), elements(&after.svids[0].bundle));
    assert!(new.len() == 1 && new != old);
    let leaf = [after.svids[0].x509_svid.as_slice()];
    assert!(verify_x509_svid(&leaf, world.engine.authorities().bundle(), world.engine.now()).is_ok());
}

#[tokio::test]
async fn line_28_a_foreign_bundle_without_keys_is_redacted() {
    let world = World::with_me().await;
    let sequence = federate(&world, "other.example").bundle().sequence + 1;
    let socket = Socket::open(&world.engine).await;
    let mut streams = Streams::open(&socket).await;
    let (svids, x509, jwt) = streams.next().await;
    assert!([&svids.federated_bundles, &x509.bundles, &jwt.bundles].iter().all(|bundles| bundles.contains_key(FOREIGN)));
    world.engine.offer_bundle(Bundle::empty("other.example".parse().unwrap(), sequence)).unwrap();
    let (svids, x509, jwt) = streams.next().await;
    assert!(svids.federated_bundles.is_empty());
    for bundles in [&x509.bundles, &jwt.bundles] {
        assert_eq!(keys(bundles), BTreeSet::from([OWN]));
    }
}
