//! The vault: what an entry of the log keeps back from its readers, and the keys that make it readable here.
//!
//! An entry names people by pseudonyms, and has salted commitments in the place of content and of a caller's own words.
//! What stood there is sealed beside the entry under the key of the one person whose data it is. Erasing a person is
//! deleting that key and their name: the entry, its hash and every proof stay as they are.
//!
//! | what | how |
//! |---|---|
//! | pseudonym | HMAC-SHA-256 under the log's own key, of the name; 16 bytes |
//! | salt | HMAC-SHA-256 under the person's key, of the event's identifier and the field; 16 bytes |
//! | commitment | SHA-256(salt ‖ SHA-256(content)) |
//! | private part | AES-256-GCM-SIV under the person's key; JSON object of field → content |
//! | index key | HMAC-SHA-256 under the log's own key, of a digest or fingerprint; 8 bytes |

mod subject;
mod veil;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use marque_core::{Digest, PersonId};
use zeroize::Zeroizing;

use crate::StoreError;
use crate::dir::{make_private_dir, sync_dir, write_whole};
use crate::error::Result;
use subject::Subject;
pub use veil::{Opened, Opening};

/// Where random bytes come from.
pub type Fill<'a> = &'a dyn Fn(&mut [u8]);

/// The keys and names of everybody whose data the log keeps.
pub struct Vault {
    dir: PathBuf,
    names: hmac::Key,
    index: hmac::Key,
    seal: Zeroizing<[u8; 32]>,
    subjects: RwLock<Subjects>,
}

#[derive(Default)]
struct Subjects {
    by_pseudonym: HashMap<PersonId, Arc<Subject>>,
    pseudonyms: HashMap<PersonId, PersonId>,
    /// Who was erased: they never get a key again.
    erased: HashSet<PersonId>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.dir.display())
    }
}

impl Vault {
    /// Opens the vault in `dir` under the log's own key, and reads everybody's.
    pub fn open(dir: &Path, key: &[u8; 32]) -> Result<Self> {
        make_private_dir(dir)?;
        let derived = |label: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), label);
            let mut out = Zeroizing::new([0; 32]);
            out.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
            out
        };
        let vault = Self {
            dir: dir.to_owned(),
            names: hmac::Key::new(hmac::HMAC_SHA256, derived(b"marque pseudonyms").as_slice()),
            index: hmac::Key::new(hmac::HMAC_SHA256, derived(b"marque index").as_slice()),
            seal: derived(b"marque subjects"),
            subjects: RwLock::default(),
        };
        let mut subjects = Subjects::default();
        for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
            let path = entry.map_err(StoreError::io("list", dir))?.path();
            if path.extension().is_some_and(|e| e == "subject") {
                let bytes = std::fs::read(&path).map_err(StoreError::io("read", &path))?;
                let subject = Subject::unseal(&vault.seal, &bytes).ok_or_else(|| StoreError::Damaged {
                    what: format!("`{}` is not a person's key under the key of this log", path.display()),
                })?;
                let pseudonym = vault.pseudonym(&subject.name);
                // To erase a person is to remove the file of their name: a copy beside it would keep the key.
                if path != vault.path(&pseudonym) {
                    let what = format!("`{}` holds the key of another file's person", path.display());
                    return Err(StoreError::Damaged { what });
                }
                subjects.insert(pseudonym, subject);
            }
        }
        *vault.subjects.write().unwrap_or_else(PoisonError::into_inner) = subjects;
        Ok(vault)
    }

    /// The pseudonym of a person. One and the same for a name, and no way back without the log's key.
    pub fn pseudonym(&self, person: &PersonId) -> PersonId {
        if person.is_pseudonym() {
            return person.clone();
        }
        let tag = hmac::sign(&self.names, person.to_string().as_bytes());
        PersonId::pseudonym(tag.as_ref().first_chunk::<16>().copied().unwrap_or_default())
    }

    /// The name behind a pseudonym, unless it was erased.
    pub fn name(&self, pseudonym: &PersonId) -> Option<PersonId> {
        self.subject(pseudonym).map(|s| s.name.clone())
    }

    /// Whether nothing of a person's data can be read any more.
    pub fn is_erased(&self, pseudonym: &PersonId) -> bool {
        self.subject(pseudonym).is_none()
    }

    /// Forgets a person: their key and their name. What was sealed for them is lost for good.
    pub fn erase(&self, person: &PersonId) -> Result<()> {
        let pseudonym = self.pseudonym(person);
        let path = self.path(&pseudonym);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::io("remove", &path)(e)),
            _ => sync_dir(&self.dir)?,
        }
        let mut subjects = self.subjects.write().unwrap_or_else(PoisonError::into_inner);
        subjects.by_pseudonym.remove(&pseudonym);
        subjects.pseudonyms.retain(|_, p| *p != pseudonym);
        subjects.erased.insert(pseudonym);
        Ok(())
    }

    /// Says who was erased, as the log has it: what still names them leaves nothing of them behind.
    pub fn bar(&self, pseudonyms: impl IntoIterator<Item = PersonId>) {
        self.subjects.write().unwrap_or_else(PoisonError::into_inner).erased.extend(pseudonyms);
    }

    /// The key of a digest in the index of contents: nobody can look a guess up without the log's own key.
    pub fn index_key(&self, digest: &Digest) -> u64 {
        self.keyed(digest.as_bytes())
    }

    /// The key of the digest of a file that others were made from, which is another than that of the file itself.
    pub fn input_key(&self, digest: &Digest) -> u64 {
        self.keyed(&[b"input", &digest.as_bytes()[..]].concat())
    }

    /// The key of a normalised text's digest in the index of contents.
    pub fn normalised_key(&self, digest: &Digest) -> u64 {
        self.keyed(&[b"normalised", &digest.as_bytes()[..]].concat())
    }

    /// The key of a fingerprint in the index of contents.
    pub fn print_key(&self, print: u64) -> u64 {
        self.keyed(&print.to_be_bytes())
    }

    /// The key of a term in one stretch of the log.
    pub fn term_key(&self, field: &str, value: &str, stretch: u64) -> u64 {
        let mut context = hmac::Context::with_key(&self.index);
        for part in [field.as_bytes(), &[0], value.as_bytes(), &[0], &stretch.to_be_bytes()] {
            context.update(part);
        }
        context.sign().as_ref().first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b))
    }

    fn keyed(&self, bytes: &[u8]) -> u64 {
        let tag = hmac::sign(&self.index, bytes);
        tag.as_ref().first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b))
    }

    /// The subject behind a name, made if it is new: its key is on the disk before anything is sealed under it.
    fn subject_of(&self, person: &PersonId, fill: Fill<'_>) -> Result<(PersonId, Option<Arc<Subject>>)> {
        if person.is_pseudonym() {
            return Ok((person.clone(), self.subject(person)));
        }
        {
            let subjects = self.subjects.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(pseudonym) = subjects.pseudonyms.get(person) {
                return Ok((pseudonym.clone(), subjects.by_pseudonym.get(pseudonym).cloned()));
            }
        }
        let mut subjects = self.subjects.write().unwrap_or_else(PoisonError::into_inner);
        let pseudonym = self.pseudonym(person);
        if let Some(known) = subjects.by_pseudonym.get(&pseudonym) {
            return Ok((pseudonym, Some(Arc::clone(known))));
        }
        if subjects.erased.contains(&pseudonym) {
            return Ok((pseudonym, None));
        }
        let subject = Subject::fresh(person.clone(), fill);
        let mut nonce = [0; 12];
        fill(&mut nonce);
        write_whole(&self.path(&pseudonym), &subject.sealed(&self.seal, nonce)?, 0o600)?;
        let subject = subjects.insert(pseudonym.clone(), subject);
        Ok((pseudonym, Some(subject)))
    }

    fn subject(&self, pseudonym: &PersonId) -> Option<Arc<Subject>> {
        self.subjects.read().unwrap_or_else(PoisonError::into_inner).by_pseudonym.get(pseudonym).cloned()
    }

    fn path(&self, pseudonym: &PersonId) -> PathBuf {
        self.dir.join(format!("{}.subject", pseudonym.name().trim_start_matches('~')))
    }
}

impl Subjects {
    fn insert(&mut self, pseudonym: PersonId, subject: Subject) -> Arc<Subject> {
        let subject = Arc::new(subject);
        self.pseudonyms.insert(subject.name.clone(), pseudonym.clone());
        self.by_pseudonym.insert(pseudonym, Arc::clone(&subject));
        subject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lies_under_its_own_name_only() {
        let (dir, key) = (tempfile::tempdir().unwrap(), [1; 32]);
        let person: PersonId = "alice@example.com".parse().unwrap();
        let vault = Vault::open(dir.path(), &key).unwrap();
        let (pseudonym, _) = vault.subject_of(&person, &|bytes: &mut [u8]| bytes.fill(7)).unwrap();
        assert_eq!(Vault::open(dir.path(), &key).unwrap().name(&pseudonym), Some(person));
        std::fs::copy(vault.path(&pseudonym), dir.path().join("copy.subject")).unwrap();
        assert!(matches!(Vault::open(dir.path(), &key), Err(StoreError::Damaged { .. })));
    }
}
