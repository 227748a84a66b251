//! A witness with a directory: its key, its name, and a file for each log.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use marque_ledger::{Checkpoint, Note, Verifier, WitnessSigner, WitnessVerifier};
use marque_store::{StateDir, StoreError};

use super::keeping::{Keeper, Keeping, Kept, Witness, digest_of};
use crate::env::Env;
use crate::error::{EngineError, Result};
use crate::keys;
use crate::seal::open_dir;

/// Keeps the checkpoint that was cosigned last for each log in a file.
#[derive(Debug)]
struct Files(Arc<StateDir>);

impl Keeper for Files {
    fn keep<'a>(&'a self, origin: &'a str, _: Option<&'a Kept>, newest: &'a Kept) -> Keeping<'a> {
        let (dir, file, note) = (Arc::clone(&self.0), file_of(origin), newest.checkpoint.clone());
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || dir.write(&file, note.as_bytes())).await;
            Ok(written.map_err(|_| EngineError::Invalid("the write ended early".into()))??)
        })
    }
}

impl Witness {
    /// Opens the witness in a directory, which this process holds from then on, for the logs of these keys. A new one needs a
    /// name (tlog-cosignature v1.0.1, "Format").
    pub fn open(dir: &Path, env: Env, name: Option<&str>, logs: &[Verifier]) -> Result<Arc<Self>> {
        let dir = Arc::new(open_dir(dir)?);
        let signer = signer(&dir, &env, name)?;
        let kept = read(&dir, &signer.verifier(), logs)?;
        Ok(Arc::new(Self::new(signer, env, logs, Arc::new(Files(dir)), kept)))
    }

    /// The key of the witness in a directory, made if there is none. It is there to be read also beside the witness that runs.
    pub fn key_in(dir: &Path, env: &Env, name: Option<&str>) -> Result<String> {
        let path = dir.join(KEY_FILE);
        match std::fs::read_to_string(&path) {
            Ok(key) => {
                let key: WitnessVerifier = key.trim().parse().map_err(StoreError::from)?;
                same_name(key.name(), name)?;
                Ok(key.to_string())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(signer(&open_dir(dir)?, env, name)?.verifier().to_string())
            }
            Err(source) => Err(EngineError::Read { what: format!("`{}`", path.display()), source }),
        }
    }
}

/// The witness's key, read or made, under the name that it was made with: there is one key to a name and one name to a key.
pub(super) fn signer(dir: &StateDir, env: &Env, name: Option<&str>) -> Result<WitnessSigner> {
    let known = dir.read(KEY_FILE)?.map(|key| String::from_utf8_lossy(&key).trim().parse::<WitnessVerifier>());
    let known = known.transpose().map_err(StoreError::from)?;
    let name = match (&known, name) {
        (Some(known), name) => {
            same_name(known.name(), name)?;
            known.name()
        }
        (None, Some(name)) => name,
        (None, None) => return Err(EngineError::Invalid("a new witness needs a name, as witness.example/w1".into())),
    };
    let signer = WitnessSigner::from_seed(name, *keys::secret(dir, env, SEED_FILE)?).map_err(StoreError::from)?;
    match known {
        None => dir.write(KEY_FILE, format!("{}\n", signer.verifier()).as_bytes())?,
        Some(known) if known == signer.verifier() => {}
        Some(known) => return Err(EngineError::Invalid(format!("`{SEED_FILE}` is not the key `{known}`"))),
    }
    Ok(signer)
}

fn same_name(known: &str, asked: Option<&str>) -> Result<()> {
    match asked {
        Some(asked) if asked != known => Err(EngineError::Invalid(format!("the name here is `{known}`, not `{asked}`"))),
        _ => Ok(()),
    }
}

/// What was kept for each log. A file that is not whole is an error: without its head a fork would be taken.
fn read(dir: &StateDir, own: &WitnessVerifier, logs: &[Verifier]) -> Result<HashMap<String, Kept>> {
    let mut kept = HashMap::new();
    for origin in logs.iter().map(Verifier::name) {
        let file = file_of(origin);
        let Some(bytes) = dir.read(&file)? else { continue };
        let damaged = || EngineError::Invalid(format!("`{file}` is no checkpoint of `{origin}` that this witness cosigned"));
        let checkpoint = String::from_utf8(bytes).map_err(|_| damaged())?;
        let head = Note::parse(&checkpoint).and_then(|note| note.text.parse::<Checkpoint>()).map_err(|_| damaged())?;
        if head.origin != origin || !matches!(own.verify(&checkpoint), Ok(Some(_))) {
            return Err(damaged());
        }
        kept.insert(origin.to_owned(), Kept { head: head.head(), checkpoint });
    }
    Ok(kept)
}

fn file_of(origin: &str) -> String {
    format!("{}.checkpoint", digest_of(origin))
}

/// The private key, 32 bytes.
const SEED_FILE: &str = "witness.key";
/// The public key, with the name.
const KEY_FILE: &str = "witness.vkey";

#[cfg(test)]
mod tests {
    use marque_ledger::{AddCheckpoint, MemoryTiles, Signer, Tree, leaf_hash, parse_stale_size};

    use super::super::keeping::WitnessReply;
    use super::*;

    #[tokio::test]
    async fn what_was_cosigned_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let witness = open(dir.path());
        let first = add(&witness, 0, &honest(3)).await;
        assert_eq!(first.status, 200);
        let latest = witness.latest(&digest_of(ORIGIN)).await.unwrap();
        assert_eq!(latest, honest(3) + &first.body);
        assert_eq!(witness.latest(&digest_of("other.example")).await, None);
        let key = witness.key();
        assert_eq!(Witness::key_in(dir.path(), &Env::system(), None).unwrap(), key, "beside the running witness");
        drop(witness);

        let witness = open(dir.path());
        assert_eq!((witness.key(), witness.latest(&digest_of(ORIGIN)).await), (key, Some(latest)));
        let stale = add(&witness, 0, &honest(5)).await;
        assert_eq!((stale.status, stale.content_type, parse_stale_size(&stale.body)), (409, "text/x.tlog.size", Ok(3)));
        assert_eq!(add(&witness, 3, &honest(5)).await.status, 200);
    }

    #[tokio::test]
    async fn forks_rollbacks_and_strangers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let witness = open(dir.path());
        assert_eq!(add(&witness, 0, &honest(5)).await.status, 200);
        let fork = add(&witness, 5, &forked(5)).await;
        assert_eq!(fork.status, 422);
        assert!(fork.alarm.unwrap().contains("the consistency proof does not hold, from the `5` entries"));
        assert_eq!(add(&witness, 5, &forked(7)).await.status, 422);
        assert_eq!(add(&witness, 4, &honest(4)).await.status, 409);
        assert_eq!(add(&witness, 5, &honest(4)).await.status, 400);
        let stranger = Signer::from_seed(ORIGIN, [9; 32]).unwrap();
        assert_eq!(add(&witness, 5, &note(&stranger, ORIGIN, 7, &tree(7, ""))).await.status, 403);
        let other = Signer::from_seed("other.example", [9; 32]).unwrap();
        assert_eq!(add(&witness, 0, &note(&other, "other.example", 7, &tree(7, ""))).await.status, 404);
        assert_eq!(witness.add_checkpoint(b"\xff").await.unwrap().status, 400);
        // None of this moved it.
        assert_eq!(add(&witness, 5, &honest(7)).await.status, 200);
    }

    #[tokio::test]
    async fn of_two_forks_at_once_one_is_cosigned() {
        let dir = tempfile::tempdir().unwrap();
        let witness = open(dir.path());
        let (honest, forked) = (honest(5), forked(5));
        let (a, b) = tokio::join!(add(&witness, 0, &honest), add(&witness, 0, &forked));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }

    #[test]
    fn a_damaged_file_or_another_name_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Witness::open(dir.path(), Env::system(), None, &[]), Err(EngineError::Invalid(_))));
        drop(open(dir.path()));
        let error = Witness::open(dir.path(), Env::system(), Some("witness.example/other"), &[]).unwrap_err();
        assert!(error.to_string().contains("`witness.example/w1`"), "{error}");
        // A checkpoint without this witness's own line, as it is after a file was copied in.
        std::fs::write(dir.path().join(file_of(ORIGIN)), honest(3)).unwrap();
        let error = Witness::open(dir.path(), Env::system(), None, &[signer().verifier()]).unwrap_err();
        assert!(error.to_string().contains("that this witness cosigned"), "{error}");
    }

    fn open(dir: &Path) -> Arc<Witness> {
        Witness::open(dir, Env::system(), Some("witness.example/w1"), &[signer().verifier()]).unwrap()
    }

    async fn add(witness: &Arc<Witness>, old: u64, checkpoint: &str) -> WitnessReply {
        let mut tiles = MemoryTiles::default();
        tiles.extend(tree(10, "").partial_tiles());
        let request = AddCheckpoint::new(old, checkpoint, &tiles);
        let request =
            request.unwrap_or_else(|_| AddCheckpoint { old_size: old, proof: vec![], checkpoint: checkpoint.to_owned() });
        witness.add_checkpoint(request.to_string().as_bytes()).await.unwrap()
    }

    fn honest(size: u64) -> String {
        note(&signer(), ORIGIN, size, &tree(size, ""))
    }

    fn forked(size: u64) -> String {
        note(&signer(), ORIGIN, size, &tree(size, "other "))
    }

    fn note(signer: &Signer, origin: &str, size: u64, tree: &Tree) -> String {
        Checkpoint { origin: origin.to_owned(), size, root: tree.root(), extensions: vec![] }.sign(signer).unwrap()
    }

    fn tree(size: u64, fork: &str) -> Tree {
        let mut tree = Tree::default();
        (0..size).for_each(|index| tree.push(leaf_hash(format!("{fork}{index}").as_bytes()), &mut Vec::new()));
        tree
    }

    fn signer() -> Signer {
        Signer::from_seed(ORIGIN, [1; 32]).unwrap()
    }

    const ORIGIN: &str = "log.example";
}
