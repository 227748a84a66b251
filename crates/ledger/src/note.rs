//! Signed notes (C2SP signed-note v1.0.0).

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine};
use ed25519_dalek::{Signer as _, SigningKey};

use crate::error::{LedgerError, Result};
use crate::key::{NamedKey, is_key_name};

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
        let text = format!("{text}\n");
        if !is_text(&text) {
            return Err(LedgerError::BadText);
        }
        Ok(Self { text, signatures: parse_signatures(lines)? })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Signature lines, one or more, each with its newline (signed-note v1.0.0, "Format").
pub(crate) fn parse_signatures(lines: &str) -> Result<Vec<Signature>> {
    let lines = lines.strip_suffix('\n').ok_or(LedgerError::BadNote)?;
    if lines.split('\n').count() > MAX_SIGNATURES {
        return Err(LedgerError::TooManySignatures);
    }
    lines.split('\n').map(str::parse).collect()
}

/// Parses a note and verifies it: signatures by unknown keys are left out, a known key's bad signature refuses the note,
/// and so does the want of any good one (signed-note v1.0.0, "Verification").
pub fn open(note: &str, known: &[Verifier]) -> Result<Note> {
    let Note { text, signatures } = Note::parse(note)?;
    let mut verified: Vec<Signature> = Vec::new();
    for signature in signatures {
        let mut by = known.iter().filter(|verifier| verifier.0.is_named_in(&signature)).peekable();
        if by.peek().is_none() {
            continue;
        }
        if !by.all(|verifier| verifier.verifies(text.as_bytes(), &signature.blob)) {
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
        Ok(Self { verifier: Verifier(NamedKey::new(name, ED25519, key.verifying_key())?), key })
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
        let blob = self.sign_bytes(text.as_bytes()).to_vec();
        let signatures = vec![Signature { name: self.verifier.name().to_owned(), key_id: self.verifier.key_id(), blob }];
        Ok(Note { text: text.to_owned(), signatures }.to_string())
    }

    /// The signature over what DSSE's pre-authentication encoding made of a statement (DSSE 1.0, protocol.md, "Signature
    /// Definition"). Nothing is signed that a note could be: its text ends its line, and a statement in JSON does not.
    pub fn sign_dsse(&self, encoded: &[u8]) -> Result<Vec<u8>> {
        if !encoded.starts_with(b"DSSEv1 ") || encoded.ends_with(b"\n") {
            return Err(LedgerError::BadText);
        }
        Ok(self.sign_bytes(encoded).to_vec())
    }

    /// The signature over a text, or over bytes that cannot be mistaken for one (RFC 8032).
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.verifier.name()).finish_non_exhaustive()
    }
}

/// An Ed25519 public key with its name, written `<name>+<key id>+<base64(type ‖ key)>` (signed-note v1.0.0, "Verifier
/// keys").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier(NamedKey);

impl Verifier {
    /// The name of the key (signed-note v1.0.0, "Signatures").
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The first four bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)` (signed-note v1.0.0, "Signatures").
    pub fn key_id(&self) -> u32 {
        self.0.id()
    }

    /// The 32 bytes of the public key (signed-note v1.0.0, signature type `0x01`).
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verifies(message, signature)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Verifier {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self> {
        NamedKey::parse(text, ED25519).map(Self)
    }
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && !text.contains(|c: char| c < ' ' && c != '\n')
}

/// Signature type of Ed25519 (signed-note v1.0.0).
const ED25519: u8 = 0x01;
/// The most signature lines that are read; signed-note v1.0.0 asks for 16 or more.
pub(crate) const MAX_SIGNATURES: usize = 100;
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

    #[test]
    fn a_statement_is_signed_and_no_note_for_one() {
        let encoded = b"DSSEv1 1 t 2 {}";
        let signature = signer().sign_dsse(encoded).unwrap();
        assert!(signer().verifier().verifies(encoded, &signature));
        for note in [&b"text\n"[..], b"", b"DSSEv1 1 t 3 {}\n", b" DSSEv1 1 t 2 {}"] {
            assert_eq!(signer().sign_dsse(note), Err(LedgerError::BadText), "{note:?}");
        }
    }

    fn signer() -> Signer {
        Signer::from_seed("ledger.example/log", [1; 32]).unwrap()
    }
}
