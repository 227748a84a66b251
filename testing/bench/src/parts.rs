//! A state directory from below: the store's parts as the engine puts them together, for filling it faster than through
//! the engine's one door. The keys are the engine's own, so that it opens the directory afterwards as any other.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marque_engine::{Engine, Entropy as _, Env, Options, SystemEntropy};
use marque_ledger::Signer;
use marque_store::StateDir;
use marque_store::log::Log;
use marque_store::tiles::Tiles;
use marque_store::vault::Vault;
use marque_store::views::Views;

use crate::synthetic::{Made, World};
use crate::{Result, office};

/// The parts. The lock of the directory is let go last.
pub struct Parts {
    /// The tables and the index.
    pub views: Views,
    /// The log.
    pub log: Arc<Log>,
    tiles: Arc<Mutex<Tiles>>,
    vault: Arc<Vault>,
    signer: Signer,
    _dir: StateDir,
}

impl Parts {
    /// Makes a state directory through the engine.
    pub async fn make(root: &Path) -> Result<()> {
        open(root).await.map(drop)
    }

    /// Opens a state directory that the engine made and nobody has open.
    pub fn open(root: &Path) -> Result<Self> {
        let dir = StateDir::lock(root)?;
        let secret = |name: &str| -> Result<[u8; 32]> {
            let bytes = dir.read(name)?.ok_or_else(|| format!("there is no `{name}`"))?;
            Ok(bytes.as_slice().try_into().map_err(|_| format!("`{name}` has not 32 bytes"))?)
        };
        let origin = format!("{TRUST_DOMAIN}/marque/log");
        let signer = Signer::from_seed(&origin, secret("keys/log.key")?)?;
        let vault = Arc::new(Vault::open(&dir.subjects(), &secret("keys/vault.key")?)?);
        let tiles = Tiles::open(&dir.ledger(), &origin)?;
        let log = Arc::new(Log::open(&dir.segments(), tiles.head().size)?);
        let tiles = Arc::new(Mutex::new(tiles));
        let views = Views::open(&dir.views(), Arc::clone(&vault), Arc::clone(&log), Arc::clone(&tiles))?;
        Ok(Self { views, log, tiles, vault, signer, _dir: dir })
    }

    /// The entry of an event, as the engine would append it.
    pub fn record(&self, made: &Made) -> Result<Vec<u8>> {
        Ok(self.vault.veil(&made.event, made.subject.as_ref(), &random)?.encode())
    }

    /// Writes events, some appends of 256 under way at a time; they are durable then.
    pub fn write(&self, world: &mut World, count: u64) -> Result<()> {
        let mut under_way = VecDeque::new();
        let mut left = count;
        while left > 0 {
            let batch = left.min(BULK);
            let entries = (0..batch).map(|_| self.record(&world.next()?)).collect::<Result<Vec<_>>>()?;
            left -= batch;
            under_way.push_back(self.log.append(entries)?);
            if under_way.len() >= UNDER_WAY
                && let Some(oldest) = under_way.pop_front()
            {
                oldest.wait()?;
            }
        }
        for pending in under_way {
            pending.wait()?;
        }
        Ok(())
    }

    /// Cuts tiles and signs a checkpoint; the log lets go what they have.
    pub fn publish(&self) -> Result<()> {
        let head = {
            let mut tiles = self.tiles();
            tiles.follow(&self.log)?;
            tiles.publish(&self.signer)?
        };
        Ok(self.log.retire(head.size)?)
    }

    /// What a server does twice a second: tiles, a checkpoint, the views.
    pub fn follow(&self) -> Result<()> {
        self.publish()?;
        self.views.catch_up()?;
        Ok(self.views.index().tidy()?)
    }

    /// Follows at a server's pace beside `work`, and once more after it.
    pub fn following<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| -> Result<()> {
                loop {
                    let last = done.load(Ordering::Acquire);
                    self.follow()?;
                    if last {
                        return Ok(());
                    }
                    for _ in 0..BEATS {
                        if !done.load(Ordering::Acquire) {
                            std::thread::sleep(BEAT);
                        }
                    }
                }
            });
            let worked = work();
            done.store(true, Ordering::Release);
            follower.join().unwrap_or_else(|_| Err("the follower ended early".into()))?;
            worked
        })
    }

    fn tiles(&self) -> MutexGuard<'_, Tiles> {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine on a state directory.
pub async fn open(root: &Path) -> Result<Arc<Engine>> {
    let issuer = "https://127.0.0.1:8443".to_owned();
    let options = Options::new(TRUST_DOMAIN.parse()?, office::ADMINISTRATOR.parse()?, issuer);
    Ok(Engine::open(root, Env::system(), options).await?)
}

fn random(bytes: &mut [u8]) {
    SystemEntropy.fill(bytes);
}

const TRUST_DOMAIN: &str = "example.org";
const BULK: u64 = 256;
const UNDER_WAY: usize = 32;
/// Half a second in steps, so that the end of the work is seen soon.
const BEATS: u32 = 50;
const BEAT: Duration = Duration::from_millis(10);
