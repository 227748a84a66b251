//! Nodes: what one may serve, and how that ends.

use std::collections::BTreeSet;

use marque_core::attestation::Selector;
use marque_core::identity::{Identity, Lifecycle};
use marque_core::node::NodeName;
use marque_core::state::Dead;
use marque_core::time::Ttl;
use marque_engine::desired::{Desired, IdentitySpec};
use marque_engine::{Caller, Engine, EngineError, Identified, NodePeer, NodeProof, NodeSight, SecretText, X509Svid};

use crate::world::{ISSUER, LEAD, WORKER, World, agent, chain, named, observed, spiffe};

pub(crate) const TEN: Ttl = Ttl::from_minutes(10);

/// A node that has joined by a token.
pub(crate) async fn node(world: &World, name: &str) -> NodePeer {
    let svid = join(world, name, &token(world, name).await).await.unwrap();
    peer(&world.engine, &svid)
}

pub(crate) async fn token(world: &World, name: &str) -> SecretText {
    world.engine.make_node_token(&world.admin, name, TEN).await.unwrap().token
}

pub(crate) async fn join(world: &World, name: &str, token: &SecretText) -> Result<X509Svid, EngineError> {
    world.engine.join_node(&name.parse().unwrap(), &NodeProof::Token(token.clone())).await
}

/// Whom a connection with this certificate comes from.
pub(crate) fn peer(engine: &Engine, svid: &X509Svid) -> NodePeer {
    let chain: Vec<&[u8]> = svid.chain.iter().map(Vec::as_slice).collect();
    engine.authenticate_node(&chain).unwrap()
}

pub(crate) fn on(name: &str, nodes: &[&str]) -> IdentitySpec {
    IdentitySpec { nodes: nodes.iter().map(|n| n.parse().unwrap()).collect(), ..agent(name, "invoke:tool:*") }
}

pub(crate) async fn apply(world: &World, identities: Vec<IdentitySpec>) {
    let desired = Desired { identities, ..Desired::default() };
    world.engine.apply(&world.admin, &desired).await.unwrap();
}

fn sight(pid: u32, selectors: &[&str]) -> NodeSight {
    NodeSight { pid, started: 7, selectors: selectors.iter().map(|s| s.parse().unwrap()).collect() }
}

pub(crate) async fn attest(world: &World, peer: &NodePeer, pid: u32, name: &str) -> Result<Vec<Identified>, EngineError> {
    world.engine.attest_on_node(peer, sight(pid, &[&named(name)])).await
}

/// A process that no host has: whoever looked for it here would find that it has ended.
pub(crate) const ELSEWHERE: u32 = 4_000_000_000;

#[tokio::test]
async fn an_identity_is_served_where_it_says() {
    let world = World::empty().await;
    let all = [on("agent/here", &[]), on("agent/both", &["server", "web"]), on("agent/web", &["web"]), on("agent/db", &["db"])];
    apply(&world, all.to_vec()).await;
    let (web, db) = (node(&world, "web").await, node(&world, "db").await);
    for (name, here, on_web, on_db) in [
        ("agent/here", true, false, false),
        ("agent/both", true, true, false),
        ("agent/web", false, true, false),
        ("agent/db", false, false, true),
    ] {
        assert_eq!(world.engine.attest(observed(&[&named(name)]), None).await.is_ok(), here, "{name}");
        assert_eq!(attest(&world, &web, 1, name).await.is_ok(), on_web, "{name}");
        assert_eq!(attest(&world, &db, 1, name).await.is_ok(), on_db, "{name}");
    }
    let sync = world.engine.node_sync(&web).unwrap();
    assert_eq!(sync.identities, BTreeSet::from([spiffe("agent/both"), spiffe("agent/web")]));
    assert_eq!(sync.live.len(), 2);

    // Of the same number and start, and yet two processes: one on each host.
    apply(&world, vec![on("agent/web", &["web", "db"])]).await;
    let copies = [attest(&world, &web, 1, "agent/web").await.unwrap(), attest(&world, &db, 1, "agent/web").await.unwrap()];
    assert_ne!(copies[0][0].instance, copies[1][0].instance);
    assert!(matches!(world.engine.node_instance(&db, copies[0][0].instance), Err(EngineError::Forbidden(_))));

    // What is taken away from a node counts there no longer.
    let (seen, copy) = (world.engine.node_sync(&web).unwrap().seen, copies[0][0].instance);
    let mut ended = world.engine.watch_ended();
    apply(&world, vec![on("agent/web", &["db"])]).await;
    assert!(ended.has_changed().unwrap(), "whoever serves it is woken");
    ended.mark_unchanged();
    let sync = world.engine.node_sync(&web).unwrap();
    assert!(sync.seen != seen && !sync.live.contains(&copy));
    assert!(matches!(world.engine.instance(copy), Err(EngineError::Dead(Dead::NotThere(..)))));
}

#[tokio::test]
async fn a_node_says_only_what_a_node_can_see() {
    let world = World::empty().await;
    let launched: Selector = "launched:identity:agent/lead".parse().unwrap();
    let by_node: Selector = "node:name:web".parse().unwrap();
    let lead = IdentitySpec { selectors: BTreeSet::from([launched.clone()]), ..on(LEAD, &["web"]) };
    let worker = IdentitySpec { selectors: BTreeSet::from([by_node.clone()]), ..on(WORKER, &["web", "db"]) };
    apply(&world, vec![lead, worker]).await;
    let (web, db) = (node(&world, "web").await, node(&world, "db").await);
    for claimed in ["launched:identity:agent/lead", "node:name:web", "oidc:sub:x", "join_token:id:x", "x509pop:subject:cn:web"] {
        let error = world.engine.attest_on_node(&db, sight(1, &["unix:uid:1", claimed])).await.unwrap_err();
        assert!(matches!(error, EngineError::Invalid(_)), "{claimed}: {error}");
    }
    // That it is this node the server itself knows.
    let copies = world.engine.attest_on_node(&web, sight(1, &["unix:uid:1"])).await.unwrap();
    assert_eq!(copies[0].identity, spiffe(WORKER));
    assert!(world.engine.attest_on_node(&db, sight(1, &["unix:uid:1"])).await.is_err());
}

#[tokio::test]
async fn a_ban_ends_everything_of_a_node() {
    let world = World::empty().await;
    apply(&world, vec![on(LEAD, &["web", "db"])]).await;
    let (web, db) = (node(&world, "web").await, node(&world, "db").await);
    let mut held = Vec::new();
    for peer in [&web, &db] {
        let copy = attest(&world, peer, ELSEWHERE, LEAD).await.unwrap().remove(0);
        let instance = world.engine.node_instance(peer, copy.instance).unwrap();
        let jwt = world.engine.jwt_svid(&instance, &[ISSUER.to_owned()]).await.unwrap();
        held.push((world.engine.x509_svid(&instance).await.unwrap(), jwt));
    }
    let waiting = token(&world, "web").await;
    let mut ended = world.engine.watch_ended();
    ended.mark_unchanged();
    let workload = Caller::Workload(world.engine.authenticate_certificate(&chain(&held[0].0)).unwrap());
    assert!(world.engine.ban_node(&workload, "web", "").await.is_err(), "people ban");
    assert!(matches!(world.engine.ban_node(&world.admin, "nobody", "").await, Err(EngineError::NotFound { .. })));
    let view = world.engine.ban_node(&world.admin, "web", "its disk was taken").await.unwrap();
    assert_eq!((view.standing.as_str(), view.instances), ("banned", 0));
    assert!(ended.has_changed().unwrap());
    assert!(world.engine.ban_node(&world.admin, "web", "").await.is_err(), "once is enough");

    let banned = |error: EngineError| matches!(error, EngineError::Dead(Dead::Banned(_)));
    assert!(banned(world.engine.node_sync(&web).unwrap_err()));
    assert!(banned(world.engine.node_contact(&web).unwrap_err()));
    assert!(banned(world.engine.renew_node(&web).await.unwrap_err()));
    assert!(banned(attest(&world, &web, ELSEWHERE, LEAD).await.unwrap_err()));
    assert!(banned(join(&world, "web", &waiting).await.unwrap_err()));
    assert!(banned(world.engine.make_node_token(&world.admin, "web", TEN).await.unwrap_err()), "its name is never used again");
    for (which, (x509, jwt)) in held.iter().enumerate() {
        let is_db = which == 1;
        assert_eq!(world.engine.authenticate_certificate(&chain(x509)).is_ok(), is_db);
        assert_eq!(world.engine.validate_jwt_svid(jwt, Some(ISSUER)).is_ok(), is_db);
    }
    assert_eq!(world.engine.node_sync(&db).unwrap().live.len(), 1);

    let before = world.state();
    let world = world.close().open().await;
    assert_eq!(world.state().nodes, before.nodes, "across restarts");
    assert!(banned(world.engine.node_sync(&web).unwrap_err()));
}

/// What a node attested ends when the node may have stopped showing it, and not because its process is none of ours.
#[tokio::test]
async fn what_a_silent_node_attested_ends() {
    let world = World::empty().await;
    apply(&world, vec![on(LEAD, &["web"])]).await;
    let web = node(&world, "web").await;
    let copy = attest(&world, &web, ELSEWHERE, LEAD).await.unwrap().remove(0);
    let longest = i64::try_from(world.engine.max_staleness().seconds()).unwrap();
    for _ in 0..3 {
        world.advance(longest - 1);
        world.tick().await;
        assert!(world.engine.instance(copy.instance).is_ok());
        world.engine.node_contact(&web).unwrap();
    }
    assert_eq!(world.engine.node_list()[0].standing, "joined");
    world.advance(longest);
    assert_eq!(world.engine.node_list()[0].standing, "silent");
    world.tick().await;
    assert!(world.engine.instance(copy.instance).is_err());
    // It comes back, and so does its process, as another copy.
    world.engine.node_contact(&web).unwrap();
    let again = attest(&world, &web, ELSEWHERE, LEAD).await.unwrap().remove(0);
    assert_ne!(again.instance, copy.instance);

    // After a start nothing is known of when a node was last heard of: it gets its time.
    let world = world.close().open().await;
    world.tick().await;
    assert!(world.engine.instance(again.instance).is_ok());
    world.advance(longest);
    world.tick().await;
    assert!(world.engine.instance(again.instance).is_err());
}

#[tokio::test]
async fn a_node_tells_of_its_own_processes_and_no_others() {
    let world = World::empty().await;
    apply(&world, vec![on(LEAD, &["web", "db", "server"])]).await;
    let (web, db) = (node(&world, "web").await, node(&world, "db").await);
    let own = attest(&world, &web, ELSEWHERE, LEAD).await.unwrap()[0].instance;
    let other = attest(&world, &db, ELSEWHERE, LEAD).await.unwrap()[0].instance;
    let local = world.engine.attest(observed(&[&named(LEAD)]), None).await.unwrap().id;
    world.engine.end_on_node(&web, &BTreeSet::from([own, other, local])).await.unwrap();
    assert!(world.engine.instance(own).is_err());
    assert!(world.engine.instance(other).is_ok() && world.engine.instance(local).is_ok());
    assert!(world.engine.node_instance(&web, local).is_err());
}

#[tokio::test]
async fn nobody_takes_the_names_of_the_server_and_its_nodes() {
    let world = World::empty().await;
    for name in ["marque", "marque/gateway", "marque/node/web"] {
        let desired = Desired { identities: vec![on(name, &[])], ..Desired::default() };
        let error = world.engine.apply(&world.admin, &desired).await.unwrap_err();
        assert!(matches!(error, EngineError::Invalid(_)), "{name}: {error}");
    }
    apply(&world, vec![on("marquee/a", &[])]).await;
}

/// INVARIANT (I7 unknown is No): in no world does a node, whatever it says that it saw, get an identity that does not name
/// it, that is not active, or of which it did not see everything; and nothing else ever counts there.
#[tokio::test]
async fn a_node_never_gets_an_identity_that_is_not_for_it() {
    for seed in 1..=12_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let world = World::empty().await;
        let names = ["n0", "n1", "n2"];
        let mut peers = Vec::new();
        for name in names {
            peers.push(node(&world, name).await);
        }
        let mut banned = BTreeSet::new();
        let mut given = 0;
        for step in 0..60 {
            match below(8) {
                0 => {
                    let places: Vec<&str> = ["n0", "n1", "n2", "server"].into_iter().filter(|_| below(2) == 0).collect();
                    let selectors = (0..3).filter(|_| below(2) == 0).map(|n| format!("unix:fact:{n}").parse().unwrap());
                    let selectors: BTreeSet<Selector> = selectors.collect();
                    apply(&world, vec![IdentitySpec { selectors, ..on(&format!("agent/a{}", below(4)), &places) }]).await;
                }
                1 => {
                    let to = if below(2) == 0 { Lifecycle::Suspended } else { Lifecycle::Active };
                    let _ = world.engine.move_identity(&world.admin, &format!("agent/a{}", below(4)), to, "test").await;
                }
                2 if step > 40 && banned.len() < 2 => {
                    let which = usize::try_from(below(3)).unwrap();
                    if banned.insert(which) {
                        world.engine.ban_node(&world.admin, names[which], "").await.unwrap();
                    }
                }
                _ => {
                    let which = usize::try_from(below(3)).unwrap();
                    let seen: Vec<String> = (0..3).filter(|_| below(3) > 0).map(|n| format!("unix:fact:{n}")).collect();
                    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
                    let sight = sight(u32::try_from(below(4)).unwrap(), &seen);
                    let facts = sight.selectors.clone();
                    let Ok(copies) = world.engine.attest_on_node(&peers[which], sight).await else { continue };
                    assert!(!banned.contains(&which), "seed {seed}: a banned node was answered");
                    let name: NodeName = names[which].parse().unwrap();
                    for copy in copies {
                        let identity: Identity = world.state().identities[&copy.identity].clone();
                        assert!(identity.nodes.contains(&name), "seed {seed}: {identity:?} on {name}");
                        assert_eq!(identity.state, Lifecycle::Active, "seed {seed}");
                        assert!(!identity.selectors.is_empty() && identity.selectors.is_subset(&facts), "seed {seed}");
                        let instance = world.engine.node_instance(&peers[which], copy.instance).unwrap();
                        world.engine.x509_svid(&instance).await.unwrap();
                        given += 1;
                    }
                }
            }
            let state = world.state();
            for (which, peer) in peers.iter().enumerate() {
                let Ok(sync) = world.engine.node_sync(peer) else {
                    assert!(banned.contains(&which), "seed {seed}");
                    continue;
                };
                assert!(!banned.contains(&which), "seed {seed}");
                for id in sync.live {
                    let identity = &state.identities[&state.instances[&id].identity];
                    assert!(identity.nodes.contains(&peer.name) && sync.identities.contains(&identity.id), "seed {seed}");
                }
            }
        }
        assert!(given > 0, "seed {seed}: nothing was ever given, so nothing was shown");
    }
}
