//! Signed notes (C2SP signed-note v1.0.0).

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::error::{LedgerError, Result};

/// Text with signature lines under it, none of them verified yet unless it comes from [`open`] (signed-note v1.0.0,
/// "Format").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is signed, with its last newline.
    pub text: String,
    /// The signatures, in the order of their lines.
    pub signatures: Vec<Signature>,
}

impl Note {
    /// Splits a note at its last blank line; verifies nothing (signed-note v1.0.0, "Format").
    pub fn parse(note: &str) -> Result<Self> {
        let (text, lines) = note.rsplit_once("\n\n").ok_or(LedgerError::BadNote)?;
        let lines = lines.strip_suffix('\n').ok_or(LedgerError::BadNote)?;
        let text = format!("{text}\n");
        if !is_text(&text) {
            return Err(LedgerError::BadText);
        }
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(LedgerError::TooManySignatures);
        }
        let signatures = lines.split('\n').map(str::parse).collect::<Result<_>>()?;
        Ok(Self { text, signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Parses a note and verifies it: signatures by unknown keys are left out, a known key's bad signature refuses the note,
/// and so does the want of any good one (signed-note v1.0.0, "Verification").
pub fn open(note: &str, known: &[Verifier]) -> Result<Note> {
    let Note { text, signatures } = Note::parse(note)?;
    let mut verified: Vec<Signature> = Vec::new();
    for signature in signatures {
        let mut by = known.iter().filter(|verifier| verifier.is_named_in(&signature)).peekable();
        if by.peek().is_none() {
            continue;
        }
        if !by.all(|verifier| verifier.verifies(&text, &signature)) {
            return Err(LedgerError::BadSignature(signature.name));
        }
        if !verified.iter().any(|other| other.name == signature.name && other.key_id == signature.key_id) {
            verified.push(signature);
        }
    }
    if verified.is_empty() {
        return Err(LedgerError::NotSigned);
    }
    Ok(Note { text, signatures: verified })
}

/// A signature line: `— <name> <base64(key id ‖ signature)>` (signed-note v1.0.0, "Signatures").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// The first four bytes of the key's hash.
    pub key_id: u32,
    /// What follows the key id: for Ed25519, 64 bytes.
    pub blob: Vec<u8>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [self.key_id.to_be_bytes().as_slice(), &self.blob].concat();
        write!(f, "{EM_DASH} {} {}", self.name, BASE64_STANDARD.encode(blob))
    }
}

impl FromStr for Signature {
    type Err = LedgerError;

    fn from_str(line: &str) -> Result<Self> {
        let parse = || {
            let (name, blob) = line.strip_prefix(EM_DASH)?.strip_prefix(' ')?.split_once(' ')?;
            let blob = BASE64_STANDARD.decode(blob).ok()?;
            let (key_id, blob) = blob.split_first_chunk::<4>()?;
            let key_id = u32::from_be_bytes(*key_id);
            let valid = is_key_name(name) && !blob.is_empty();
            valid.then(|| Self { name: name.to_owned(), key_id, blob: blob.to_vec() })
        };
        parse().ok_or_else(|| LedgerError::BadSignatureLine(line.to_owned()))
    }
}

/// An Ed25519 signing key with its name (signed-note v1.0.0, signature type `0x01`). It shows its name only.
pub struct Signer {
    verifier: Verifier,
    key: SigningKey,
}

impl Signer {
    /// The signer of this name and RFC 8032 seed (signed-note v1.0.0, "Signatures").
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self> {
        let key = SigningKey::from_bytes(&seed);
        Ok(Self { verifier: Verifier::new(name, key.verifying_key())?, key })
    }

    /// What verifies this signer's notes (signed-note v1.0.0, "Verifier keys").
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// The whole note: text, blank line, signature line (signed-note v1.0.0, "Format").
    pub fn sign(&self, text: &str) -> Result<String> {
        if !is_text(text) {
            return Err(LedgerError::BadText);
        }
        let Verifier { name, key_id, .. } = self.verifier();
        let blob = self.key.sign(text.as_bytes()).to_bytes().to_vec();
        let signatures = vec![Signature { name, key_id, blob }];
        Ok(Note { text: text.to_owned(), signatures }.to_string())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.verifier.name).finish_non_exhaustive()
    }
}

/// An Ed25519 public key with its name, written `<name>+<key id>+<base64(type ‖ key)>` (signed-note v1.0.0, "Verifier
/// keys").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key_id: u32,
    key: VerifyingKey,
}

impl Verifier {
    fn new(name: &str, key: VerifyingKey) -> Result<Self> {
        if !is_key_name(name) {
            return Err(LedgerError::BadKeyName(name.to_owned()));
        }
        let digest = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes());
        let [a, b, c, d, ..]: [u8; 32] = digest.finalize().into();
        Ok(Self { name: name.to_owned(), key_id: u32::from_be_bytes([a, b, c, d]), key })
    }

    /// The name of the key (signed-note v1.0.0, "Signatures").
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)` (signed-note v1.0.0, "Signatures").
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The 32 bytes of the public key (signed-note v1.0.0, signature type `0x01`).
    pub fn public_key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    fn is_named_in(&self, signature: &Signature) -> bool {
        self.name == signature.name && self.key_id == signature.key_id
    }

    fn verifies(&self, text: &str, signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_slice(&signature.blob);
        signature.is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [[ED25519].as_slice(), self.key.as_bytes()].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.key_id, BASE64_STANDARD.encode(key))
    }
}

impl FromStr for Verifier {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (name, rest) = text.split_once('+')?;
            let (_, key) = rest.split_once('+')?;
            let key: [u8; 33] = BASE64_STANDARD.decode(key).ok()?.try_into().ok()?;
            let (_, key) = key.split_first_chunk::<1>()?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
            // Type, key id and base64 are right when the key is written the same way again.
            Self::new(name, key).ok().filter(|verifier| verifier.to_string() == text)
        };
        parse().ok_or_else(|| LedgerError::BadVerifierKey(text.to_owned()))
    }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c < ' ')
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && !text.contains(|c: char| c < ' ' && c != '\n')
}

/// Signature type of Ed25519 (signed-note v1.0.0).
const ED25519: u8 = 0x01;
/// The most signature lines that are read; signed-note v1.0.0 asks for 16 or more.
const MAX_SIGNATURES: usize = 100;
const EM_DASH: char = '\u{2014}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_keys_of_golden_vectors() {
        let vkey = "ledger.example/log+7cc83a9d+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
        assert_eq!(signer().verifier().to_string(), vkey);
        assert_eq!(vkey.parse::<Verifier>(), Ok(signer().verifier()));
        assert_eq!(signer().verifier().key_id(), 0x7cc8_3a9d);
        assert_eq!(format!("{:?}", signer()), r#"Signer { name: "ledger.example/log", .. }"#);
        for bad in ["", "a+b", &vkey.replace("7cc8", "7CC8"), &vkey.replace("7cc8", "7cc9"), &vkey.replace("AY", "AZ")] {
            assert_eq!(bad.parse::<Verifier>(), Err(LedgerError::BadVerifierKey(bad.to_owned())));
        }
        for bad in ["", "a b", "a+b", "a\u{2003}b", "a\nb", "a\u{1}"] {
            assert!(matches!(Signer::from_seed(bad, [1; 32]), Err(LedgerError::BadKeyName(_))), "{bad:?}");
        }
    }

    #[test]
    fn notes_open_with_a_known_key_only() {
        let note = signer().sign("one\n\ntwo\n").unwrap();
        let other = Signer::from_seed("witness.example/w1", [2; 32]).unwrap();
        let known = [other.verifier(), signer().verifier()];
        assert_eq!(open(&note, &known).unwrap().text, "one\n\ntwo\n");
        assert_eq!(open(&note, &[other.verifier()]), Err(LedgerError::NotSigned));
        assert_eq!(open(&note, &[]), Err(LedgerError::NotSigned));
        let changed = note.replace("one", "ten");
        assert_eq!(open(&changed, &known), Err(LedgerError::BadSignature("ledger.example/log".to_owned())));
        let line = note.lines().next_back().unwrap();
        let stranger = line.replace("ledger.example", "stranger.example");
        let many = format!("{note}{}{line}\n", format!("{stranger}\n").repeat(98));
        assert_eq!(open(&many, &known).unwrap().signatures.len(), 1);
        assert_eq!(Note::parse(&many).unwrap().to_string(), many);
        assert_eq!(open(&format!("{many}{stranger}\n"), &known), Err(LedgerError::TooManySignatures));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let note = signer().sign("text\n").unwrap();
        let bad = [
            String::new(),
            "text\n\n".to_owned(),
            note.trim_end().to_owned(),
            note.replace('\u{2014}', "-"),
            note.replace("\n\n", "\n"),
            note.replace('\n', "\r\n"),
            note.replace("text", "te\txt"),
            note.replace("=\n", "= \n"),
            note.replace("=\n", "\n"),
            format!("{note}\n"),
            format!("{note}\u{2014} name AAAAAA==\n"),
        ];
        for bad in bad {
            assert!(Note::parse(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(signer().sign("text"), Err(LedgerError::BadText));
        assert_eq!(signer().sign("te\rxt\n"), Err(LedgerError::BadText));
    }

    fn signer() -> Signer {
        Signer::from_seed("ledger.example/log", [1; 32]).unwrap()
    }
}
