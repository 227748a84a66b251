//! A key that signs certificates, and the X.509-SVIDs that it issues.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::{Timestamp, Ttl};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Result, SvidError, shown};
use crate::keys::{P256Key, SigningBackend};
use crate::signer::{Signer, key_digest};
use crate::upstream::UpstreamCa;
use crate::validity::{Validity, check_workload, date};
use crate::x509::{AuthorityFacts, thumbprint};

/// The name of an authority's key: of a CA, the start of its key's digest in hexadecimal, as in its subject; of a token
/// key, its `kid` (JWT-SVID §2.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuthorityId(String);

impl AuthorityId {
    pub(crate) fn new(name: String) -> Self {
        Self(name)
    }

    /// The name as written (JWT-SVID §2.2).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for AuthorityId {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// A CA of the trust domain (X509-SVID §3.2): self-signed, or signed by an upstream CA.
#[derive(Debug)]
pub(crate) struct CertificateAuthority {
    pub(crate) id: AuthorityId,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) key: Arc<dyn SigningBackend>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) above: Above,
    pub(crate) validity: Validity,
    name: DistinguishedName,
}

/// What stands above a CA; empty when it signed itself (X509-SVID §3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Above {
    /// The certificates between the CA and the roots, DER, nearest first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// What relying parties trust, DER.
    pub(crate) roots: Vec<Vec<u8>>,
}

impl CertificateAuthority {
    /// A self-signed CA (X509-SVID §3.2).
    pub(crate) fn self_signed(
        trust_domain: &TrustDomain,
        key: Arc<dyn SigningBackend>,
        now: Timestamp,
        ttl: Ttl,
    ) -> Result<Self> {
        let signer = Signer::new(&*key);
        let params = ca_params(trust_domain, &*key, Validity::starting(now, ttl))?;
        let certificate = params.self_signed(&signer).map_err(|error| signer.cause(error))?.der().to_vec();
        Self::assemble(trust_domain.clone(), key, certificate, Above::default())
    }

    /// A CA that `upstream` signed; it ends no later than what stands above it (RFC 5280 §6.1).
    pub(crate) fn below(
        upstream: &UpstreamCa,
        trust_domain: &TrustDomain,
        key: Arc<dyn SigningBackend>,
        now: Timestamp,
        ttl: Ttl,
    ) -> Result<Self> {
        let validity = upstream.window(now, ttl)?;
        let certificate = upstream.sign(ca_params(trust_domain, &*key, validity)?, &Signer::new(&*key))?;
        upstream.check(&certificate, trust_domain, now)?;
        Self::assemble(trust_domain.clone(), key, certificate, upstream.above())
    }

    /// The CA of a certificate and its key; refused when they do not belong together.
    pub(crate) fn assemble(
        trust_domain: TrustDomain,
        key: Arc<dyn SigningBackend>,
        certificate: Vec<u8>,
        above: Above,
    ) -> Result<Self> {
        let facts = AuthorityFacts::read(&certificate)?;
        if facts.id != trust_domain.id() {
            return Err(SvidError::Stored("the certificate is of another trust domain"));
        }
        if facts.public_key != key.public_point() {
            return Err(SvidError::Stored("the certificate is of another key"));
        }
        Ok(Self {
            id: ca_id(&*key),
            name: name(&facts.organization, &facts.common_name),
            validity: facts.validity,
            trust_domain,
            key,
            certificate,
            above,
        })
    }

    /// The certificates that relying parties must trust (X509-SVID §6).
    pub(crate) fn roots(&self) -> Vec<&[u8]> {
        match self.above.roots.as_slice() {
            [] => vec![&self.certificate],
            roots => roots.iter().map(Vec::as_slice).collect(),
        }
    }

    /// Issues an X.509-SVID for a fresh key that lives at most `longest` (X509-SVID §3.1, §4).
    pub(crate) fn issue(&self, request: X509Request<'_>, longest: Option<Ttl>) -> Result<X509Svid> {
        let X509Request { id, dns, ips, ttl, now, mut serial } = request;
        check_workload(id, &self.trust_domain)?;
        let validity = self.validity.window(now, longest.map_or(ttl, |longest| longest.min(ttl)))?;
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        let key = P256Key::generate()?;
        let leaf = self.leaf(leaf_params(id, dns, ips, validity, &serial)?, &Signer::new(&key))?;
        let mut chain = vec![leaf];
        if !self.above.roots.is_empty() {
            chain.push(self.certificate.clone());
            chain.extend(self.above.chain.iter().cloned());
        }
        Ok(X509Svid {
            id: id.clone(),
            thumbprint: chain.first().map(|leaf| thumbprint(leaf)).unwrap_or_default(),
            chain,
            key_pkcs8: key.into_pkcs8(),
            serial: hex::encode(serial),
            not_before: validity.not_before,
            not_after: validity.not_after,
            authority: self.id.clone(),
        })
    }

    /// A certificate for `key`, signed by this CA (RFC 5280 §4.1).
    fn leaf(&self, params: CertificateParams, key: &impl PublicKeyData) -> Result<Vec<u8>> {
        let issuer = self.issuer();
        Ok(params.signed_by(key, &issuer).map_err(|error| issuer.key().cause(error))?.der().to_vec())
    }

    /// This CA as rcgen knows it; its key identifier is derived here as it was in its own certificate.
    pub(crate) fn issuer(&self) -> Issuer<'_, Signer<'_, dyn SigningBackend>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.name.clone();
        Issuer::new(params, Signer::new(&*self.key))
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
    /// Which CA signed it (X509-SVID §3.2): when that one is tainted, this is to be issued again.
    pub authority: AuthorityId,
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

fn ca_params(trust_domain: &TrustDomain, key: &dyn SigningBackend, validity: Validity) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    params.distinguished_name = name(ORGANIZATION, &format!("Marque CA {}", ca_id(key)));
    params.subject_alt_names = vec![SanType::URI(trust_domain.id().to_string().try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn leaf_params(id: &SpiffeId, dns: &[String], ips: &[IpAddr], validity: Validity, serial: &[u8]) -> Result<CertificateParams> {
    let mut names = vec![SanType::URI(id.to_string().try_into()?)];
    for host in dns {
        names.push(SanType::DnsName(dns_name(host)?.try_into()?));
    }
    names.extend(ips.iter().copied().map(SanType::IpAddress));
    let mut params = CertificateParams::default();
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn ca_id(key: &dyn SigningBackend) -> AuthorityId {
    let mut digest = hex::encode(key_digest(key));
    digest.truncate(16);
    AuthorityId(digest)
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

const ORGANIZATION: &str = "Marque";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_dns_name() {
        for bad in ["", "a..b", "a b", "a/b", "ä.example", "*", "a.*.b", "a:1"] {
            assert!(dns_name(bad).is_err(), "{bad}");
        }
        for good in ["a", "a.example.org", "*.example.org", "a_b-1"] {
            assert!(dns_name(good).is_ok(), "{good}");
        }
    }

    /// A device whose key cannot be used says so, and nothing is issued.
    #[test]
    fn the_failure_of_a_backend_is_told() {
        #[derive(Debug)]
        struct Broken(P256Key);
        impl SigningBackend for Broken {
            fn public_point(&self) -> &[u8] {
                self.0.public_point()
            }
            fn sign(&self, _: &[u8]) -> Result<[u8; 64]> {
                Err(SvidError::Backend("the session is closed".into()))
            }
            fn stored(&self) -> crate::keys::StoredKey {
                self.0.stored()
            }
        }
        let key = Arc::new(Broken(P256Key::generate().unwrap()));
        let now = Timestamp::from_seconds(1_800_000_000);
        let made = CertificateAuthority::self_signed(&"example.org".parse().unwrap(), key, now, Ttl::from_seconds(60));
        assert!(matches!(made, Err(SvidError::Backend(cause)) if cause.to_string() == "the session is closed"));
    }
}
