//! The corpus and its neighbourhood.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use marque_core::time::Ttl;
use marque_fuzz::{Mutator, Random, TARGETS, Target};
use marque_server::pb::broker::WorkloadReference;
use marque_server::pb::sds::DiscoveryRequest;
use marque_svid::oidc::{IssuerKeys, OidcVerifier};
use marque_svid::x509pop::{Answer, Challenge, PopVerifier};
use prost::Message as _;

/// Runs a target; a broken property names the input.
fn run(target: &Target, input: &[u8], from: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        panic!("`{}` is broken by {from}: {}", target.name, input.escape_ascii());
    }
}

#[test]
fn the_corpus_replays() {
    for target in TARGETS {
        let corpus = target.corpus().unwrap();
        assert!(corpus.len() >= 3, "`{}` has too few inputs", target.name);
        for (file, bytes) in corpus {
            run(target, &bytes, &file.display().to_string());
        }
    }
}

#[test]
fn inputs_near_the_corpus_break_nothing() {
    std::thread::scope(|scope| {
        for part in TARGETS.chunks(TARGETS.len().div_ceil(2)) {
            scope.spawn(move || part.iter().for_each(near));
        }
    });
}

fn near(target: &Target) {
    let corpus: Vec<Vec<u8>> = target.corpus().unwrap().into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(&corpus, SEED);
    for nth in 0..target.tries {
        run(target, &mutator.input(), &format!("input {nth} of seed {SEED}"));
    }
}

#[test]
fn the_corpus_has_a_folder_for_each_target_and_no_other() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len(), "two targets have one name");
    let corpus = TARGETS[0].folder().parent().unwrap().to_owned();
    let folders = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(folders.collect::<BTreeSet<_>>(), names);
}

/// A kept input.
fn read(target: &str, file: &str) -> Vec<u8> {
    std::fs::read(Target::named(target).unwrap().folder().join(file)).unwrap()
}

fn text(target: &str, file: &str) -> String {
    String::from_utf8(read(target, file)).unwrap()
}

/// Otherwise the targets would pass by refusing everything.
#[test]
fn the_good_inputs_are_taken() {
    assert!(text("spiffe_id", "good").parse::<marque_core::spiffe::SpiffeId>().is_ok());
    assert!(text("scope", "good").parse::<marque_core::scope::Scope>().is_ok());
    assert!(marque_core::event::Event::from_bytes(&read("event", "decided")).is_ok());
    assert!(marque_ledger::Note::parse(&text("ledger_note", "good")).is_ok());
    assert!(text("ledger_proof", "good").parse::<marque_ledger::TlogProof>().is_ok());
    assert!(text("ledger_policy", "good").parse::<marque_ledger::Policy>().is_ok());
    assert!(text("ledger_add_checkpoint", "good").parse::<marque_ledger::AddCheckpoint>().is_ok());
    assert!(marque_svid::BundleSet::from_map_json(&read("svid_bundle_map", "good")).is_ok());
    for (file, authorities) in [("good", 1), ("key-of-another-kind", 0)] {
        let bundle = marque_svid::Bundle::from_spiffe_json("example.org".parse().unwrap(), &read("svid_bundle", file)).unwrap();
        assert_eq!(bundle.x509_authorities.len(), authorities, "{file}");
    }
    assert!(serde_json::from_slice::<marque_engine::TaskRequest>(&read("requests", "task")).is_ok());
    for (file, found) in [("zip", "zip"), ("gzip", "gzip"), ("base64", "base64"), ("diff", "diff"), ("html", "html")] {
        let bytes = read("trace_variants", file);
        let decoded = marque_trace::variants(&bytes, &marque_trace::Limits::default());
        assert!(decoded.variants.iter().flat_map(|v| v.steps()).any(|step| step.name() == found), "{file}");
    }
    let files = [marque_policy::PolicyFile { name: "a".into(), text: text("policy_load", "good") }];
    assert!(marque_policy::Snapshot::load(&files, marque_core::Digest::from_bytes([0; 32])).is_ok());
    for (target, file, good) in [
        ("svid_jwt", "good", true),
        ("svid_jwt", "expired", false),
        ("svid_jwt", "extra-header", false),
        ("svid_typed", "good", true),
        ("svid_typed", "typ-jwt", false),
        ("svid_wit", "good", true),
        ("svid_wit", "another-holder", false),
        ("svid_wit", "another-target", false),
        ("svid_wit", "late", false),
        ("svid_wit", "with-audience", false),
        ("svid_wit", "expired", false),
        ("svid_wit", "another-signer", false),
        ("svid_x509", "good", true),
        ("svid_x509", "forged", false),
        ("svid_oidc", "signed", true),
        ("svid_oidc", "signed-two-audiences", true),
        ("svid_oidc", "signed-long-ago", false),
        ("svid_oidc", "signed-for-another", false),
        ("svid_oidc", "signed-no-kid", false),
        ("svid_node", "good", true),
        ("svid_node", "root-too", true),
        ("svid_node", "p384", true),
        ("svid_node", "rsa", true),
        ("svid_node", "other-challenge", false),
        ("svid_node", "other-certificate", false),
        ("svid_node", "no-intermediate", false),
        ("svid_node", "expired", false),
        ("svid_node", "stranger", false),
        ("svid_node", "ca", false),
    ] {
        assert_eq!(accepted(target, &read(target, file)), good, "{target}/{file}");
    }
}

/// The same for what proxies and people ask, and for what stands beside the log.
#[test]
fn the_good_questions_and_files_are_taken() {
    for file in ["default", "all", "own-domain", "twice", "rejected"] {
        assert!(DiscoveryRequest::decode(read("server_sds", file).as_slice()).is_ok(), "{file}");
    }
    for (file, good) in [("everything", true), ("follow", true), ("empty", true), ("followed-to-an-end", false), ("twice", false)]
    {
        assert_eq!(marque_server::api::question(&text("server_query", file)).is_ok(), good, "{file}");
    }
    for file in ["decided", "settled", "elevation", "artifact", "read", "revoked", "erased"] {
        assert!(marque_core::event::Event::from_bytes(&read("store_veil", file)).is_ok(), "{file}");
    }
    assert_eq!(marque_store::private::parts(&read("store_parts", "two")).map(|parts| parts.len()), Some(2));
    assert_eq!(marque_store::private::records(&read("store_parts", "records")).map(|records| records.len()), Some(3));
    for (file, good) in [("web", true), ("spiffe", true), ("bad-both", false), ("bad-domain-id", false)] {
        let read = serde_json::from_slice::<marque_svid::Relationship>(&read("svid_relationship", file));
        assert_eq!(read.is_ok(), good, "{file}");
    }
    assert!(serde_json::from_slice::<Answer>(&read("svid_pop", "answer-good")).is_ok());
    assert!(serde_json::from_slice::<Challenge>(&read("svid_pop", "challenge-good")).is_ok());
}

/// The same for files with keys, for what nodes hold, and for what workloads and brokers ask.
#[test]
fn the_good_keys_and_requests_are_taken() {
    for (file, good) in [("good", true), ("before-sets", true), ("other-key", false), ("elsewhere", false), ("no-ca", false)] {
        let keys = read("svid_authorities", file);
        let set =
            marque_svid::AuthoritySet::from_json(&keys, &marque_svid::SoftwareKeys, &marque_svid::RotationPolicy::default());
        assert_eq!(set.is_ok(), good, "{file}: {:?}", set.as_ref().err());
    }
    for (file, good) in [("p256", true), ("p384", true), ("rsa", true), ("apart", true), ("root", true), ("other-key", false)] {
        let text = text("svid_upstream", file);
        let parts: Vec<&str> = text.splitn(3, "\n\n").collect();
        let upstream = marque_svid::UpstreamCa::from_pem(parts[0], parts[1], parts.get(2).copied());
        assert_eq!(upstream.is_ok(), good, "{file}");
    }
    for (file, good) in [("good", true), ("negative", true), ("no-chain", false), ("bad-base64", false)] {
        assert_eq!(marque_server::node::received(&read("node_received", file), marque_fuzz::NOW).is_some(), good, "{file}");
    }
    for (file, good) in [("good", true), ("zero", false), ("negative", false), ("other-kind", false), ("nothing", false)] {
        let reference = WorkloadReference::decode(read("server_reference", file).as_slice()).unwrap();
        assert_eq!(marque_server::broker::process(Some(reference)).is_ok(), good, "{file}");
    }
    for (file, good) in [("good", true), ("experimental", true), ("node", true), ("empty", true), ("open-console", false)] {
        let path = Target::named("configuration").unwrap().folder().join(file);
        assert_eq!(marque_cli::configuration(&path).is_ok(), good, "{file}");
    }
    assert!(marque_store::log::batch::decode(&read("store_batch", "whole")).is_some());
}

#[tokio::test]
async fn the_good_exchanges_are_taken() {
    let client = marque_engine::Workload {
        lease: marque_core::id::LeaseId::from_bytes([1; 16]),
        instance: marque_core::id::InstanceId::from_bytes([2; 16]),
        identity: "spiffe://example.org/agent/researcher".parse().unwrap(),
        thumbprint: String::new(),
    };
    for (file, code) in [
        ("good", None),
        ("delegation", None),
        ("task", None),
        ("quotes", Some("invalid_request")),
        ("twice", Some("invalid_request")),
        ("no-actor-type", Some("invalid_request")),
        ("other-target", Some("invalid_target")),
        ("password", Some("unsupported_grant_type")),
        ("bad-scope", Some("invalid_scope")),
    ] {
        let asked = marque_server::exchange_of(read("server_exchange", file), "https://127.0.0.1:8444", client.clone()).await;
        assert_eq!(asked.err().map(|error| error.code()), code, "{file}");
    }
}

/// Whether an input passes, asked of the library and not of the target.
fn accepted(target: &str, data: &[u8]) -> bool {
    let mut bundle = marque_svid::Bundle::empty("example.org".parse().unwrap(), 1);
    bundle.x509_authorities.push(include_bytes!("../../src/authority.der").to_vec());
    bundle.jwt_keys.push(serde_json::from_str(marque_fuzz::KEY).unwrap());
    let now = marque_fuzz::NOW;
    let token = || std::str::from_utf8(data).unwrap();
    match target {
        "svid_jwt" => marque_svid::verify_jwt_svid(token(), &bundle, None, now).is_ok(),
        "svid_wit" => {
            bundle.wit_keys.push(serde_json::from_str(marque_fuzz::WIT_KEY).unwrap());
            let (wit, proof) = token().split_once('\n').unwrap();
            let targets = &["https://api.example/x"];
            let expected =
                marque_svid::wit::Expectation { targets, access_token: None, transaction_token: None, others: &[], now };
            marque_svid::wit::verify_wit_svid(wit, &bundle, now).and_then(|found| found.prove(proof, &expected)).is_ok()
        }
        "svid_x509" => marque_svid::verify_x509_svid(&[data], &bundle, now).is_ok(),
        "svid_oidc" => {
            let keys = format!(r#"{{"keys":[{},{}]}}"#, marque_fuzz::KEY, marque_fuzz::OIDC_KEY);
            let (keys, issuer) = (IssuerKeys::read(keys.as_bytes()).unwrap(), "https://issuer.example");
            let verifier = OidcVerifier::new(issuer.parse().unwrap(), vec![issuer.into()], Ttl::from_seconds(60), keys).unwrap();
            verifier.verify(token(), now).is_ok()
        }
        "svid_node" => {
            let (answer, chain) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap());
            let (chain, answer) = (marque_ledger::decode_bundle(&chain[1..]).unwrap(), serde_json::from_slice(answer).unwrap());
            let challenge: Challenge = serde_json::from_str(marque_fuzz::CHALLENGE).unwrap();
            PopVerifier::from_pem(marque_fuzz::NODE_ROOT).unwrap().verify(&chain, challenge, &answer, now).is_ok()
        }
        _ => {
            let (issuer, audience) = ("https://issuer.example", "spiffe://example.org/marque/gateway");
            marque_svid::verify_typed::<serde_json::Value>(token(), "at+jwt", &bundle, issuer, audience, now).is_ok()
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let corpus = [b"spiffe://example.org/a".to_vec(), Vec::new()];
    let inputs = |seed| {
        let mut mutator = Mutator::new(&corpus, seed);
        (0..100).map(|_| mutator.input()).collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
    // The first number of the reference implementation for seed 0.
    assert_eq!(Random::new(0).draw(), 0xe220_a839_7b1d_cdaf);
    assert_eq!(Random::new(0).below(0), 0);
    assert_eq!(Mutator::new(&[], 1).input(), Mutator::new(&[], 1).input(), "nothing to begin with is no reason to panic");
}

const SEED: u64 = 2_026;
