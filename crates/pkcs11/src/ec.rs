//! Signatures with a key on a curve (FIPS 186-5).

use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use sha2::{Digest as _, Sha256, Sha384};

use crate::error::{DeviceError, Result};
use crate::token::{Kind, Token, find};

const EC: Kind = (KeyType::EC, "EC");

/// A curve that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcCurve {
    /// NIST P-256, with SHA-256.
    P256,
    /// NIST P-384, with SHA-384.
    P384,
}

impl EcCurve {
    /// By its object identifier, DER (RFC 5480 §2.1.1.1).
    fn of(parameters: &[u8]) -> Option<Self> {
        match parameters {
            [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Some(Self::P256),
            [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22] => Some(Self::P384),
            _ => None,
        }
    }

    /// How long a coordinate is, in octets.
    const fn octets(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256 => Sha256::digest(message).to_vec(),
            Self::P384 => Sha384::digest(message).to_vec(),
        }
    }
}

/// A private key in a token, and its public point.
#[derive(Debug)]
pub struct EcKey {
    token: Token,
    label: String,
    curve: EcCurve,
    point: Vec<u8>,
    /// Once the PIN was refused, it is not shown again: whoever asks for signatures asks again, and tokens lock.
    shut_out: AtomicBool,
}

impl Token {
    /// The key pair called `label`, on P-256 or P-384.
    pub fn ec_key(&self, label: &str) -> Result<EcKey> {
        let (parameters, point) = self.call(|session| {
            find(session, ObjectClass::PRIVATE_KEY, EC, label)?;
            let public = find(session, ObjectClass::PUBLIC_KEY, EC, label)?;
            let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
            let mut found = (Vec::new(), Vec::new());
            for attribute in session.get_attributes(public, &wanted).map_err(DeviceError::refused("show a public key"))? {
                match attribute {
                    Attribute::EcParams(bytes) => found.0 = bytes,
                    Attribute::EcPoint(bytes) => found.1 = bytes,
                    _ => {}
                }
            }
            Ok(found)
        })?;
        let curve = EcCurve::of(&parameters).ok_or(DeviceError::Answer("the key is neither on P-256 nor on P-384"))?;
        let point = uncompressed(curve, &point).ok_or(DeviceError::Answer("the key's point is not an uncompressed one"))?;
        Ok(EcKey { token: self.clone(), label: label.to_owned(), curve, point: point.to_vec(), shut_out: AtomicBool::new(false) })
    }
}

impl EcKey {
    /// The curve.
    pub const fn curve(&self) -> EcCurve {
        self.curve
    }

    /// The public point, uncompressed: `04`, x, y (SEC 1 §2.3.3).
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// ECDSA over `message` with the curve's hash: r and s, each as long as a coordinate.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        if self.shut_out.load(Ordering::Acquire) {
            return Err(DeviceError::Pin { why: "it is not tried again before a restart".to_owned() });
        }
        let digest = self.curve.digest(message);
        let signed = self.token.call(|session| {
            let private = find(session, ObjectClass::PRIVATE_KEY, EC, &self.label)?;
            session.sign(&Mechanism::Ecdsa, private, &digest).map_err(DeviceError::refused("sign"))
        });
        if matches!(signed, Err(DeviceError::Pin { .. })) {
            self.shut_out.store(true, Ordering::Release);
        }
        let signature = signed?;
        if signature.len() == 2 * self.curve.octets() {
            Ok(signature)
        } else {
            Err(DeviceError::Answer("the signature is not as long as those of its curve"))
        }
    }
}

/// The point itself, out of the octet string that the standard puts it in and some tokens do not.
fn uncompressed(curve: EcCurve, point: &[u8]) -> Option<&[u8]> {
    let bare = 1 + 2 * curve.octets();
    let point = match point {
        [0x04, length, rest @ ..] if usize::from(*length) == bare && rest.len() == bare => rest,
        bytes => bytes,
    };
    (point.len() == bare && point.first() == Some(&0x04)).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_taken_with_and_without_their_octet_string() {
        for curve in [EcCurve::P256, EcCurve::P384] {
            let bare = [&[0x04][..], &vec![7; 2 * curve.octets()]].concat();
            let wrapped = [&[0x04, u8::try_from(bare.len()).unwrap()][..], &bare].concat();
            assert_eq!(uncompressed(curve, &bare), Some(bare.as_slice()));
            assert_eq!(uncompressed(curve, &wrapped), Some(bare.as_slice()));
            assert_eq!(uncompressed(curve, &wrapped[..wrapped.len() - 1]), None);
            assert_eq!(uncompressed(curve, &[]), None);
            let compressed = [&[0x02][..], &vec![7; curve.octets()]].concat();
            assert_eq!(uncompressed(curve, &compressed), None);
        }
        assert_eq!(uncompressed(EcCurve::P384, &[&[0x04][..], &[7; 64]].concat()), None);
    }
}
