//! The numbered lines of the SPIFFE conformance checklist: the standards at revision 665a28f3, and what relying parties ask.

mod bundles;
mod ids;
mod jwt;
mod wit;
mod x509;

/// The lines that are about servers and sockets.
const ELSEWHERE: &[(u8, &str)] = &[
    (21, "server: gRPC over a Unix socket"),
    (22, "server: the security header"),
    (23, "server: no client authentication"),
    (24, "server: status codes"),
    (25, "server: addresses and reflection"),
    (26, "server: profiles"),
    (27, "server: streams"),
    (28, "server: loss of identities"),
    (29, "server: FetchX509SVID"),
    (30, "server: hints and federated bundles"),
    (31, "server: bundles"),
    (32, "server: FetchJWTSVID"),
    (33, "server: ValidateJWTSVID"),
    (42, "server: the broker's authentication"),
    (43, "server: references"),
    (44, "server: verification of references"),
    (45, "server: the broker's service"),
];

#[test]
fn every_line_is_here_or_elsewhere() {
    let files = [
        include_str!("checklist/ids.rs"),
        include_str!("checklist/x509.rs"),
        include_str!("checklist/jwt.rs"),
        include_str!("checklist/wit.rs"),
        include_str!("checklist/bundles.rs"),
    ];
    let tests = files.iter().flat_map(|file| file.split("#[test]\nfn line_").skip(1));
    let mut here: Vec<u8> = tests.map(|name| name[..2].parse().unwrap()).collect();
    here.extend(ELSEWHERE.iter().map(|(line, _)| *line));
    here.sort_unstable();
    assert_eq!(here, (1..=47).collect::<Vec<u8>>());
}
