//! The trust domain's signing keys, and what they issue.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::{Timestamp, Ttl};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    SanType, SerialNumber,
};
use serde::Serialize;
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

use crate::bundle::{Jwk, JwtKey};
use crate::error::{Result, SvidError, shown};
use crate::keys::P256Key;
use crate::stored::{SecretText, StoredAuthority};
use crate::x509::{AuthorityFacts, thumbprint};

/// The authority of a trust domain: a self-signed CA (X509-SVID §3.2) and a key that signs tokens (JWT-SVID §2).
///
/// A trust domain may have several at a time, one prepared, one active, some retired; a [`crate::Bundle`] holds the
/// public keys of them all.
pub struct Authority {
    trust_domain: TrustDomain,
    ca: P256Key,
    ca_name: DistinguishedName,
    certificate: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    jwt: P256Key,
    jwk: Jwk,
    kid: String,
    pub(crate) jwt_signing: EncodingKey,
}

impl Authority {
    /// A new authority for `trust_domain`, valid from shortly before `now` until `ca_ttl` after it (X509-SVID §3.2).
    pub fn generate(trust_domain: &TrustDomain, now: Timestamp, ca_ttl: Ttl) -> Result<Self> {
        let ca = P256Key::generate()?;
        let key_digest = hex::encode(ca.digest());
        let mut params = CertificateParams::default();
        params.not_before = date(before(now))?.to_datetime();
        params.not_after = date(now.plus(ca_ttl))?.to_datetime();
        params.distinguished_name = name(ORGANIZATION, &format!("Marque CA {}", key_digest.get(..16).unwrap_or_default()));
        params.subject_alt_names = vec![SanType::URI(trust_domain.id().to_string().try_into()?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.self_signed(&ca)?.der().to_vec();
        Self::assemble(trust_domain.clone(), ca, P256Key::generate()?, certificate)
    }

    /// The authority as it was stored (X509-SVID §3.2); refused when its parts do not belong together.
    pub fn from_stored(stored: StoredAuthority) -> Result<Self> {
        let StoredAuthority { trust_domain, certificate, x509_key, jwt_key, not_after } = stored;
        let certificate = STANDARD.decode(certificate).map_err(|_| SvidError::Stored("the certificate is not base64"))?;
        let authority = Self::assemble(trust_domain, private_key(&x509_key)?, private_key(&jwt_key)?, certificate)?;
        if authority.not_after != not_after {
            return Err(SvidError::Stored("the end is not that of the certificate"));
        }
        Ok(authority)
    }

    fn assemble(trust_domain: TrustDomain, ca: P256Key, jwt: P256Key, certificate: Vec<u8>) -> Result<Self> {
        let facts = AuthorityFacts::read(&certificate)?;
        if facts.id != trust_domain.id() {
            return Err(SvidError::Stored("the certificate is of another trust domain"));
        }
        if facts.public_key != ca.public() {
            return Err(SvidError::Stored("the certificate is of another key"));
        }
        Ok(Self {
            ca_name: name(&facts.organization, &facts.common_name),
            not_before: facts.not_before,
            not_after: facts.not_after,
            jwk: jwt.jwk()?,
            kid: jwt.kid(),
            jwt_signing: EncodingKey::from_ec_der(jwt.pkcs8().as_slice()),
            trust_domain,
            ca,
            certificate,
            jwt,
        })
    }

    /// The authority in a form to keep (X509-SVID §3.2).
    pub fn to_stored(&self) -> StoredAuthority {
        let text = |key: &P256Key| SecretText::new(STANDARD.encode(key.pkcs8().as_slice()));
        StoredAuthority {
            trust_domain: self.trust_domain.clone(),
            certificate: STANDARD.encode(&self.certificate),
            x509_key: text(&self.ca),
            jwt_key: text(&self.jwt),
            not_after: self.not_after,
        }
    }

    /// The trust domain (SPIFFE-ID §3.1).
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The CA certificate, DER (X509-SVID §3.2).
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The name of the key that signs tokens (JWT-SVID §2.2).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key that checks tokens (JWT-SVID §6).
    pub fn jwt_key(&self) -> JwtKey {
        JwtKey { kid: self.kid.clone(), jwk: self.jwk.clone() }
    }

    /// When the authority begins (RFC 5280 §4.1.2.5).
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the authority ends, and with it all that it issued (RFC 5280 §4.1.2.5).
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Issues an X.509-SVID for a fresh key (X509-SVID §3.1, §4).
    pub fn issue_x509(&self, request: X509Request<'_>) -> Result<X509Svid> {
        let X509Request { id, dns, ips, ttl, now, mut serial } = request;
        self.check_workload(id)?;
        let (not_before, not_after) = self.window(now, ttl)?;
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        let mut names = vec![SanType::URI(id.to_string().try_into()?)];
        for host in dns {
            names.push(SanType::DnsName(dns_name(host)?.try_into()?));
        }
        names.extend(ips.iter().copied().map(SanType::IpAddress));

        let key = P256Key::generate()?;
        let mut params = CertificateParams::default();
        params.not_before = date(not_before)?.to_datetime();
        params.not_after = date(not_after)?.to_datetime();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer())?.der().to_vec();
        Ok(X509Svid {
            id: id.clone(),
            thumbprint: thumbprint(&leaf),
            chain: vec![leaf],
            key_pkcs8: key.into_pkcs8(),
            serial: hex::encode(serial),
            not_before,
            not_after,
        })
    }

    /// Issues a JWT-SVID (JWT-SVID §2, §3); it ends no later than the authority.
    pub fn issue_jwt_svid(&self, request: JwtSvidRequest<'_>) -> Result<String> {
        let JwtSvidRequest { id, audience, issuer, jti, now, ttl } = request;
        self.check_workload(id)?;
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Err(SvidError::NoAudience);
        }
        let (not_before, not_after) = self.window(now, ttl)?;
        let claims = JwtSvidClaims {
            iss: issuer,
            sub: id,
            aud: audience,
            exp: not_after.seconds(),
            iat: now.seconds(),
            nbf: not_before.seconds(),
            jti,
        };
        self.sign(JWT_TYP, &claims)
    }

    /// Signs `claims` as a token of the class `typ`, such as `at+jwt` (RFC 7515 §3.1, RFC 9068 §2.1).
    ///
    /// The header holds exactly `alg`, `kid` and `typ`. What the claims may say, and until when, is the caller's to decide.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.jwt_signing).map_err(SvidError::Sign)
    }

    /// This authority as rcgen knows it: its name, its key, and how its key identifier is derived (RFC 5280 §4.2.1.1).
    pub(crate) fn issuer(&self) -> Issuer<'_, &P256Key> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.ca_name.clone();
        Issuer::new(params, &self.ca)
    }

    fn check_workload(&self, id: &SpiffeId) -> Result<()> {
        if *id.trust_domain() != self.trust_domain {
            return Err(SvidError::TrustDomain(id.to_string()));
        }
        if id.path().is_empty() {
            return Err(SvidError::NoPath(id.to_string()));
        }
        Ok(())
    }

    /// From when until when a credential issued now is valid, in whole seconds; never outside the authority's own validity.
    fn window(&self, now: Timestamp, ttl: Ttl) -> Result<(Timestamp, Timestamp)> {
        let not_before = before(now).max(self.not_before);
        let not_after = Timestamp::from_seconds(now.plus(ttl).seconds()).min(self.not_after);
        if now < self.not_before || not_after <= now {
            return Err(SvidError::Lifetime);
        }
        Ok((not_before, not_after))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("kid", &self.kid)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What an X.509-SVID is asked to say (X509-SVID §2, §4).
#[derive(Clone, Copy, Debug)]
pub struct X509Request<'a> {
    /// Whom it names; with a path (X509-SVID §2).
    pub id: &'a SpiffeId,
    /// DNS names to add (RFC 5280 §4.2.1.6).
    pub dns: &'a [String],
    /// IP addresses to add (RFC 5280 §4.2.1.6).
    pub ips: &'a [IpAddr],
    /// How long it lives at most; it ends with the authority in any case (RFC 5280 §4.1.2.5).
    pub ttl: Ttl,
    /// The moment of issue (RFC 5280 §4.1.2.5).
    pub now: Timestamp,
    /// Random octets for the serial number (RFC 5280 §4.1.2.2); the two top bits are set to `01`, so that it is positive
    /// and always 16 octets long.
    pub serial: [u8; 16],
}

/// An X.509-SVID with its private key (X509-SVID §2, Workload API §5.2.1).
#[derive(Clone)]
pub struct X509Svid {
    /// Whom it names (X509-SVID §2).
    pub id: SpiffeId,
    /// The certificates, DER, leaf first, without the self-signed root (Workload API §5.2.1).
    pub chain: Vec<Vec<u8>>,
    /// The private key (RFC 5208).
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    /// The serial number, in hexadecimal (RFC 5280 §4.1.2.2).
    pub serial: String,
    /// When it begins (RFC 5280 §4.1.2.5).
    pub not_before: Timestamp,
    /// When it ends (RFC 5280 §4.1.2.5).
    pub not_after: Timestamp,
    /// SHA-256 of the leaf (RFC 8705 §3.1).
    pub thumbprint: [u8; 32],
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What a JWT-SVID is asked to say (JWT-SVID §3).
#[derive(Clone, Copy, Debug)]
pub struct JwtSvidRequest<'a> {
    /// Whom it names; with a path (JWT-SVID §3.1).
    pub id: &'a SpiffeId,
    /// For whom it is meant; at least one (JWT-SVID §3.2).
    pub audience: &'a [String],
    /// The issuer, for relying parties that discover keys by OpenID Connect (RFC 7519 §4.1.1).
    pub issuer: Option<&'a str>,
    /// The unique name of the token: the lease (RFC 7519 §4.1.7).
    pub jti: &'a str,
    /// The moment of issue (RFC 7519 §4.1.6).
    pub now: Timestamp,
    /// How long it lives at most (JWT-SVID §3.3).
    pub ttl: Ttl,
}

#[derive(Serialize)]
struct JwtSvidClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    sub: &'a SpiffeId,
    aud: &'a [String],
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: &'a str,
}

fn private_key(text: &SecretText) -> Result<P256Key> {
    let pkcs8 = STANDARD.decode(text.danger_expose()).map_err(|_| SvidError::Stored("a key is not base64"))?;
    P256Key::from_pkcs8(Zeroizing::new(pkcs8))
}

fn name(organization: &str, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    name.push(DnType::CommonName, common_name);
    name
}

fn dns_name(text: &str) -> Result<&str> {
    let good = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let host = text.strip_prefix("*.").unwrap_or(text);
    if text.len() > 253 || !host.split('.').all(good) {
        return Err(SvidError::DnsName(shown(text)));
    }
    Ok(text)
}

/// A moment that a certificate can express (RFC 5280 §4.1.2.5), as the type that rcgen takes.
fn date(time: Timestamp) -> Result<ASN1Time> {
    let seconds = time.seconds();
    if !(0..=END_OF_YEAR_9999).contains(&seconds) {
        return Err(SvidError::Lifetime);
    }
    ASN1Time::from_timestamp(seconds).map_err(|_| SvidError::Lifetime)
}

fn before(now: Timestamp) -> Timestamp {
    Timestamp::from_seconds(now.seconds().saturating_sub(CUSHION_SECONDS))
}

const ORGANIZATION: &str = "Marque";
const JWT_TYP: &str = "JWT";
/// For relying parties whose clock is a little behind.
const CUSHION_SECONDS: i64 = 10;
const END_OF_YEAR_9999: i64 = 253_402_300_799;

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
