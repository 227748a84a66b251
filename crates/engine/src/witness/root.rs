//! The root log: a witness that keeps what it cosigned as the entries of a log of its own.
//!
//! Each tenant has a log of its own, and the root log has the checkpoints of them all. So whoever holds the root's checkpoint
//! holds every tenant to one history, and a tenant can show that its checkpoint was there, without showing anything else.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use marque_ledger::{Checkpoint, Note, Signer, TlogProof, Verifier};
use marque_store::log::Log;
use marque_store::published::Published;
use marque_store::record::Record;
use marque_store::tiles::{Head, Tiles};
use marque_store::{StateDir, StoreError};
use serde::{Deserialize, Serialize};

use super::asking::{Witnesses, lock};
use super::files::signer;
use super::keeping::{Keeper, Keeping, Kept, Witness, digest_of};
use crate::env::Env;
use crate::error::{EngineError, Result};
use crate::keys;
use crate::seal::open_dir;

/// A log whose entries are the checkpoints of other logs, each cosigned by the root's witness (C2SP tlog-tiles v0.1.0,
/// tlog-witness v1.0.0).
#[derive(Debug)]
pub struct RootLog {
    env: Env,
    signer: Signer,
    log: Log,
    tiles: Arc<Mutex<Tiles>>,
    anchors: Mutex<Anchors>,
    witnesses: OnceLock<Arc<Witnesses>>,
    /// When the last checkpoint was signed, in microseconds.
    published: AtomicI64,
    /// How many entries the anchors' file covers.
    saved: Mutex<u64>,
    /// Last, so that its lock is let go only after the log's writer has ended.
    dir: StateDir,
}

/// The newest published checkpoint of each log: a fold of the entries below `covers`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Anchors {
    covers: u64,
    /// By origin.
    newest: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    index: u64,
    checkpoint: String,
}

/// That a checkpoint is in the root log (C2SP tlog-proof).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The entry of the root log.
    pub index: u64,
    /// The entry: the checkpoint of the anchored log, with its own signature and the root's cosignature.
    pub checkpoint: String,
    /// The proof that the entry is in the root log: against its newest witnessed checkpoint if that covers the entry, and its
    /// newest otherwise.
    pub proof: String,
}

impl Keeper for RootLog {
    /// INVARIANT (I6 the ledger is the history): the entry is durable before the root's cosignature is answered. The same head,
    /// cosigned anew, is in the log already.
    fn keep<'a>(&'a self, _: &'a str, before: Option<&'a Kept>, newest: &'a Kept) -> Keeping<'a> {
        Box::pin(async move {
            if before.is_none_or(|before| before.head != newest.head) {
                self.log.append(vec![newest.checkpoint.clone().into_bytes()])?.await?;
            }
            Ok(())
        })
    }
}

impl RootLog {
    /// Opens the root log in a directory, which this process holds from then on, and the witness that feeds it, for the logs of
    /// these keys. A new one needs a name: the witness has it, and the log is called `<name>/log`.
    pub fn open(dir: &Path, env: Env, name: Option<&str>, logs: &[Verifier]) -> Result<(Arc<Self>, Arc<Witness>)> {
        let dir = open_dir(dir)?;
        let witness = signer(&dir, &env, name)?;
        let origin = format!("{}/log", witness.verifier().name());
        let signer = Signer::from_seed(&origin, *keys::secret(&dir, &env, LOG_KEY_FILE)?).map_err(StoreError::from)?;
        let tiles = Tiles::open(&dir.ledger(), &origin)?;
        let log = Log::open(&dir.segments(), tiles.head().size)?;
        dir.write(VERIFIER_FILE, format!("{}\n", signer.verifier()).as_bytes())?;
        let anchors: Anchors = match dir.read(ANCHORS_FILE)? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| EngineError::Invalid(format!("`{ANCHORS_FILE}` cannot be read: {error}")))?,
            None => Anchors::default(),
        };
        if anchors.covers > log.durable() {
            let what = format!("it had {} entries, and has {}", anchors.covers, log.durable());
            return Err(StoreError::Contradicted { what }.into());
        }
        let root = Self {
            env: env.clone(),
            signer,
            log,
            tiles: Arc::new(Mutex::new(tiles)),
            saved: Mutex::new(anchors.covers),
            anchors: Mutex::new(anchors),
            witnesses: OnceLock::new(),
            published: AtomicI64::new(i64::MIN),
            dir,
        };
        root.follow()?;
        let kept = root.kept()?;
        let root = Arc::new(root);
        let keeper: Arc<dyn Keeper> = Arc::<Self>::clone(&root);
        Ok((root, Arc::new(Witness::new(witness, env, logs, keeper, kept))))
    }

    /// The keys of the witness and of the log in a directory, made if there are none. They are there to be read also beside the
    /// root log that runs.
    pub fn keys_in(dir: &Path, env: &Env, name: Option<&str>) -> Result<(String, String)> {
        let path = dir.join(VERIFIER_FILE);
        match std::fs::read_to_string(&path) {
            Ok(log) => Ok((Witness::key_in(dir, env, name)?, log.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (root, witness) = Self::open(dir, env.clone(), name, &[])?;
                Ok((witness.key(), root.key()))
            }
            Err(source) => Err(EngineError::Read { what: format!("`{}`", path.display()), source }),
        }
    }

    /// The key by which the root's own checkpoints are verified, as a policy lists it (C2SP tlog-policy, "Defining a log").
    pub fn key(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// The published files of the root log.
    pub fn published_log(&self) -> Published {
        Published::new(Arc::clone(&self.tiles))
    }

    /// Has the root log's checkpoints cosigned by the witnesses of a policy file from now on: whoever calls this sends the
    /// requests.
    pub fn ask_witnesses(&self, policy: &[u8]) -> Result<Arc<Witnesses>> {
        let witnesses = Witnesses::new(policy, self.signer.verifier(), Arc::clone(&self.tiles), self.env.clone())?;
        Ok(Arc::clone(self.witnesses.get_or_init(|| Arc::new(witnesses))))
    }

    /// Publishes a signed checkpoint over all that is durable, unless the last one is younger than a second (blocking).
    pub fn publish(&self) -> Result<Head> {
        self.log.check()?;
        let now = self.env.clock.now().micros();
        let head = {
            let mut tiles = lock(&self.tiles);
            tiles.follow(&self.log)?;
            // An age below zero: the clock went back.
            if (0..INTERVAL).contains(&now.saturating_sub(self.published.load(Ordering::Acquire))) {
                return Ok(tiles.head());
            }
            tiles.publish(&self.signer)?
        };
        self.published.store(now, Ordering::Release);
        self.follow()?;
        self.log.retire(head.size)?;
        if let Some(witnesses) = self.witnesses.get() {
            witnesses.published(head.size);
        }
        Ok(head)
    }

    /// Keeps the anchors, so that the next start reads only what came after them (blocking).
    pub fn save(&self) -> Result<()> {
        let anchors = lock(&self.anchors).clone();
        self.dir.write(ANCHORS_FILE, &serde_json::to_vec(&anchors)?)?;
        *lock(&self.saved) = anchors.covers;
        Ok(())
    }

    /// The newest published checkpoint of the log whose origin has this SHA-256, in lower-case hexadecimal, with the proof that
    /// it is in the root log (blocking).
    pub fn anchor(&self, origin: &str) -> Result<Option<Anchor>> {
        let tiles = lock(&self.tiles);
        let found = lock(&self.anchors).newest.iter().find(|(name, _)| digest_of(name) == origin).map(|(_, entry)| entry.clone());
        let Some(Entry { index, checkpoint }) = found else { return Ok(None) };
        let covering =
            |note: String| size_of(&note).filter(|size| index < *size && *size <= tiles.head().size).map(|size| (size, note));
        let (size, note) = match tiles.witnessed()?.and_then(covering) {
            Some(witnessed) => witnessed,
            None => match covering(tiles.checkpoint()?) {
                Some(newest) => newest,
                None => return Ok(None),
            },
        };
        let path = tiles.inclusion_in(index, size)?;
        let proof = TlogProof { extra: None, index, path, checkpoint: note }.to_string();
        Ok(Some(Anchor { index, checkpoint, proof }))
    }

    /// Brings the anchors up to the published head.
    fn follow(&self) -> Result<()> {
        // The tiles first, as in `anchor`.
        let tiles = lock(&self.tiles);
        let mut anchors = lock(&self.anchors);
        while anchors.covers < tiles.head().size {
            let from = anchors.covers;
            for (index, record) in tiles.read(from)? {
                anchors.take(index, &record);
            }
            if anchors.covers == from {
                return Err(StoreError::Damaged { what: format!("entry {from} of the root log cannot be read") }.into());
            }
        }
        let is_due = anchors.covers.saturating_sub(*lock(&self.saved)) >= SAVE_EVERY;
        drop((anchors, tiles));
        if is_due { self.save() } else { Ok(()) }
    }

    /// What was cosigned last for each log, published or not.
    fn kept(&self) -> Result<HashMap<String, Kept>> {
        let mut newest = lock(&self.anchors).clone();
        loop {
            let entries = self.log.read(newest.covers, READ_BYTES)?;
            if entries.is_empty() {
                break;
            }
            entries.iter().for_each(|(index, record)| newest.take(*index, record));
        }
        let kept = |(origin, Entry { checkpoint, .. }): (String, Entry)| -> Result<(String, Kept)> {
            let head =
                Note::parse(&checkpoint).and_then(|note| note.text.parse::<Checkpoint>()).map_err(StoreError::from)?.head();
            Ok((origin, Kept { head, checkpoint }))
        };
        newest.newest.into_iter().map(kept).collect()
    }
}

impl Anchors {
    fn take(&mut self, index: u64, record: &[u8]) {
        let checkpoint = String::from_utf8_lossy(Record::split(record).0).into_owned();
        let origin = checkpoint.split('\n').next().unwrap_or_default().to_owned();
        self.newest.insert(origin, Entry { index, checkpoint });
        self.covers = index.saturating_add(1);
    }
}

fn size_of(note: &str) -> Option<u64> {
    Some(Note::parse(note).ok()?.text.parse::<Checkpoint>().ok()?.size)
}

/// The root log's private key, 32 bytes.
const LOG_KEY_FILE: &str = "log.key";
/// The public key of the log.
const VERIFIER_FILE: &str = "ledger/verifier";
const ANCHORS_FILE: &str = "anchors.json";
/// Checkpoints are signed at most this often, in microseconds.
const INTERVAL: i64 = 1_000_000;
/// The most entries that a start reads again.
const SAVE_EVERY: u64 = 4096;
const READ_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use marque_core::time::Timestamp;
    use marque_ledger::{AddCheckpoint, MemoryTiles, Tree, leaf_hash};

    use super::*;
    use crate::env::{Clock, SystemEntropy};

    #[tokio::test]
    async fn each_log_is_anchored_and_its_proof_verifies() {
        let world = World::new();
        let (root, witness) = world.open();
        let [a, b] = ["a.example/log", "b.example/log"];
        assert_eq!(world.add(&witness, a, 0, 3).await, 200);
        assert_eq!(root.anchor(&digest_of(a)).unwrap(), None, "not published yet");
        root.publish().unwrap();
        assert_eq!(world.add(&witness, b, 0, 4).await, 200);
        assert_eq!(world.add(&witness, a, 3, 5).await, 200);
        world.pass(1);
        assert_eq!(root.publish().unwrap().size, 3);
        for (origin, index, size) in [(a, 2, 5), (b, 1, 4)] {
            let anchor = root.anchor(&digest_of(origin)).unwrap().unwrap();
            assert_eq!(anchor.index, index);
            let proof: TlogProof = anchor.proof.parse().unwrap();
            let key: Verifier = root.key().parse().unwrap();
            let checkpoint = proof.verify(anchor.checkpoint.as_bytes(), "root.example/log", &[key]).unwrap();
            assert_eq!(checkpoint.size, 3);
            let anchored = Checkpoint::open(&anchor.checkpoint, origin, &[signer(origin).verifier()]).unwrap();
            assert_eq!(anchored.size, size);
        }
        assert_eq!(root.anchor(&digest_of("c.example/log")).unwrap(), None);
    }

    #[tokio::test]
    async fn what_was_cosigned_outlives_the_process_published_or_not() {
        let world = World::new();
        let origin = "a.example/log";
        let (root, witness) = world.open();
        assert_eq!(world.add(&witness, origin, 0, 3).await, 200);
        root.publish().unwrap();
        assert_eq!(world.add(&witness, origin, 3, 5).await, 200);
        let keys = (root.key(), witness.key());
        // Without a word, and without another checkpoint.
        drop((root, witness));

        let (root, witness) = world.open();
        assert_eq!((root.key(), witness.key()), keys);
        assert_eq!(world.add(&witness, origin, 3, 7).await, 409);
        assert_eq!(world.add(&witness, origin, 5, 5).await, 200, "the same head again");
        assert_eq!(world.add(&witness, origin, 5, 7).await, 200);
        world.pass(1);
        assert_eq!(root.publish().unwrap().size, 3, "the same head is one entry");
        root.save().unwrap();
        drop((root, witness));

        let (root, witness) = world.open();
        assert_eq!(root.anchor(&digest_of(origin)).unwrap().unwrap().index, 2);
        assert_eq!(world.add(&witness, origin, 7, 9).await, 200);
    }

    #[tokio::test]
    async fn checkpoints_are_a_second_apart_also_when_the_clock_goes_back() {
        let world = World::new();
        let (root, witness) = world.open();
        let origin = "a.example/log";
        let mut sizes = Vec::new();
        for (size, seconds) in [(1, 0), (2, 0), (3, 1), (4, -3600), (5, 0), (6, 1)] {
            assert_eq!(world.add(&witness, origin, size - 1, size).await, 200);
            world.pass(seconds);
            sizes.push(root.publish().unwrap().size);
        }
        assert_eq!(sizes, [1_u64, 1, 3, 4, 4, 6]);
    }

    struct World {
        dir: tempfile::TempDir,
        clock: Arc<Hand>,
    }

    /// A clock that is moved by hand.
    #[derive(Debug)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    impl World {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), clock: Arc::new(Hand(AtomicI64::new(1_800_000_000_000_000))) }
        }

        fn open(&self) -> (Arc<RootLog>, Arc<Witness>) {
            let env = Env { clock: Arc::<Hand>::clone(&self.clock), entropy: Arc::new(SystemEntropy) };
            let logs = ["a.example/log", "b.example/log"].map(|origin| signer(origin).verifier());
            RootLog::open(self.dir.path(), env, Some("root.example"), &logs).unwrap()
        }

        fn pass(&self, seconds: i64) {
            self.clock.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        }

        async fn add(&self, witness: &Arc<Witness>, origin: &str, old: u64, size: u64) -> u16 {
            let grown = |size: u64| {
                let mut tree = Tree::default();
                (0..size).for_each(|index| tree.push(leaf_hash(format!("{origin}{index}").as_bytes()), &mut Vec::new()));
                tree
            };
            let mut tiles = MemoryTiles::default();
            tiles.extend(grown(size).partial_tiles());
            let checkpoint = Checkpoint { origin: origin.to_owned(), size, root: grown(size).root(), extensions: vec![] };
            let request = AddCheckpoint::new(old, &checkpoint.sign(&signer(origin)).unwrap(), &tiles).unwrap();
            witness.add_checkpoint(request.to_string().as_bytes()).await.unwrap().status
        }
    }

    fn signer(origin: &str) -> Signer {
        Signer::from_seed(origin, [7; 32]).unwrap()
    }
}
