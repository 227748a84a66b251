//! Public keys as JSON Web Keys, and the signatures that they check.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Result, SvidError, shown};

/// A key that signs tokens, and its name (JWT-SVID §6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtKey {
    /// The name that token headers use (JWT-SVID §2.2).
    pub kid: String,
    /// The public key (RFC 7517 §4).
    #[serde(flatten)]
    pub jwk: Jwk,
}

/// A public key of a kind that SPIFFE allows (RFC 7518 §6, JWT-SVID §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum Jwk {
    /// A point on an elliptic curve (RFC 7518 §6.2).
    #[serde(rename = "EC")]
    Ec {
        /// The curve (RFC 7518 §6.2.1.1).
        crv: Curve,
        /// The x coordinate, base64url (RFC 7518 §6.2.1.2).
        x: String,
        /// The y coordinate, base64url (RFC 7518 §6.2.1.3).
        y: String,
    },
    /// An RSA key (RFC 7518 §6.3).
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus, base64url (RFC 7518 §6.3.1.1).
        n: String,
        /// The exponent, base64url (RFC 7518 §6.3.1.2).
        e: String,
    },
}

/// A curve (RFC 7518 §6.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Curve {
    /// NIST P-256 (RFC 7518 §6.2.1.1).
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384 (RFC 7518 §6.2.1.1).
    #[serde(rename = "P-384")]
    P384,
    /// NIST P-521 (RFC 7518 §6.2.1.1).
    #[serde(rename = "P-521")]
    P521,
}

impl Curve {
    /// How long a coordinate is, in octets (RFC 7518 §6.2.1.2).
    fn octets(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl Jwk {
    /// The key of a JSON object, if it is of a known kind, whole, and public (RFC 7517 §4).
    pub(crate) fn read(members: &Map<String, Value>) -> Option<Self> {
        if members.contains_key("d") {
            return None;
        }
        let key: Self = serde_json::from_value(Value::Object(members.clone())).ok()?;
        key.is_whole().then_some(key)
    }

    /// Whether the numbers are those of a key that can check anything.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Ec { .. } => self.point().is_some(),
            Self::Rsa { .. } => self.rsa().is_some(),
        }
    }

    /// From an uncompressed point (SEC 1 §2.3.3); its length tells the curve.
    pub(crate) fn from_point(point: &[u8]) -> Option<Self> {
        let coordinates = point.strip_prefix(&[4u8])?;
        let crv = match coordinates.len() {
            64 => Curve::P256,
            96 => Curve::P384,
            132 => Curve::P521,
            _ => return None,
        };
        let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
        Some(Self::Ec { crv, x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
    }

    /// From the integers of an RSA key, which may carry a leading zero (RFC 7518 §6.3.1).
    pub(crate) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let text = |integer: &[u8]| URL_SAFE_NO_PAD.encode(without_zero(integer));
        Self::Rsa { n: text(modulus), e: text(exponent) }
    }

    /// Checks a signature of `algorithm`, if this is a key for that algorithm (JWT-SVID §2.1, RFC 7518 §3).
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<()> {
        let verified = match (algorithm.scheme(), self) {
            (Scheme::Ecdsa(scheme, curve), Self::Ec { crv, .. }) if curve == *crv => {
                let point = self.point().ok_or(SvidError::Key)?;
                UnparsedPublicKey::new(scheme, point).verify(message, signature)
            }
            (Scheme::Rsa(scheme), Self::Rsa { .. }) => self.rsa().ok_or(SvidError::Key)?.verify(scheme, message, signature),
            _ => return Err(SvidError::Algorithm(algorithm.name().to_owned())),
        };
        verified.map_err(|_| SvidError::Signature)
    }

    /// Whether this is a key for `algorithm` (RFC 7518 §3.1).
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        match (algorithm.scheme(), self) {
            (Scheme::Ecdsa(_, curve), Self::Ec { crv, .. }) => curve == *crv,
            (Scheme::Rsa(_), Self::Rsa { .. }) => true,
            _ => false,
        }
    }

    /// The one algorithm of this key, where there is only one (RFC 7518 §3.1).
    pub(crate) fn alg(&self) -> Option<&'static str> {
        match self {
            Self::Ec { crv: Curve::P256, .. } => Some("ES256"),
            Self::Ec { crv: Curve::P384, .. } => Some("ES384"),
            Self::Ec { crv: Curve::P521, .. } => Some("ES512"),
            Self::Rsa { .. } => None,
        }
    }

    /// The uncompressed point (SEC 1 §2.3.3).
    fn point(&self) -> Option<Vec<u8>> {
        let Self::Ec { crv, x, y } = self else { return None };
        let coordinate = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|octets| octets.len() == crv.octets());
        Some([&[4], coordinate(x)?.as_slice(), coordinate(y)?.as_slice()].concat())
    }

    fn rsa(&self) -> Option<RsaPublicKeyComponents<Vec<u8>>> {
        let Self::Rsa { n, e } = self else { return None };
        let integer = |text: &str| {
            let octets = URL_SAFE_NO_PAD.decode(text).ok()?;
            Some(without_zero(&octets).to_vec()).filter(|octets| !octets.is_empty())
        };
        Some(RsaPublicKeyComponents { n: integer(n)?, e: integer(e)? })
    }
}

/// The signature algorithms that SPIFFE allows, and no other (JWT-SVID §2.1, WIT-SVID §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Es256,
    Es384,
    Es512,
    Ps256,
    Ps384,
    Ps512,
}

enum Scheme {
    Ecdsa(&'static EcdsaVerificationAlgorithm, Curve),
    Rsa(&'static RsaParameters),
}

impl Algorithm {
    /// The algorithm of that name (RFC 7518 §3.1).
    pub(crate) fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| SvidError::Algorithm(shown(name)))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    fn scheme(self) -> Scheme {
        match self {
            Self::Rs256 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Es256 => Scheme::Ecdsa(&ECDSA_P256_SHA256_FIXED, Curve::P256),
            Self::Es384 => Scheme::Ecdsa(&ECDSA_P384_SHA384_FIXED, Curve::P384),
            Self::Es512 => Scheme::Ecdsa(&ECDSA_P521_SHA512_FIXED, Curve::P521),
            Self::Ps256 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA512),
        }
    }

    const ALL: [Self; 9] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Es256, Self::Es384, Self::Es512, Self::Ps256, Self::Ps384, Self::Ps512];
}

fn without_zero(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0u8]).unwrap_or(integer)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
        RSA_PSS_SHA512, RsaKeyPair,
    };
    use serde_json::json;

    use super::*;
    use crate::keys::{P256Key, SigningBackend};

    #[test]
    fn keys_serve_their_own_algorithm_only() {
        let key = P256Key::generate().unwrap();
        let jwk = Jwk::from_point(key.public_point()).unwrap();
        let signature = key.sign(b"message").unwrap();
        for algorithm in Algorithm::ALL {
            let verified = jwk.verify(algorithm, b"message", &signature);
            assert_eq!(verified.is_ok(), algorithm == Algorithm::Es256, "{algorithm:?}");
            assert_eq!(Algorithm::named(algorithm.name()).unwrap(), algorithm);
        }
        assert!(matches!(jwk.verify(Algorithm::Es256, b"massage", &signature), Err(SvidError::Signature)));
        let json = serde_json::to_string(&JwtKey { kid: "a".into(), jwk: jwk.clone() }).unwrap();
        assert_eq!(serde_json::from_str::<JwtKey>(&json).unwrap().jwk, jwk);
    }

    #[test]
    fn larger_curves_and_rsa() {
        for (signing, algorithm) in
            [(&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384), (&ECDSA_P521_SHA512_FIXED_SIGNING, Algorithm::Es512)]
                as [(&'static EcdsaSigningAlgorithm, Algorithm); 2]
        {
            let key = EcdsaKeyPair::generate(signing).unwrap();
            let jwk = Jwk::from_point(key.public_key().as_ref()).unwrap();
            let signature = key.sign(&aws_lc_rs::rand::SystemRandom::new(), b"message").unwrap();
            assert!(jwk.verify(algorithm, b"message", signature.as_ref()).is_ok());
            assert_eq!(jwk.alg(), Some(algorithm.name()));
        }
        let key = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let public = key.public_key();
        let jwk = Jwk::from_rsa(
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        );
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PSS_SHA512, &aws_lc_rs::rand::SystemRandom::new(), b"message", &mut signature).unwrap();
        assert!(jwk.verify(Algorithm::Ps512, b"message", &signature).is_ok());
        assert!(matches!(jwk.verify(Algorithm::Rs512, b"message", &signature), Err(SvidError::Signature)));
        assert!(matches!(jwk.verify(Algorithm::Es256, b"message", &signature), Err(SvidError::Algorithm(_))));
    }

    #[test]
    fn keys_that_are_not_whole_or_not_public_are_none() {
        let read = |value: Value| Jwk::read(value.as_object().unwrap());
        let x = "fZTeuusHExNTV5w_EjlvHDp2sc8Todz4OJ925r9gsoc";
        let good = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x, "other": [1] });
        assert!(read(good).is_some());
        for bad in [
            json!({}),
            json!({ "kty": "oct", "k": x }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": x, "y": x }),
            json!({ "kty": "EC", "crv": "P-384", "x": x, "y": x }),
            json!({ "kty": "EC", "crv": "P-256", "x": x }),
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": "?" }),
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x, "d": x }),
            json!({ "kty": "RSA", "n": "", "e": "AQAB" }),
            json!({ "kty": "RSA", "n": "AQAB" }),
            json!({ "kty": 1 }),
        ] {
            assert!(read(bad.clone()).is_none(), "{bad}");
        }
    }
}
