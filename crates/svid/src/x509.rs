//! Verification of X.509-SVIDs (X509-SVID §5): RFC 5280 paths, and the rules that SPIFFE adds.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::Timestamp;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::bundle::Bundle;
use crate::error::{Result, SvidError};
use crate::jwk::{Curve, Jwk};
use crate::path::{self, check_signer_usage, check_validity, parse, spki_digest};
use crate::validity::Validity;

/// What a verified X.509-SVID says (X509-SVID §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedX509Svid {
    /// Whom it names (X509-SVID §2).
    pub id: SpiffeId,
    /// SHA-256 of the leaf, to which tokens are bound (RFC 8705 §3.1).
    pub thumbprint: [u8; 32],
    /// The serial number, in hexadecimal (RFC 5280 §4.1.2.2).
    pub serial: String,
    /// When it ends (RFC 5280 §4.1.2.5).
    pub not_after: Timestamp,
}

/// Verifies `chain`, DER and leaf first, against the bundle of its own trust domain (X509-SVID §5, RFC 5280 §6).
///
/// Each certificate must be issued by the next, with at most four between the leaf and the authority.
pub fn verify_x509_svid(chain: &[&[u8]], bundle: &Bundle, now: Timestamp) -> Result<VerifiedX509Svid> {
    let (leaf_der, intermediates) = chain.split_first().ok_or(SvidError::Certificate("there is none"))?;
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(SvidError::Certificate("the chain is too long"));
    }
    let leaf = parse(leaf_der)?;
    check_leaf_usage(&leaf)?;
    let id = leaf_id(&leaf)?;
    if *id.trust_domain() != bundle.trust_domain {
        return Err(SvidError::TrustDomain(id.to_string()));
    }
    check_validity(&leaf, now)?;
    let verified = VerifiedX509Svid {
        id,
        thumbprint: thumbprint(leaf_der),
        serial: hex::encode(leaf.serial.to_bytes_be()),
        not_after: path::validity(&leaf).not_after,
    };
    verify_path(&leaf, intermediates, bundle, 0, now)?;
    Ok(verified)
}

/// The identifier that a leaf claims, of which nothing may be believed yet.
pub(crate) fn unverified_id(leaf: &[u8]) -> Result<SpiffeId> {
    leaf_id(&parse(leaf)?)
}

/// SHA-256 of a certificate (RFC 8705 §3.1).
pub fn thumbprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// A thumbprint as the `x5t#S256` confirmation method spells it (RFC 8705 §3.1).
pub fn thumbprint_b64url(thumbprint: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(thumbprint)
}

/// The public key of a certificate as a JWK (X509-SVID §6).
pub(crate) fn public_jwk(der: &[u8]) -> Result<Jwk> {
    let certificate = parse(der)?;
    let key = certificate.public_key();
    let jwk = match key.parsed() {
        Ok(PublicKey::EC(point)) => {
            let named = curve(key);
            Jwk::from_point(point.data()).filter(|jwk| matches!(jwk, Jwk::Ec { crv, .. } if Some(*crv) == named))
        }
        Ok(PublicKey::RSA(key)) => Some(Jwk::from_rsa(key.modulus, key.exponent)),
        _ => None,
    };
    jwk.ok_or(SvidError::Certificate("its key is of an unknown kind"))
}

/// The curve that a key names, if it is one of those that JWKs here have (RFC 5480 §2.1.1.1). The length of a point does not
/// tell: those of secp256k1 are as long as those of P-256.
fn curve(key: &SubjectPublicKeyInfo<'_>) -> Option<Curve> {
    let named = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let known = [(OID_EC_P256, Curve::P256), (OID_NIST_EC_P384, Curve::P384), (OID_NIST_EC_P521, Curve::P521)];
    known.into_iter().find(|(oid, _)| *oid == named).map(|(_, curve)| curve)
}

/// What an authority needs to know of its own certificate (X509-SVID §3.2).
pub(crate) struct AuthorityFacts {
    pub(crate) id: SpiffeId,
    pub(crate) public_key: Vec<u8>,
    pub(crate) organization: String,
    pub(crate) common_name: String,
    pub(crate) validity: Validity,
}

impl AuthorityFacts {
    pub(crate) fn read(der: &[u8]) -> Result<Self> {
        let certificate = parse(der)?;
        check_signer_usage(&certificate)?;
        let id = signer_id(&certificate)?.ok_or(SvidError::Certificate("it names no trust domain"))?;
        let subject = certificate.subject();
        let organization = subject.iter_organization().next().and_then(|text| text.as_str().ok());
        let common_name = subject.iter_common_name().next().and_then(|text| text.as_str().ok());
        let (Some(organization), Some(common_name), 2) = (organization, common_name, subject.iter_attributes().count()) else {
            return Err(SvidError::Certificate("its subject is not an organization and a common name"));
        };
        Ok(Self {
            id,
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
            organization: organization.to_owned(),
            common_name: common_name.to_owned(),
            validity: path::validity(&certificate),
        })
    }
}

/// Walks from `leaf`, under which `below` signing certificates stand, to an authority of the bundle (X509-SVID §5.1).
pub(crate) fn verify_path(
    leaf: &X509Certificate<'_>,
    intermediates: &[&[u8]],
    bundle: &Bundle,
    below: u32,
    now: Timestamp,
) -> Result<()> {
    let authorities: Vec<_> = bundle.x509_authorities.iter().filter_map(|der| parse(der).ok()).collect();
    let intermediates = intermediates.iter().map(|der| parse(der)).collect::<Result<Vec<_>>>()?;
    let check = |signer: &X509Certificate<'_>| {
        if bundle.revoked_signers.contains(&spki_digest(signer)) {
            return Err(SvidError::Certificate("its issuer is revoked"));
        }
        check_signer(signer, &bundle.trust_domain, now)
    };
    match path::walk(leaf, &intermediates, &authorities, below, check)? {
        Some(_) => Ok(()),
        None => Err(SvidError::Chain(bundle.trust_domain.to_string())),
    }
}

/// X509-SVID §4: a leaf signs handshakes and nothing else.
fn check_leaf_usage(certificate: &X509Certificate<'_>) -> Result<()> {
    if certificate.basic_constraints().is_ok_and(|found| found.is_some_and(|constraints| constraints.value.ca)) {
        return Err(SvidError::Certificate("it is a signing certificate"));
    }
    let Ok(Some(usage)) = certificate.key_usage() else {
        return Err(SvidError::Certificate("it has no key usage"));
    };
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(SvidError::Certificate("its key may sign certificates"));
    }
    if !usage.critical || !usage.value.digital_signature() {
        return Err(SvidError::Certificate("its key usage is not critical or lacks digital signatures"));
    }
    match certificate.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.server_auth && usage.value.client_auth => Ok(()),
        _ => Err(SvidError::Certificate("its extended key usage is not that of client and server")),
    }
}

/// X509-SVID §5.2: exactly one URI, a SPIFFE ID with a path.
fn leaf_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId> {
    let names = uris(certificate)?;
    let [uri] = names.as_slice() else {
        return Err(SvidError::Certificate("it does not have exactly one URI name"));
    };
    let id: SpiffeId = uri.parse().map_err(|_| SvidError::Certificate("its URI name is not a SPIFFE ID"))?;
    if id.path().is_empty() {
        return Err(SvidError::NoPath(id.to_string()));
    }
    Ok(id)
}

/// X509-SVID §3.2, at this moment and for this trust domain.
fn check_signer(certificate: &X509Certificate<'_>, trust_domain: &TrustDomain, now: Timestamp) -> Result<()> {
    check_signer_usage(certificate)?;
    if let Some(id) = signer_id(certificate)?
        && id.trust_domain() != trust_domain
    {
        return Err(SvidError::TrustDomain(id.to_string()));
    }
    check_validity(certificate, now)
}

/// X509-SVID §3.2: a signing certificate names its trust domain without a path, if it names one.
fn signer_id(certificate: &X509Certificate<'_>) -> Result<Option<SpiffeId>> {
    let names = uris(certificate)?;
    let uri = match names.as_slice() {
        [] => return Ok(None),
        [uri] => uri,
        _ => return Err(SvidError::Certificate("a signing certificate has more than one URI name")),
    };
    let id: SpiffeId =
        uri.parse().map_err(|_| SvidError::Certificate("the URI name of a signing certificate is no SPIFFE ID"))?;
    if !id.path().is_empty() {
        return Err(SvidError::Certificate("a signing certificate names a path"));
    }
    Ok(Some(id))
}

fn uris<'c>(certificate: &'c X509Certificate<'_>) -> Result<Vec<&'c str>> {
    let malformed = SvidError::Certificate("its alternative names are malformed");
    let Ok(found) = certificate.subject_alternative_name() else { return Err(malformed) };
    let mut uris = Vec::new();
    if let Some(names) = found {
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(uri) => uris.push(*uri),
                GeneralName::Invalid(..) => return Err(malformed),
                _ => {}
            }
        }
    }
    Ok(uris)
}

const MAX_INTERMEDIATES: usize = 4;

#[cfg(test)]
#[path = "x509_tests.rs"]
mod tests;
