//! Small secrets, encrypted for an RSA key of a token: RSAES-OAEP (RFC 8017 §7.1).

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{KeyType, ObjectClass};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use crate::error::{DeviceError, Result};
use crate::token::{Kind, Token, find};

const RSA: Kind = (KeyType::RSA, "RSA");

/// The hash of OAEP, which no attack on SHA-1 weakens; SoftHSM knows no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha1,
}

impl Hash {
    fn mechanism(self) -> Mechanism<'static> {
        let (hash, mask) = match self {
            Self::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
            Self::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        };
        Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, PkcsOaepSource::empty()))
    }

    /// How what was encrypted begins.
    const fn mark(self) -> u8 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
        }
    }
}

impl Token {
    /// Encrypts a secret for the RSA key pair called `key`: a byte that names the hash, and the ciphertext. The token has
    /// decrypted it again before this returns.
    pub fn encrypt(&self, key: &str, secret: &[u8]) -> Result<Vec<u8>> {
        match self.encrypt_with(Hash::Sha256, key, secret) {
            // Not for a PIN that was refused: tokens count those.
            Err(DeviceError::Refused { what: ENCRYPT | DECRYPT, .. }) => self.encrypt_with(Hash::Sha1, key, secret),
            done => done,
        }
    }

    /// Decrypts what [`Token::encrypt`] made with the same key.
    pub fn decrypt(&self, key: &str, encrypted: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (hash, ciphertext) = match encrypted.split_first() {
            Some((mark, rest)) if *mark == Hash::Sha256.mark() => (Hash::Sha256, rest),
            Some((mark, rest)) if *mark == Hash::Sha1.mark() => (Hash::Sha1, rest),
            _ => return Err(DeviceError::Refused { what: DECRYPT, why: "its hash is not known here".into() }),
        };
        self.call(|session| decrypted(session, hash, key, ciphertext))
    }

    fn encrypt_with(&self, hash: Hash, key: &str, secret: &[u8]) -> Result<Vec<u8>> {
        self.call(|session| {
            let public = find(session, ObjectClass::PUBLIC_KEY, RSA, key)?;
            let ciphertext = session.encrypt(&hash.mechanism(), public, secret).map_err(DeviceError::refused(ENCRYPT))?;
            if decrypted(session, hash, key, &ciphertext)?.as_slice() != secret {
                return Err(DeviceError::Answer("the private key is not that of the public key"));
            }
            Ok([&[hash.mark()], ciphertext.as_slice()].concat())
        })
    }
}

fn decrypted(session: &Session, hash: Hash, key: &str, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let private = find(session, ObjectClass::PRIVATE_KEY, RSA, key)?;
    let secret = session.decrypt(&hash.mechanism(), private, ciphertext).map_err(DeviceError::refused(DECRYPT))?;
    Ok(Zeroizing::new(secret))
}

const ENCRYPT: &str = "encrypt";
const DECRYPT: &str = "decrypt";
