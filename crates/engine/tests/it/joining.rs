//! Joining: by what a node is admitted, and what becomes of whoever had its name before.

use std::sync::Arc;

use marque_core::event::Body;
use marque_core::node::{Admission, NodeName};
use marque_core::time::Ttl;
use marque_engine::{Caller, Engine, EngineError, Env, NodeProof, Options, PopKey, PopVerifier, SecretText};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use crate::nodes::{ELSEWHERE, TEN, apply, attest, join, node, on, peer, token};
use crate::world::{ADMIN, ISSUER, LEAD, World, person, spiffe};

#[tokio::test]
async fn a_join_token_admits_its_node_once_and_in_time() {
    let world = World::start().await;
    for (name, ttl) in [("server", TEN), ("Web", TEN), ("web", Ttl::from_seconds(0)), ("web", Ttl::from_minutes(24 * 60 + 1))] {
        assert!(world.engine.make_node_token(&world.admin, name, ttl).await.is_err(), "{name} {ttl}");
    }
    let workload = Caller::Workload(world.agent(LEAD).await.workload);
    assert!(world.engine.make_node_token(&workload, "web", TEN).await.is_err(), "people let nodes join");

    let late = token(&world, "web").await;
    world.advance(10 * 60);
    let error = join(&world, "web", &late).await.unwrap_err();
    assert!(matches!(error, EngineError::Unauthenticated(_)), "{error}");

    let good = token(&world, "web").await;
    let other = SecretText::new(format!("{}x", good.danger_expose()));
    for (name, token) in [("web", &other), ("web", &late), ("db", &good), ("web", &SecretText::new(String::new()))] {
        assert!(join(&world, name, token).await.is_err(), "{name}");
    }
    let svid = join(&world, "web", &good).await.unwrap();
    assert_eq!(svid.id, spiffe("marque/node/web"));
    assert!(join(&world, "web", &good).await.is_err(), "it was used");
    let web = peer(&world.engine, &svid);
    assert_eq!(web.name.as_str(), "web");
    assert!(world.engine.node_sync(&web).is_ok());
    let chain: Vec<&[u8]> = svid.chain.iter().map(Vec::as_slice).collect();
    assert!(world.engine.authenticate_certificate(&chain).is_err(), "a node is no workload");

    let events = world.events().await;
    let refused =
        |e: &&marque_core::event::Event| matches!(&e.what, Body::AttestationRefused { why } if why.contains("join token"));
    assert_eq!(events.iter().filter(refused).count(), 1, "what is refused again and again is recorded once a minute");
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains(good.danger_expose()) && !text.contains(late.danger_expose()), "no token stands in the log");
}

#[tokio::test]
async fn whoever_joins_anew_ends_the_one_before_and_renewing_does_not() {
    let world = World::empty().await;
    apply(&world, vec![on(LEAD, &["web"])]).await;
    let first = node(&world, "web").await;
    let copy = attest(&world, &first, ELSEWHERE, LEAD).await.unwrap().remove(0);
    let renewed = peer(&world.engine, &world.engine.renew_node(&first).await.unwrap());
    assert_ne!(renewed, first);
    for peer in [&first, &renewed] {
        assert!(world.engine.node_instance(peer, copy.instance).is_ok());
    }
    let second = node(&world, "web").await;
    for peer in [&first, &renewed] {
        let error = world.engine.node_sync(peer).unwrap_err();
        assert!(matches!(error, EngineError::Unauthenticated(_)), "{error}");
        assert!(world.engine.renew_node(peer).await.is_err());
        assert!(attest(&world, peer, ELSEWHERE, LEAD).await.is_err());
    }
    assert!(world.engine.instance(copy.instance).is_err(), "its copies ended with it");
    assert!(world.engine.node_sync(&second).unwrap().live.is_empty());
    world.advance(3600);
    assert!(world.engine.node_sync(&second).is_err(), "an SVID that has ended proves nothing");
}

/// A CA of the data centre, and a certificate of it.
struct Machine {
    roots: String,
    chain: Vec<Vec<u8>>,
    key: PopKey,
}

impl Machine {
    fn named(name: &str) -> Self {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut ca = params("data centre");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let issuer: &Issuer<'_, KeyPair> = &ca;
        let pair = KeyPair::generate().unwrap();
        let leaf = params(name).signed_by(&pair, issuer).unwrap();
        let key = PopKey::from_pkcs8(pair.serialized_der()).unwrap();
        Self { roots: ca.pem(), chain: vec![leaf.der().to_vec()], key }
    }

    fn proof(&self, engine: &Engine) -> NodeProof {
        let challenge = engine.node_challenge().unwrap();
        let answer = self.key.answer(&challenge, &self.chain[0], [7; 32]).unwrap();
        NodeProof::Certificate { chain: self.chain.clone(), challenge, answer }
    }
}

#[tokio::test]
async fn a_certificate_of_a_configured_ca_admits_the_node_that_it_names() {
    let (machine, stranger) = (Machine::named("web"), Machine::named("web"));
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new("example.org".parse().unwrap(), person(ADMIN), ISSUER.into());
    options.node_roots = Some(Arc::new(PopVerifier::from_pem(&machine.roots).unwrap()));
    let engine = Engine::open(&dir.path().join("state"), Env::system(), options).await.unwrap();
    let (web, db): (NodeName, NodeName) = ("web".parse().unwrap(), "db".parse().unwrap());

    let proof = machine.proof(&engine);
    let svid = engine.join_node(&web, &proof).await.unwrap();
    assert!(engine.node_sync(&peer(&engine, &svid)).is_ok());
    let view = engine.node_list().remove(0);
    assert_eq!(view.how, Some(Admission::X509Pop));
    assert!(view.selectors.iter().any(|s| s.as_str() == "x509pop:subject:cn:web"), "{view:?}");

    assert!(engine.join_node(&web, &proof).await.is_err(), "an answer counts once");
    assert!(engine.join_node(&db, &machine.proof(&engine)).await.is_err(), "the certificate names another node");
    assert!(engine.join_node(&web, &stranger.proof(&engine)).await.is_err(), "another CA");
    assert!(engine.node_sync(&peer(&engine, &svid)).is_ok(), "who is refused ends nobody");
    // Unlike a token, a certificate counts again.
    assert!(engine.join_node(&web, &machine.proof(&engine)).await.is_ok());
    let by = Caller::Person(person(ADMIN));
    engine.ban_node(&by, "web", "").await.unwrap();
    assert!(engine.join_node(&web, &machine.proof(&engine)).await.is_err());

    let world = World::empty().await;
    assert!(world.engine.node_challenge().is_err(), "no CA is configured here");
}
