use super::*;
use crate::bundle::Bundle;
use crate::jwt::verify_jwt_svid;
use crate::x509::verify_x509_svid;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOUR: Ttl = Ttl::from_seconds(3600);

fn authority() -> Authority {
    Authority::generate(&"example.org".parse().unwrap(), NOW, HOUR).unwrap()
}

fn x509(authority: &Authority, id: &str, ttl: u64) -> Result<X509Svid> {
    authority.issue_x509(X509Request {
        id: &id.parse().unwrap(),
        dns: &["agent.example.org".to_owned()],
        ips: &["10.0.0.1".parse().unwrap()],
        ttl: Ttl::from_seconds(ttl),
        now: NOW,
        serial: [0xff; 16],
    })
}

#[test]
fn lifetimes_are_cushioned_and_capped() {
    let authority = authority();
    let short = x509(&authority, "spiffe://example.org/agent", 60).unwrap();
    assert_eq!(short.not_before.seconds(), NOW.seconds() - 10);
    assert_eq!(short.not_after.seconds(), NOW.seconds() + 60);
    let long = x509(&authority, "spiffe://example.org/agent", 86_400).unwrap();
    assert_eq!(long.not_after, authority.not_after());
    assert!(matches!(x509(&authority, "spiffe://example.org/agent", 0), Err(SvidError::Lifetime)));
}

#[test]
fn an_ended_authority_issues_nothing() {
    let authority = authority();
    let id = "spiffe://example.org/agent".parse().unwrap();
    let late = authority.not_after();
    let request = X509Request { id: &id, dns: &[], ips: &[], ttl: HOUR, now: late, serial: [1; 16] };
    assert!(matches!(authority.issue_x509(request), Err(SvidError::Lifetime)));
    let audience = ["a".to_owned()];
    let request = JwtSvidRequest { id: &id, audience: &audience, issuer: None, jti: "j", now: late, ttl: HOUR };
    assert!(matches!(authority.issue_jwt_svid(request), Err(SvidError::Lifetime)));
}

/// X509-SVID §2 and §5, JWT-SVID §3.
#[test]
fn refuses_subjects_that_are_not_its_workloads() {
    let authority = authority();
    assert!(matches!(x509(&authority, "spiffe://example.org", 60), Err(SvidError::NoPath(_))));
    assert!(matches!(x509(&authority, "spiffe://other.org/agent", 60), Err(SvidError::TrustDomain(_))));
    let id = "spiffe://example.org/agent".parse().unwrap();
    for audience in [vec![], vec![String::new()]] {
        let request = JwtSvidRequest { id: &id, audience: &audience, issuer: None, jti: "j", now: NOW, ttl: HOUR };
        assert!(matches!(authority.issue_jwt_svid(request), Err(SvidError::NoAudience)));
    }
}

#[test]
fn serials_are_positive_and_of_one_length() {
    let svid = x509(&authority(), "spiffe://example.org/agent", 60).unwrap();
    assert_eq!(svid.serial, format!("7f{}", "ff".repeat(15)));
}

#[test]
fn a_stored_authority_comes_back_and_its_issues_verify_either_way() {
    let before = authority();
    let json = serde_json::to_string(&before.to_stored()).unwrap();
    let after = Authority::from_stored(serde_json::from_str(&json).unwrap()).unwrap();
    assert_eq!(after.kid(), before.kid());
    assert_eq!(after.certificate(), before.certificate());
    assert_eq!(after.not_after(), before.not_after());
    let bundle = Bundle::of(&[&before], 1).unwrap();
    let svid = x509(&after, "spiffe://example.org/agent", 60).unwrap();
    let verified = verify_x509_svid(&[&svid.chain[0]], &bundle, NOW).unwrap();
    assert_eq!(verified.id, svid.id);
    let audience = ["aud".to_owned()];
    let request = JwtSvidRequest { id: &svid.id, audience: &audience, issuer: None, jti: "j", now: NOW, ttl: HOUR };
    let token = after.issue_jwt_svid(request).unwrap();
    assert_eq!(verify_jwt_svid(&token, &bundle, Some("aud"), NOW).unwrap().id, svid.id);
}

#[test]
fn a_damaged_store_is_refused() {
    let (one, two) = (authority().to_stored(), authority().to_stored());
    let swapped = StoredAuthority { x509_key: two.x509_key.clone(), ..one.clone() };
    assert!(matches!(Authority::from_stored(swapped), Err(SvidError::Stored(_))));
    let renamed = StoredAuthority { trust_domain: "other.org".parse().unwrap(), ..one.clone() };
    assert!(matches!(Authority::from_stored(renamed), Err(SvidError::Stored(_))));
    let longer = StoredAuthority { not_after: one.not_after.plus(HOUR), ..one.clone() };
    assert!(matches!(Authority::from_stored(longer), Err(SvidError::Stored(_))));
    let garbled = StoredAuthority { jwt_key: SecretText::new("AAAA".to_owned()), ..one };
    assert!(matches!(Authority::from_stored(garbled), Err(SvidError::Key)));
}

#[test]
fn debug_shows_no_key() {
    let authority = authority();
    let svid = x509(&authority, "spiffe://example.org/agent", 60).unwrap();
    let printed = format!("{authority:?} {authority:#?} {:?} {svid:?} {svid:#?}", authority.to_stored());
    let stored = authority.to_stored();
    let key = |text: &SecretText| STANDARD.decode(text.danger_expose()).unwrap();
    for key in [key(&stored.x509_key), key(&stored.jwt_key), svid.key_pkcs8.to_vec()] {
        for secret in [STANDARD.encode(key.as_slice()), hex::encode(key.as_slice()), format!("{:?}", key.as_slice())] {
            assert!(!printed.contains(&secret));
            assert!(!printed.contains(&secret[40..60]));
        }
    }
}

/// The private key is the one that the leaf certifies.
#[test]
fn the_key_belongs_to_the_certificate() {
    let svid = x509(&authority(), "spiffe://example.org/agent", 60).unwrap();
    let key = P256Key::from_pkcs8(svid.key_pkcs8.clone()).unwrap();
    let jwk = crate::jwk::Jwk::from_point(crate::keys::SigningBackend::public_point(&key)).unwrap();
    assert_eq!(crate::x509::public_jwk(&svid.chain[0]).unwrap(), jwk);
}
