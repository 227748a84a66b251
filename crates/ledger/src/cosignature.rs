//! Cosignatures of witnesses (C2SP tlog-cosignature v1.0.1, the Ed25519 kind).

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey};

use crate::checkpoint::Checkpoint;
use crate::error::{LedgerError, Result};
use crate::key::NamedKey;
use crate::note::{MAX_SIGNATURES, Note, Signature, parse_signatures};

/// A witness's signing key with its name (tlog-cosignature v1.0.1, signature type `0x04`). It shows its name only.
///
/// The message does not hold the name, so each witness needs a key of its own, which signs nothing else.
pub struct WitnessSigner {
    verifier: WitnessVerifier,
    key: SigningKey,
}

impl WitnessSigner {
    /// The witness of this name and RFC 8032 seed (tlog-cosignature v1.0.1, "Format").
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self> {
        let key = SigningKey::from_bytes(&seed);
        Ok(Self { verifier: WitnessVerifier(NamedKey::new(name, COSIGNATURE, key.verifying_key())?), key })
    }

    /// What verifies this witness's cosignatures (tlog-cosignature v1.0.1, "Format").
    pub fn verifier(&self) -> WitnessVerifier {
        self.verifier.clone()
    }

    /// Cosigns the text of a checkpoint at a time in seconds since 1970 (tlog-cosignature v1.0.1, "Ed25519 signed
    /// message"). The caller has made sure that the log has shown no larger tree, and none that this one does not continue;
    /// [`Accepted::cosign`](crate::Accepted::cosign) is the way that does.
    pub fn cosign(&self, note_text: &str, time_seconds: u64) -> Result<Signature> {
        note_text.parse::<Checkpoint>()?;
        let signature = self.key.sign(message(note_text, time_seconds)?.as_bytes());
        let blob = [time_seconds.to_be_bytes().as_slice(), &signature.to_bytes()].concat();
        Ok(Signature { name: self.verifier.name().to_owned(), key_id: self.verifier.key_id(), blob })
    }
}

impl fmt::Debug for WitnessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessSigner").field("name", &self.verifier.name()).finish_non_exhaustive()
    }
}

/// A witness's public key with its name, written `<name>+<key id>+<base64(0x04 ‖ key)>` (tlog-cosignature v1.0.1, "Format").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessVerifier(NamedKey);

impl WitnessVerifier {
    /// The name of the key (tlog-cosignature v1.0.1, "Format").
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The first four bytes of `SHA-256(name ‖ 0x0A ‖ 0x04 ‖ public key)` (tlog-cosignature v1.0.1, "Format").
    pub fn key_id(&self) -> u32 {
        self.0.id()
    }

    /// The 32 bytes of the public key, by which a policy tells witnesses apart (C2SP tlog-policy).
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }

    /// The time at which this witness cosigned a checkpoint, the newest of several; nothing when no line names this key.
    /// A line that names it and does not verify refuses the note (tlog-cosignature v1.0.1, signed-note v1.0.0,
    /// "Signatures").
    pub fn verify(&self, note: &str) -> Result<Option<u64>> {
        self.verify_note(&Note::parse(note)?)
    }

    pub(crate) fn verify_note(&self, note: &Note) -> Result<Option<u64>> {
        let named = note.signatures.iter().filter(|signature| self.0.is_named_in(signature));
        named.map(|signature| self.time(&note.text, signature)).try_fold(None, |newest, time| Ok(newest.max(Some(time?))))
    }

    /// The time in a line of this key, which must verify.
    fn time(&self, text: &str, signature: &Signature) -> Result<u64> {
        let bad = || LedgerError::BadSignature(signature.name.clone());
        let (time, bytes) = signature.blob.split_first_chunk::<8>().ok_or_else(bad)?;
        let time = u64::from_be_bytes(*time);
        if !self.0.verifies(message(text, time)?.as_bytes(), bytes) {
            return Err(bad());
        }
        Ok(time)
    }
}

impl fmt::Display for WitnessVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for WitnessVerifier {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self> {
        NamedKey::parse(text, COSIGNATURE).map(Self)
    }
}

/// Moves the cosignatures of known witnesses from the lines that a witness answered with into a checkpoint (tlog-witness
/// v1.0.0, "add-checkpoint").
///
/// Lines by unknown keys are left out of the answer and kept in the note. Each witness has one line, its newest; they stand
/// after all others, so the log's own comes first. A known witness's line that does not verify is an error.
pub fn add_cosignatures(note: &str, lines: &str, witnesses: &[WitnessVerifier]) -> Result<String> {
    let Note { text, signatures } = Note::parse(note)?;
    let known = |signature: &Signature| witnesses.iter().find(|witness| witness.0.is_named_in(signature));
    let (cosigned, mut kept): (Vec<_>, Vec<_>) = signatures.into_iter().partition(|signature| known(signature).is_some());
    let mut newest: Vec<(Signature, u64)> = Vec::new();
    for signature in cosigned.into_iter().chain(parse_signatures(lines)?) {
        let Some(witness) = known(&signature) else { continue };
        let time = witness.time(&text, &signature)?;
        match newest.iter_mut().find(|(other, _)| witness.0.is_named_in(other)) {
            Some(older) if older.1 < time => *older = (signature, time),
            Some(_) => {}
            None => newest.push((signature, time)),
        }
    }
    kept.extend(newest.into_iter().map(|(signature, _)| signature));
    if kept.len() > MAX_SIGNATURES {
        return Err(LedgerError::TooManySignatures);
    }
    Ok(Note { text, signatures: kept }.to_string())
}

/// What is signed. No note's own signature is over it: its first line is no origin of a log that a witness knows.
fn message(text: &str, time: u64) -> Result<String> {
    if time == 0 || i64::try_from(time).is_err() {
        return Err(LedgerError::BadTime(time));
    }
    Ok(format!("cosignature/v1\ntime {time}\n{text}"))
}

/// Signature type of timestamped Ed25519 cosignatures (signed-note v1.0.0, "Signature types").
const COSIGNATURE: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::note::{Signer, open};

    #[test]
    fn golden_vectors() {
        let vkey = "witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
        assert_eq!(witness().verifier().to_string(), vkey);
        assert_eq!(vkey.parse(), Ok(witness().verifier()));
        let line = "\u{2014} witness.example/w1 3xwKNQAAAABlU/EAJ6JGVahhEMZAnWYYCbqOWkctqrqheU6wKxWKUDcJu0WGLQVDqdUX87Ac49/SX6\
                    SvlkGq59L2v4uNtZvY/hUDBg==";
        let text = text(&note());
        assert_eq!(witness().cosign(&text, 1_700_000_000).unwrap().to_string(), line);
        assert_eq!(witness().verifier().verify(&format!("{}{line}\n", note())), Ok(Some(1_700_000_000)));
    }

    #[test]
    fn keys_of_other_types_are_refused() {
        let log = signer().verifier().to_string();
        assert_eq!(log.parse::<WitnessVerifier>(), Err(LedgerError::BadVerifierKey(log.clone())));
        let witness = witness().verifier().to_string();
        assert!(witness.parse::<crate::note::Verifier>().is_err());
    }

    #[test]
    fn the_newest_of_several_counts_and_a_wrong_one_refuses_the_note() {
        let (witness, note) = (witness(), note());
        let line = |time| format!("{}\n", witness.cosign(&text(&note), time).unwrap());
        let verify = |lines: &str| witness.verifier().verify(&format!("{note}{lines}"));
        assert_eq!(verify(""), Ok(None));
        assert_eq!(verify(&(line(9) + &line(30) + &line(7))), Ok(Some(30)));
        let mut wrong: Signature = line(9).trim_end().parse().unwrap();
        wrong.blob[7] += 1;
        let refused = Err(LedgerError::BadSignature("witness.example/w1".to_owned()));
        assert_eq!(verify(&(line(8) + &format!("{wrong}\n"))), refused);
        for length in [1, 7, 8, 71, 73] {
            wrong.blob.resize(length, 0);
            assert!(verify(&format!("{wrong}\n")).is_err(), "{length}");
        }
        let stranger = WitnessSigner::from_seed("witness.example/w1", [3; 32]).unwrap();
        assert_eq!(stranger.verifier().verify(&format!("{note}{}", line(9))), Ok(None));
    }

    #[test]
    fn only_checkpoints_are_cosigned_and_only_at_a_time_that_there_is() {
        let text = text(&note());
        for time in [0, 1 << 63, u64::MAX] {
            assert_eq!(witness().cosign(&text, time), Err(LedgerError::BadTime(time)));
        }
        assert!(witness().cosign(&text, i64::MAX as u64).is_ok());
        assert_eq!(witness().cosign("not a checkpoint\n", 1), Err(LedgerError::BadCheckpoint));
        assert_eq!(witness().cosign(text.trim_end(), 1), Err(LedgerError::BadCheckpoint));
    }

    #[test]
    fn cosignatures_are_moved_once_and_come_last() {
        let (note, one) = (note(), witness());
        let two = WitnessSigner::from_seed("witness.example/w2", [3; 32]).unwrap();
        let known = [one.verifier(), two.verifier()];
        let line = |by: &WitnessSigner, time| format!("{}\n", by.cosign(&text(&note), time).unwrap());
        let stranger = line(&WitnessSigner::from_seed("stranger.example", [4; 32]).unwrap(), 5);
        let forged = Signer::from_seed("ledger.example/log", [9; 32]).unwrap().sign(&text(&note)).unwrap();
        let forged = forged.lines().next_back().unwrap();
        let cosigned = add_cosignatures(&note, &format!("{stranger}{}{forged}\n", line(&one, 5)), &known).unwrap();
        assert_eq!(cosigned, format!("{note}{}", line(&one, 5)));
        let both = add_cosignatures(&cosigned, &(line(&two, 6) + &line(&one, 5)), &known).unwrap();
        assert_eq!(both, format!("{note}{}{}", line(&one, 5), line(&two, 6)));
        assert_eq!(add_cosignatures(&both, &line(&one, 4), &known).as_ref(), Ok(&both));
        let newer = add_cosignatures(&both, &line(&one, 7), &known).unwrap();
        assert_eq!(newer, format!("{note}{}{}", line(&one, 7), line(&two, 6)));
        assert_eq!(open(&newer, &[signer().verifier()]).unwrap().signatures.len(), 1);
        let elsewhere = format!("{}\n", one.cosign(&text(&note).replace("log", "other"), 8).unwrap());
        assert!(matches!(add_cosignatures(&note, &elsewhere, &known), Err(LedgerError::BadSignature(_))));
        for bad in ["", "\n", "text\n", line(&one, 5).trim_end(), &format!("\n{}", line(&one, 5))] {
            assert!(add_cosignatures(&note, bad, &known).is_err(), "{bad:?}");
        }
    }

    fn text(note: &str) -> String {
        Note::parse(note).unwrap().text
    }

    fn note() -> String {
        let root = Hash::from_base64("Y4r6mAIpJbrP3a2xXvIv0BmcGsmcKXO2FYJD0T/OBcI=").unwrap();
        let head = Checkpoint { origin: "ledger.example/log".to_owned(), size: 1000, root, extensions: vec![] };
        head.sign(&signer()).unwrap()
    }

    fn signer() -> Signer {
        Signer::from_seed("ledger.example/log", [1; 32]).unwrap()
    }

    fn witness() -> WitnessSigner {
        WitnessSigner::from_seed("witness.example/w1", [2; 32]).unwrap()
    }
}
