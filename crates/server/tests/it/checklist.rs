//! Lines 21 to 33 of the SPIFFE conformance checklist, at the server's own surfaces: SPIFFE Workload Endpoint and SPIFFE
//! Workload API at revision 665a28f3.

mod endpoint;
mod streams;
mod svids;
mod validation;

use std::collections::{BTreeSet, HashMap};

use marque_engine::RotationPolicy;
use marque_engine::desired::IdentitySpec;
use marque_server::pb::workload::{JwtBundlesRequest, JwtsvidResponse, X509BundlesRequest, X509svidRequest};
use marque_svid::{AuthoritySet, Rotation, SoftwareKeys};
use prost::Message;

use crate::grpc::{HEADER, Socket};
use crate::workload::{AUDIENCE, jwt_for, validate};
use crate::world::{ME, World, me};

/// The methods of the two mandatory profiles.
const METHODS: [&str; 5] = ["FetchX509SVID", "FetchX509Bundles", "FetchJWTSVID", "FetchJWTBundles", "ValidateJWTSVID"];
/// The metadata of a good call.
const GOOD: &[(&str, &str)] = &[(HEADER, "true")];
/// The key of this trust domain's bundle, and of another's.
const OWN: &str = "spiffe://example.org";
const FOREIGN: &str = "spiffe://other.example";
/// What this very process may be besides [`ME`]; it comes after it.
const OTHER: &str = "agent/other";

/// The files whose tests name lines, here and in `marque-svid`.
const FILES: [&str; 10] = [
    include_str!("broker.rs"),
    include_str!("checklist/endpoint.rs"),
    include_str!("checklist/streams.rs"),
    include_str!("checklist/svids.rs"),
    include_str!("checklist/validation.rs"),
    include_str!("../../../svid/tests/it/checklist/ids.rs"),
    include_str!("../../../svid/tests/it/checklist/x509.rs"),
    include_str!("../../../svid/tests/it/checklist/jwt.rs"),
    include_str!("../../../svid/tests/it/checklist/wit.rs"),
    include_str!("../../../svid/tests/it/checklist/bundles.rs"),
];

#[test]
fn every_line_is_named_by_a_test() {
    let named: BTreeSet<u8> = FILES.into_iter().flat_map(named_in).collect();
    assert_eq!(named, (1..=47).collect());
}

/// The lines that the tests of a file name.
fn named_in(file: &str) -> Vec<u8> {
    let lines: Vec<&str> = file.lines().collect();
    let tests = lines.windows(2).filter(|pair| matches!(pair[0], "#[test]" | "#[tokio::test]"));
    let line = |pair: &[&str]| pair[1].trim_start_matches("async ").strip_prefix("fn line_")?.get(..2)?.parse::<u8>().ok();
    tests.filter_map(line).collect()
}

/// A world in which this process is two identities, which hints tell apart.
async fn twofold() -> World {
    let world = World::start().await;
    for (name, hint) in [(ME, "inside"), (OTHER, "outside")] {
        world.register(IdentitySpec { hint: Some(hint.into()), ..me(name) }).await.unwrap();
    }
    world
}

/// Another trust domain, with keys of all kinds, whose bundle is known here from now on.
fn federate(world: &World, name: &str) -> AuthoritySet {
    let policy = RotationPolicy { wit: true, ..RotationPolicy::default() };
    let rotation = Rotation { now: world.engine.now(), policy: &policy, keys: &SoftwareKeys, upstream: None };
    let set = AuthoritySet::new(&name.parse().unwrap(), &rotation).unwrap();
    world.engine.offer_bundle(set.bundle().clone()).unwrap();
    set
}

/// A JWT-SVID of this process.
async fn token(socket: &Socket) -> String {
    let response: JwtsvidResponse = socket.ask("FetchJWTSVID", &jwt_for(&[AUDIENCE])).await.unwrap();
    response.svids[0].svid.clone()
}

/// The status of every method with this metadata, nothing for an answer. Every request is a good one if the token is.
async fn statuses(socket: &Socket, token: &str, metadata: &[(&str, &str)]) -> [Option<u16>; 5] {
    [
        refused(socket, METHODS[0], &X509svidRequest {}, metadata).await,
        refused(socket, METHODS[1], &X509BundlesRequest {}, metadata).await,
        refused(socket, METHODS[2], &jwt_for(&[AUDIENCE]), metadata).await,
        refused(socket, METHODS[3], &JwtBundlesRequest {}, metadata).await,
        refused(socket, METHODS[4], &validate(AUDIENCE, token), metadata).await,
    ]
}

async fn refused(socket: &Socket, method: &str, message: &impl Message, metadata: &[(&str, &str)]) -> Option<u16> {
    socket.send(&format!("/SpiffeWorkloadAPI/{method}"), message, metadata).await.refusal().await
}

fn keys(bundles: &HashMap<String, Vec<u8>>) -> BTreeSet<&str> {
    bundles.keys().map(String::as_str).collect()
}

/// The DER values that stand one behind the other (X.690 §8.1); PEM is none.
fn elements(mut der: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !der.is_empty() {
        assert_eq!(der[0], 0x30, "a SEQUENCE");
        let digits = usize::from(der[1] & 0x7f);
        let (head, length) = match der[1] {
            short if short < 0x80 => (2, digits),
            _ => (2 + digits, der[2..2 + digits].iter().fold(0, |length, byte| (length << 8) | usize::from(*byte))),
        };
        let (one, rest) = der.split_at(head + length);
        found.push(one);
        der = rest;
    }
    found
}
