//! A CA above ours: its key and chain come from outside, and relying parties trust its roots.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use marque_core::spiffe::TrustDomain;
use marque_core::time::{Timestamp, Ttl};
use rcgen::{CertificateParams, DistinguishedName, Issuer, KeyIdMethod, KeyPair, PublicKeyData, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;

use crate::bundle::Bundle;
use crate::ca::Above;
use crate::error::{Result, SvidError};
use crate::jwk::Curve;
use crate::keys::SigningBackend;
use crate::path::{self, SignatureScheme, check_signer_usage, is_issued_by, parse};
use crate::signer::{Signer, der_signature};
use crate::validity::Validity;
use crate::x509::verify_path;

/// A CA that signs the CA of our trust domain (X509-SVID §3.2). Its key may be RSA, P-256 or P-384.
///
/// What it signs is served with the certificates between it and its roots; the bundle holds the roots.
pub struct UpstreamCa {
    key: Key,
    certificate: Vec<u8>,
    above: Above,
    validity: Validity,
    /// Where its certificate is, for errors.
    file: Option<String>,
}

/// The private key of an upstream CA, on P-256 or P-384, that a device keeps.
///
/// Curve and point never change. Signing may be slow, and may fail: our CA is then not made, and asked for again later.
/// `Debug` must show no secret.
pub trait UpstreamKey: fmt::Debug + Send + Sync {
    /// The curve: P-256 or P-384.
    fn curve(&self) -> Curve;

    /// The public point, uncompressed: `04`, x, y (SEC 1 §2.3.3).
    fn point(&self) -> &[u8];

    /// ECDSA over `message`, with SHA-256 on P-256 and SHA-384 on P-384: r and s, each as long as a coordinate.
    fn sign_raw(&self, message: &[u8]) -> Result<Vec<u8>>;
}

impl<K: SigningBackend + ?Sized> UpstreamKey for K {
    fn curve(&self) -> Curve {
        Curve::P256
    }

    fn point(&self) -> &[u8] {
        self.public_point()
    }

    fn sign_raw(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(self.sign(message)?.to_vec())
    }
}

enum Key {
    Here(KeyPair),
    Elsewhere(Arc<dyn UpstreamKey>),
}

impl UpstreamCa {
    /// From PEM (RFC 7468): the CA's certificate and those above it, nearest first; its private key; and the roots, unless
    /// the last of the chain is the root.
    pub fn from_pem(chain: &str, key: &str, roots: Option<&str>) -> Result<Self> {
        let key = KeyPair::from_pem(key).map_err(|_| SvidError::Upstream("its private key cannot be read"))?;
        Self::new(chain, Key::Here(key), roots)
    }

    /// As [`UpstreamCa::from_pem`] for a key that a device keeps (RFC 7468).
    pub fn with_key(chain: &str, key: Arc<dyn UpstreamKey>, roots: Option<&str>) -> Result<Self> {
        if key.curve() == Curve::P521 {
            return Err(SvidError::Upstream("its key is neither on P-256 nor on P-384"));
        }
        Self::new(chain, Key::Elsewhere(key), roots)
    }

    fn new(chain: &str, key: Key, roots: Option<&str>) -> Result<Self> {
        let chain = certificates(chain)?;
        let certificate = chain.first().cloned().ok_or(SvidError::Upstream("it has no certificate"))?;
        if parse(&certificate)?.public_key().subject_public_key.data != key.public() {
            return Err(SvidError::Upstream("its certificate is of another key"));
        }
        let (own_roots, chain): (Vec<_>, Vec<_>) = chain.into_iter().partition(|der| is_root(der));
        let roots = roots.map_or(Ok(own_roots), certificates)?;
        let validity = validity(&chain, &roots)?;
        Ok(Self { key, certificate, above: Above { chain, roots }, validity, file: None })
    }

    /// The same CA, whose errors name the file with its certificate.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.display().to_string()), ..self }
    }

    pub(crate) fn above(&self) -> Above {
        self.above.clone()
    }

    /// The span of a CA made now below this one; an error where there is none.
    pub(crate) fn window(&self, now: Timestamp, ttl: Ttl) -> Result<Validity> {
        let Validity { not_before: from, not_after: until } = self.validity;
        self.validity.window(now, ttl).map_err(|_| SvidError::UpstreamTime { file: self.file.clone(), from, until })
    }

    /// A certificate for `key` under this CA.
    pub(crate) fn sign(&self, mut params: CertificateParams, key: &impl PublicKeyData) -> Result<Vec<u8>> {
        let certificate = parse(&self.certificate)?;
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = DistinguishedName::new();
        match key_identifier(&certificate) {
            Some(identifier) => issuer.key_identifier_method = KeyIdMethod::PreSpecified(identifier.to_vec()),
            None => params.use_authority_key_identifier_extension = false,
        }
        let nameless = match &self.key {
            Key::Here(pair) => params.signed_by(key, &Issuer::new(issuer, pair))?,
            Key::Elsewhere(device) => {
                let signer = Signer::new(&**device);
                params.signed_by(key, &Issuer::new(issuer, &signer)).map_err(|error| signer.cause(error))?
            }
        };
        self.named(nameless.der(), certificate.subject().as_raw())
    }

    /// The same certificate with this CA's name as its issuer, byte for byte as in the CA's own certificate. The library
    /// that builds certificates knows no name with two attributes of one kind, such as `DC=example, DC=org`.
    fn named(&self, der: &[u8], issuer: &[u8]) -> Result<Vec<u8>> {
        const OTHER: SvidError = SvidError::Upstream("its key is of a kind that is not known here");
        let nameless = parse(der)?;
        let algorithm = SignatureScheme::of(&nameless).ok_or(OTHER)?.encoding;
        let signed = nameless.tbs_certificate.as_ref();
        let empty = nameless.issuer().as_raw();
        let at = empty.as_ptr().addr().saturating_sub(signed.as_ptr().addr());
        let (Some(before), Some(behind)) = (signed.get(header(signed)..at), signed.get(at + empty.len()..)) else {
            return Err(OTHER);
        };
        let signed = sequence(&[before, issuer, behind]);
        let signature = self.key.sign(&signed)?;
        let bits = [&[0], signature.as_slice()].concat();
        Ok(sequence(&[&signed, algorithm, &[&[0x03], length(bits.len()).as_slice(), &bits].concat()]))
    }

    /// Refuses a CA certificate that relying parties would refuse: a path length, a name, an algorithm (X509-SVID §5.1).
    pub(crate) fn check(&self, certificate: &[u8], trust_domain: &TrustDomain, now: Timestamp) -> Result<()> {
        let mut bundle = Bundle::empty(trust_domain.clone(), 0);
        bundle.x509_authorities.clone_from(&self.above.roots);
        let chain: Vec<&[u8]> = self.above.chain.iter().map(Vec::as_slice).collect();
        verify_path(&parse(certificate)?, &chain, &bundle, 1, now)
            .map_err(|_| SvidError::Upstream("what it signs does not lead to its roots"))
    }
}

impl Key {
    fn public(&self) -> &[u8] {
        match self {
            Self::Here(pair) => pair.public_key_raw(),
            Self::Elsewhere(device) => device.point(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Here(pair) => Ok(SigningKey::sign(pair, message)?),
            Self::Elsewhere(device) => Ok(der_signature(&device.sign_raw(message)?)),
        }
    }
}

impl fmt::Debug for UpstreamCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamCa").field("not_after", &self.validity.not_after).finish_non_exhaustive()
    }
}

/// The certificates of a PEM text, DER; what else stands in it is passed over (RFC 7468 §2).
pub(crate) fn certificates(pem: &str) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|_| SvidError::Upstream("its certificates are not PEM"))?;
        if block.label == "CERTIFICATE" {
            check_signer_usage(&parse(&block.contents)?)?;
            found.push(block.contents);
        }
    }
    Ok(found)
}

fn is_root(der: &[u8]) -> bool {
    parse(der).is_ok_and(|certificate| is_issued_by(&certificate, &certificate))
}

/// While all that stands above is valid, and one of the roots.
fn validity(chain: &[Vec<u8>], roots: &[Vec<u8>]) -> Result<Validity> {
    let spans = |ders: &[Vec<u8>]| ders.iter().map(|der| parse(der).map(|c| path::validity(&c))).collect::<Result<Vec<_>>>();
    let mut validity = spans(roots)?
        .into_iter()
        .reduce(|one, other| Validity {
            not_before: one.not_before.min(other.not_before),
            not_after: one.not_after.max(other.not_after),
        })
        .ok_or(SvidError::Upstream("it has no root"))?;
    for span in spans(chain)? {
        validity.not_before = validity.not_before.max(span.not_before);
        validity.not_after = validity.not_after.min(span.not_after);
    }
    Ok(validity)
}

fn key_identifier<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0),
        _ => None,
    })
}

/// How long tag and length of a DER value are (X.690 §8.1.3).
fn header(der: &[u8]) -> usize {
    match der.get(1) {
        Some(long) if *long > 0x80 => 2 + usize::from(*long & 0x7f),
        _ => 2,
    }
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[0x30], length(content.len()).as_slice(), &content].concat()
}

/// A length in DER (X.690 §10.1).
fn length(length: usize) -> Vec<u8> {
    let octets = length.to_be_bytes();
    let digits = octets.iter().position(|octet| *octet != 0).and_then(|start| octets.get(start..)).unwrap_or(&[0]);
    match digits {
        [short] if *short < 0x80 => vec![*short],
        _ => [&[0x80 | u8::try_from(digits.len()).unwrap_or(0x7f)], digits].concat(),
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
