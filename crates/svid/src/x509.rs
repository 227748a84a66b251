//! Verification of X.509-SVIDs (X509-SVID §5): RFC 5280 paths, and the rules that SPIFFE adds.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::Timestamp;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{OID_PKCS1_SHA256WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

use crate::bundle::{Bundle, Jwk};
use crate::error::{Result, SvidError};

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
        not_after: Timestamp::from_seconds(leaf.validity().not_after.timestamp()),
    };
    verify_path(leaf, intermediates, bundle, now)?;
    Ok(verified)
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
    let jwk = match certificate.public_key().parsed() {
        Ok(PublicKey::EC(point)) => Jwk::from_point(point.data()),
        Ok(PublicKey::RSA(key)) => Some(Jwk::from_rsa(key.modulus, key.exponent)),
        _ => None,
    };
    jwk.ok_or(SvidError::Certificate("its key is of an unknown kind"))
}

/// What an authority needs to know of its own certificate (X509-SVID §3.2).
pub(crate) struct AuthorityFacts {
    pub(crate) id: SpiffeId,
    pub(crate) public_key: Vec<u8>,
    pub(crate) organization: String,
    pub(crate) common_name: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
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
            not_before: Timestamp::from_seconds(certificate.validity().not_before.timestamp()),
            not_after: Timestamp::from_seconds(certificate.validity().not_after.timestamp()),
        })
    }
}

/// Walks from the leaf to an authority of the bundle (RFC 5280 §6.1).
fn verify_path<'a>(leaf: X509Certificate<'a>, intermediates: &[&'a [u8]], bundle: &'a Bundle, now: Timestamp) -> Result<()> {
    let no_path = || SvidError::Chain(bundle.trust_domain.to_string());
    let authorities: Vec<X509Certificate<'a>> = bundle
        .x509_authorities
        .iter()
        .filter_map(|der| parse(der).ok())
        .filter(|authority| check_signer(authority, &bundle.trust_domain, now).is_ok())
        .collect();
    let mut intermediates = intermediates.iter().copied();
    let mut current = leaf;
    let mut below = 0;
    loop {
        if authorities.iter().any(|authority| may_stand_above(authority, below) && is_issued_by(&current, authority)) {
            return Ok(());
        }
        let issuer = parse(intermediates.next().ok_or_else(no_path)?)?;
        check_signer(&issuer, &bundle.trust_domain, now)?;
        if !may_stand_above(&issuer, below) || !is_issued_by(&current, &issuer) {
            return Err(no_path());
        }
        current = issuer;
        below += 1;
    }
}

fn is_issued_by(child: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    if child.issuer().as_raw() != issuer.subject().as_raw() || child.signature_algorithm != child.tbs_certificate.signature {
        return false;
    }
    let Some((algorithm, encoding)) = signature_algorithm(child).filter(|_| child.signature_value.unused_bits == 0) else {
        return false;
    };
    let signed = child.tbs_certificate.as_ref();
    if !behind(child.as_raw(), signed).starts_with(encoding) {
        return false;
    }
    let key: &[u8] = &issuer.public_key().subject_public_key.data;
    let signature: &[u8] = &child.signature_value.data;
    UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
}

/// What stands in a certificate behind its signed part. No signature covers it and the parser is lenient there, so that
/// it is held against the one encoding that it may have.
fn behind<'a>(certificate: &'a [u8], signed: &[u8]) -> &'a [u8] {
    // The certificate is a sequence: a tag, a length of 1 to 5 bytes, and the signed part first.
    let start = (2..=6).find(|at| certificate.get(*at..).is_some_and(|rest| rest.starts_with(signed)));
    start.and_then(|at| certificate.get(at + signed.len()..)).unwrap_or_default()
}

/// The algorithm of a certificate's signature, and its DER (RFC 5758 §3.2, RFC 4055 §5).
fn signature_algorithm(certificate: &X509Certificate<'_>) -> Option<(&'static dyn VerificationAlgorithm, &'static [u8])> {
    let oid = &certificate.signature_algorithm.algorithm;
    if *oid == OID_SIG_ECDSA_WITH_SHA256 {
        Some((&ECDSA_P256_SHA256_ASN1, b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"))
    } else if *oid == OID_SIG_ECDSA_WITH_SHA384 {
        Some((&ECDSA_P384_SHA384_ASN1, b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"))
    } else if *oid == OID_PKCS1_SHA256WITHRSA {
        Some((&RSA_PKCS1_2048_8192_SHA256, b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"))
    } else {
        None
    }
}

/// Whether the path length constraint lets `below` intermediates stand under `issuer` (RFC 5280 §4.2.1.9).
fn may_stand_above(issuer: &X509Certificate<'_>, below: u32) -> bool {
    match issuer.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.path_len_constraint.is_none_or(|length| below <= length),
        _ => false,
    }
}

/// A certificate with nothing in it that this module would have to overlook (RFC 5280 §4.2).
fn parse(der: &[u8]) -> Result<X509Certificate<'_>> {
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| SvidError::Certificate("it is not X.509 in DER"))?;
    if !rest.is_empty() || certificate.version() != X509Version::V3 {
        return Err(SvidError::Certificate("it is not exactly one certificate of version 3"));
    }
    if certificate.extensions_map().is_err() || !certificate.extensions().iter().all(is_understood) {
        return Err(SvidError::Certificate("it has an extension that is repeated, malformed or not understood"));
    }
    Ok(certificate)
}

/// INVARIANT (I7 unknown is No): a critical extension that is not checked here is an extension that is not understood.
fn is_understood(extension: &X509Extension<'_>) -> bool {
    match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(_)
        | ParsedExtension::KeyUsage(_)
        | ParsedExtension::ExtendedKeyUsage(_)
        | ParsedExtension::SubjectAlternativeName(_) => true,
        ParsedExtension::ParseError { .. } | ParsedExtension::NameConstraints(_) | ParsedExtension::PolicyConstraints(_) => false,
        _ => !extension.critical,
    }
}

/// RFC 5280 §6.1.3: both ends are included.
fn check_validity(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<()> {
    let validity = certificate.validity();
    if now < Timestamp::from_seconds(validity.not_before.timestamp()) {
        return Err(SvidError::NotYetValid);
    }
    if now > Timestamp::from_seconds(validity.not_after.timestamp()) {
        return Err(SvidError::Expired);
    }
    Ok(())
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

/// X509-SVID §4.1, RFC 5280 §4.2.1.3.
fn check_signer_usage(certificate: &X509Certificate<'_>) -> Result<()> {
    let is_ca = certificate.basic_constraints().is_ok_and(|found| found.is_some_and(|constraints| constraints.value.ca));
    let may_sign = certificate.key_usage().is_ok_and(|found| found.is_some_and(|usage| usage.value.key_cert_sign()));
    if !is_ca || !may_sign {
        return Err(SvidError::Certificate("its issuer is not a signing certificate"));
    }
    Ok(())
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
