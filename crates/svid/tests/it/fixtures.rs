//! Authorities and forgeries that the tests share.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::spiffe::SpiffeId;
use marque_core::time::{Timestamp, Ttl};
use marque_svid::{
    AuthoritySet, Bundle, Curve, Jwk, JwtKey, JwtSvidRequest, P256Key, Rotation, RotationPolicy, SigningBackend, SoftwareKeys,
    X509Request, X509Svid,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::{Value, json};

pub const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
pub const HOUR: Ttl = Ttl::from_seconds(3600);
pub const AGENT: &str = "spiffe://example.org/agent";

/// A trust domain with keys of all kinds.
pub fn set(trust_domain: &str) -> AuthoritySet {
    let policy = RotationPolicy { wit: true, ..RotationPolicy::default() };
    let rotation = Rotation { now: NOW, policy: &policy, keys: &SoftwareKeys, upstream: None };
    AuthoritySet::new(&trust_domain.parse().unwrap(), &rotation).unwrap()
}

pub fn x509(set: &AuthoritySet, id: &SpiffeId) -> X509Svid {
    let dns = ["agent.example.org".to_owned()];
    set.issue_x509(X509Request { id, dns: &dns, ips: &[], ttl: HOUR, now: NOW, serial: [7; 16] }).unwrap()
}

pub fn jwt(set: &AuthoritySet, id: &SpiffeId) -> String {
    let audience = ["db".to_owned()];
    let issuer = Some("https://marque.example.org");
    set.issue_jwt_svid(JwtSvidRequest { id, audience: &audience, issuer, jti: "lease-1", now: NOW, ttl: HOUR }).unwrap()
}

pub fn agent() -> SpiffeId {
    AGENT.parse().unwrap()
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The header (0) or the claims (1) of a token.
pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A token key of which the tests may sign anything.
pub struct Forge {
    key: P256Key,
    pub bundle: Bundle,
}

impl Forge {
    pub fn new() -> Self {
        let key = P256Key::generate().unwrap();
        let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
        let public = JwtKey { kid: "forge".into(), jwk: jwk(&key) };
        bundle.jwt_keys.push(public.clone());
        bundle.wit_keys.push(public);
        Self { key, bundle }
    }

    pub fn header(typ: &str) -> Value {
        json!({ "alg": "ES256", "kid": "forge", "typ": typ })
    }

    pub fn claims() -> Value {
        json!({ "sub": AGENT, "aud": ["db"], "exp": NOW.seconds() + 60 })
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

pub fn jwk(key: &P256Key) -> Jwk {
    let (x, y) = key.public_point()[1..].split_at(32);
    Jwk::Ec { crv: Curve::P256, x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) }
}

/// A CA that another library made and that signs whatever the tests ask for.
pub struct Rogue {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub bundle: Bundle,
}

impl Rogue {
    pub fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(&["spiffe://example.org"]);
        params.distinguished_name.push(DnType::CommonName, "CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        change(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut bundle = Bundle::empty("example.org".parse().unwrap(), 1);
        bundle.x509_authorities.push(issuer.der().to_vec());
        Self { issuer, bundle }
    }

    pub fn params(uris: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params
    }

    pub fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = Self::params(&[AGENT]);
        change(&mut params);
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
    }

    /// Whether such a leaf is accepted.
    pub fn accepts(&self, change: impl FnOnce(&mut CertificateParams)) -> bool {
        marque_svid::verify_x509_svid(&[&self.leaf(change)], &self.bundle, NOW).is_ok()
    }
}
