//! Certification paths (RFC 5280 §6): certificates with nothing overlooked, and who issued whom.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use marque_core::time::Timestamp;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::x509::X509Version;

use crate::error::{Result, SvidError};
use crate::validity::Validity;

/// Walks from `leaf` to one of the `anchors` and returns that one and how many intermediates lead to it, or `None` when
/// there is no path (RFC 5280 §6.1).
///
/// Each certificate must be issued by the next, each signing certificate must pass `check`, and `below` of them already
/// stand under the leaf. Anchors that do not pass are no anchors.
pub(crate) fn walk<'a, 'b>(
    leaf: &'b X509Certificate<'a>,
    intermediates: &'b [X509Certificate<'a>],
    anchors: &'b [X509Certificate<'a>],
    below: u32,
    check: impl Fn(&X509Certificate<'a>) -> Result<()>,
) -> Result<Option<(usize, &'b X509Certificate<'a>)>> {
    let mut rest = intermediates.iter();
    let mut current = leaf;
    let mut below = below;
    loop {
        let above = |anchor: &&X509Certificate<'a>| {
            may_stand_above(anchor, below) && check(anchor).is_ok() && is_issued_by(current, anchor)
        };
        if let Some(anchor) = anchors.iter().find(above) {
            return Ok(Some((intermediates.len() - rest.len(), anchor)));
        }
        let Some(issuer) = rest.next() else { return Ok(None) };
        check(issuer)?;
        if !may_stand_above(issuer, below) || !is_issued_by(current, issuer) {
            return Ok(None);
        }
        current = issuer;
        below += 1;
    }
}

/// SHA-256 of the subject public key info (RFC 5280 §4.1).
pub(crate) fn spki_digest(certificate: &X509Certificate<'_>) -> [u8; 32] {
    Sha256::digest(certificate.public_key().raw).into()
}

/// Whether `issuer` signed `child` and is named by it (RFC 5280 §6.1.3).
pub(crate) fn is_issued_by(child: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    if child.issuer().as_raw() != issuer.subject().as_raw() || child.signature_algorithm != child.tbs_certificate.signature {
        return false;
    }
    let Some(scheme) = SignatureScheme::of(child).filter(|_| child.signature_value.unused_bits == 0) else {
        return false;
    };
    let signed = child.tbs_certificate.as_ref();
    if !behind(child.as_raw(), signed).starts_with(scheme.encoding) {
        return false;
    }
    let key: &[u8] = &issuer.public_key().subject_public_key.data;
    let Some(algorithm) = (scheme.algorithm)(key.len()) else { return false };
    UnparsedPublicKey::new(algorithm, key).verify(signed, &child.signature_value.data).is_ok()
}

/// What stands in a certificate behind its signed part. No signature covers it and the parser is lenient there, so that
/// it is held against the one encoding that it may have.
fn behind<'a>(certificate: &'a [u8], signed: &[u8]) -> &'a [u8] {
    // The certificate is a sequence: a tag, a length of 1 to 5 bytes, and the signed part first.
    let start = (2..=6).find(|at| certificate.get(*at..).is_some_and(|rest| rest.starts_with(signed)));
    start.and_then(|at| certificate.get(at + signed.len()..)).unwrap_or_default()
}

/// How a certificate is signed.
pub(crate) struct SignatureScheme {
    /// The DER of its algorithm (RFC 5758 §3.2, RFC 4055 §5).
    pub(crate) encoding: &'static [u8],
    /// How to check it with a key of so many octets.
    algorithm: fn(usize) -> Option<&'static dyn VerificationAlgorithm>,
}

impl SignatureScheme {
    /// The scheme of a certificate, if it is one that counts.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let oid = &certificate.signature_algorithm.algorithm;
        let scheme = |encoding, algorithm| Some(Self { encoding, algorithm });
        if *oid == OID_SIG_ECDSA_WITH_SHA256 {
            scheme(b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", |octets| match octets {
                P256_OCTETS => Some(&ECDSA_P256_SHA256_ASN1),
                P384_OCTETS => Some(&ECDSA_P384_SHA256_ASN1),
                _ => None,
            })
        } else if *oid == OID_SIG_ECDSA_WITH_SHA384 {
            scheme(b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", |octets| match octets {
                P256_OCTETS => Some(&ECDSA_P256_SHA384_ASN1),
                P384_OCTETS => Some(&ECDSA_P384_SHA384_ASN1),
                _ => None,
            })
        } else if *oid == OID_SIG_ECDSA_WITH_SHA512 {
            scheme(b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04", |octets| match octets {
                P521_OCTETS => Some(&ECDSA_P521_SHA512_ASN1),
                _ => None,
            })
        } else if *oid == OID_PKCS1_SHA256WITHRSA {
            scheme(b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00", |_| Some(&RSA_PKCS1_2048_8192_SHA256))
        } else if *oid == OID_PKCS1_SHA384WITHRSA {
            scheme(b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00", |_| Some(&RSA_PKCS1_2048_8192_SHA384))
        } else if *oid == OID_PKCS1_SHA512WITHRSA {
            scheme(b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00", |_| Some(&RSA_PKCS1_2048_8192_SHA512))
        } else {
            None
        }
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
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>> {
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

/// The span of a certificate (RFC 5280 §4.1.2.5).
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity {
        not_before: Timestamp::from_seconds(validity.not_before.timestamp()),
        not_after: Timestamp::from_seconds(validity.not_after.timestamp()),
    }
}

/// RFC 5280 §6.1.3: both ends are included.
pub(crate) fn check_validity(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<()> {
    let Validity { not_before, not_after } = validity(certificate);
    if now < not_before {
        return Err(SvidError::NotYetValid);
    }
    if now > not_after {
        return Err(SvidError::Expired);
    }
    Ok(())
}

/// X509-SVID §4.1, RFC 5280 §4.2.1.3.
pub(crate) fn check_signer_usage(certificate: &X509Certificate<'_>) -> Result<()> {
    let is_ca = certificate.basic_constraints().is_ok_and(|found| found.is_some_and(|constraints| constraints.value.ca));
    let may_sign = certificate.key_usage().is_ok_and(|found| found.is_some_and(|usage| usage.value.key_cert_sign()));
    if !is_ca || !may_sign {
        return Err(SvidError::Certificate("its issuer is not a signing certificate"));
    }
    Ok(())
}

/// How long an uncompressed point is (SEC 1 §2.3.3).
const P256_OCTETS: usize = 65;
const P384_OCTETS: usize = 97;
const P521_OCTETS: usize = 133;
