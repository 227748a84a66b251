//! Opening a state directory: keys, log, tiles, views, and the fold of the events.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use marque_core::event::{Body, By};
use marque_core::id::ObserverId;
use marque_core::spiffe::TrustDomain;
use marque_core::state::State;
use marque_core::time::{Timestamp, Ttl};
use marque_core::{Digest, PersonId};
use marque_ledger::Signer;
use marque_policy::Snapshot;
use marque_store::StateDir;
use marque_store::log::Log;
use marque_store::tiles::Tiles;
use marque_store::vault::Vault;
use marque_store::views::Views;
use marque_svid::x509pop::PopVerifier;
use marque_svid::{AuthoritySet, BundleSet, RotationPolicy, UpstreamCa};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::apply;
use crate::attestors::Issuers;
use crate::commit::Live;
use crate::digest::sha256;
use crate::env::Env;
use crate::erase;
use crate::error::{EngineError, Result};
use crate::followers::Register;
use crate::keys;
use crate::nodes::Nodes;
use crate::observe::Observer;
use crate::refusals::Refusals;
use crate::retention::Retention;
use crate::seal::open_dir;
use crate::svids::Svids;
use crate::witness::Witnesses;

/// How to open a state directory.
#[derive(Clone, Debug)]
pub struct Options {
    /// The trust domain of a new directory; an old one keeps its own.
    pub trust_domain: TrustDomain,
    /// The first person of a new directory.
    pub administrator: PersonId,
    /// The issuer of tokens (RFC 8414 `issuer`), also the audience of client assertions.
    pub issuer: String,
    /// How long signing keys live, and how they follow each other.
    pub rotation: RotationPolicy,
    /// Who signs the trust domain's CAs; without, they sign themselves.
    pub upstream: Option<Arc<UpstreamCa>>,
    /// How long a node may show what it holds without hearing from this server.
    pub max_staleness: Ttl,
    /// The CAs whose certificates admit nodes; without, only join tokens do.
    pub node_roots: Option<Arc<PopVerifier>>,
    /// How long the contents of entries are kept; without, for good.
    pub retention: Option<Retention>,
}

impl Options {
    /// With keys that rotate by the default rules, below no upstream CA.
    pub fn new(trust_domain: TrustDomain, administrator: PersonId, issuer: String) -> Self {
        Self {
            trust_domain,
            administrator,
            issuer,
            rotation: RotationPolicy::default(),
            upstream: None,
            max_staleness: Ttl::from_seconds(60),
            node_roots: None,
            retention: None,
        }
    }
}

/// Marque at work on one state directory.
#[derive(Debug)]
pub struct Engine {
    pub(crate) env: Env,
    pub(crate) options: Options,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) authority: ArcSwap<AuthoritySet>,
    pub(crate) foreign: RwLock<BundleSet>,
    pub(crate) issuers: RwLock<Issuers>,
    /// Counts up whenever a bundle changes, or what is tainted.
    pub(crate) bundles_changed: watch::Sender<u64>,
    pub(crate) signer: Signer,
    pub(crate) policy: ArcSwap<Snapshot>,
    pub(crate) gateway: String,
    pub(crate) views: Views,
    pub(crate) vault: Arc<Vault>,
    pub(crate) observer_id: ObserverId,
    pub(crate) observer: Observer,
    pub(crate) refusals: Refusals,
    pub(crate) svids: Svids,
    pub(crate) nodes: Nodes,
    pub(crate) tiles: Arc<Mutex<Tiles>>,
    /// Who cosigns the checkpoints, where anybody does.
    pub(crate) witnesses: OnceLock<Arc<Witnesses>>,
    pub(crate) ended: watch::Sender<u64>,
    /// Counts up whenever identities change, or which of them are active.
    pub(crate) entries: watch::Sender<u64>,
    /// When the last checkpoint was signed, in microseconds by the clock.
    pub(crate) published: AtomicI64,
    /// When old entries may be let go again, in microseconds of the engine's time.
    pub(crate) pruned: AtomicI64,
    /// One change of files and log together at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// How the followers that run are doing.
    pub(crate) exports: Register,
    live: RwLock<Live>,
    /// The latest moment at which anything was to be changed, or the start, in microseconds: time does not go back behind it.
    pub(crate) moment: AtomicI64,
    log: Arc<Log>,
    /// Last, so that its lock is let go only after the log's writer has ended.
    pub(crate) dir: StateDir,
}

impl Engine {
    /// Opens the directory, makes what is missing, and replays what is there.
    pub async fn open(root: &Path, env: Env, options: Options) -> Result<Arc<Self>> {
        let dir = open_dir(root)?;
        let trust_domain = match dir.read(TRUST_DOMAIN_FILE)? {
            Some(bytes) => String::from_utf8_lossy(&bytes).trim().parse()?,
            None => {
                dir.write(TRUST_DOMAIN_FILE, format!("{}\n", options.trust_domain).as_bytes())?;
                options.trust_domain.clone()
            }
        };
        let origin = origin(&trust_domain);
        let gateway = trust_domain.join("/marque/gateway")?.to_string();
        let now = env.clock.now();
        let authority = keys::authorities(&dir, &trust_domain, &options, now)?;
        let foreign = keys::foreign_bundles(&dir)?;
        let signer = keys::log_signer(&dir, &origin, &env)?;
        let vault = Arc::new(Vault::open(&dir.subjects(), &*keys::vault_key(&dir, &env)?)?);
        let observer_id = keys::observer(&dir, &env, now)?;
        let tiles = Tiles::open(&dir.ledger(), &origin)?;
        let log = Arc::new(Log::open(&dir.segments(), tiles.head().size)?);
        let tiles = Arc::new(Mutex::new(tiles));
        let views = Views::open(&dir.views(), Arc::clone(&vault), Arc::clone(&log), Arc::clone(&tiles))?;
        views.catch_up()?;
        let moment = views.last_moment()?.max(now);
        let mut live = replay(&views, observer_id, moment)?;
        if erase::finish(&dir, &vault, &views, &live.state)? {
            live = replay(&views, observer_id, moment)?;
        }
        let snapshot = apply::snapshot_of(&live.state)?;
        let engine = Arc::new(Self {
            env,
            options,
            trust_domain,
            authority: ArcSwap::from_pointee(authority),
            foreign: RwLock::new(foreign),
            issuers: RwLock::default(),
            bundles_changed: watch::channel(0).0,
            signer,
            policy: ArcSwap::from_pointee(snapshot),
            gateway,
            views,
            vault,
            observer_id,
            observer: Observer::default(),
            refusals: Refusals::default(),
            svids: Svids::default(),
            nodes: Nodes::default(),
            tiles,
            witnesses: OnceLock::new(),
            ended: watch::channel(0).0,
            entries: watch::channel(0).0,
            published: AtomicI64::new(i64::MIN),
            pruned: AtomicI64::new(i64::MIN),
            changing: tokio::sync::Mutex::default(),
            exports: Register::default(),
            live: RwLock::new(live),
            moment: AtomicI64::new(moment.micros()),
            log,
            dir,
        });
        engine.begin().await?;
        engine.settle_abandoned().await?;
        engine.write_verifier()?;
        Ok(engine)
    }

    /// The first events of a new log, in one append: its trust domain, the policies in force, its first person.
    async fn begin(&self) -> Result<()> {
        let (trust_domain, policy, people) = {
            let state = self.state();
            (state.trust_domain.is_none(), state.policy.is_none(), state.people.is_empty())
        };
        let mut first = Vec::new();
        if trust_domain {
            first.push(Body::LogStarted { trust_domain: self.trust_domain.clone() });
        }
        if policy {
            first.push(Body::PolicyActivated { files: Vec::new(), digest: apply::policy_digest(&[]) });
        }
        if people {
            let person = self.options.administrator.clone();
            let (_, credential) = self.write_credential(&person)?;
            self.dir.write("people/default", format!("{}\n", person.name()).as_bytes())?;
            first.push(Body::PersonAdded { person, credential });
        }
        self.commit(By::System, |_, _| Ok(((), first))).await
    }

    /// Makes a person known and writes their bootstrap credential to a private file of the state directory.
    pub async fn add_person(&self, by: By, person: &PersonId) -> Result<PathBuf> {
        let _one_at_a_time = self.changing.lock().await;
        if self.state().people.contains_key(person) {
            return Err(EngineError::Invalid(format!("`{person}` is known already")));
        }
        self.not_erased(&self.state(), person)?;
        // The file first: a credential that the log does not know opens nothing.
        let (file, credential) = self.write_credential(person)?;
        let body = Body::PersonAdded { person: person.clone(), credential };
        self.commit(by, |_, _| Ok(((), vec![body]))).await?;
        Ok(file)
    }

    /// A fresh credential of 256 random bits in a person's file, and its digest.
    fn write_credential(&self, person: &PersonId) -> Result<(PathBuf, Digest)> {
        let mut secret = Zeroizing::new([0; 32]);
        self.env.entropy.fill(secret.as_mut_slice());
        let text = Zeroizing::new(hex::encode(secret.as_slice()));
        let name = format!("people/{}.token", person.name());
        self.dir.write(&name, text.as_bytes())?;
        Ok((self.dir.root().join(name), sha256(text.as_bytes())))
    }

    /// The log's public key, beside the log, for `marque ledger verify`.
    fn write_verifier(&self) -> Result<()> {
        let text = format!("{}\n", self.signer.verifier());
        if self.dir.read("ledger/verifier")?.as_deref() != Some(text.as_bytes()) {
            self.dir.write("ledger/verifier", text.as_bytes())?;
        }
        Ok(())
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The issuer of tokens.
    pub fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// The resource that task tokens are for (RFC 8707): the gateway, by a name that no address changes.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        self.dir.root()
    }

    /// What Marque knows now.
    pub fn state(&self) -> StateGuard<'_> {
        StateGuard::of(&self.live)
    }

    /// Counts up whenever something may have lost its authority: a revocation, the end of a task or an instance.
    pub fn watch_ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Counts up whenever a process may be another identity than it was: an identity was changed, suspended or activated.
    pub fn watch_entries(&self) -> watch::Receiver<u64> {
        self.entries.subscribe()
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tiles(&self) -> MutexGuard<'_, Tiles> {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state, for reading. Not to be held across an `await`, and one at a time: whoever reads the lock twice waits for ever
/// behind a writer that came between.
pub struct StateGuard<'a>(RwLockReadGuard<'a, Live>);

thread_local! {
    /// Whether this thread reads the state.
    static READS: Cell<bool> = const { Cell::new(false) };
}

impl<'a> StateGuard<'a> {
    fn of(live: &'a RwLock<Live>) -> Self {
        debug_assert!(!READS.replace(true), "the state is read twice at once");
        Self(live.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for StateGuard<'_> {
    fn drop(&mut self) {
        READS.set(false);
    }
}

impl std::ops::Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0.state
    }
}

/// The log's origin (tlog-checkpoint): a name without a scheme.
pub(crate) fn origin(trust_domain: &TrustDomain) -> String {
    format!("{trust_domain}/marque/log")
}

/// INVARIANT (I6 the ledger is the history): the state is the fold of the events. They are read back from the views, which
/// keep each with what the vault can still read of it; views that are missing or not whole were projected again before this.
fn replay(views: &Views, observer: ObserverId, now: Timestamp) -> Result<Live> {
    let mut live = Live { state: State::default(), iseq: views.last_of(observer)? };
    views.replay(|event| live.state.apply(event))?;
    live.state.usage.clear();
    for (task, calls) in views.usage()? {
        live.state.count(&task, calls);
    }
    live.state.forget(now);
    Ok(live)
}

const TRUST_DOMAIN_FILE: &str = "trust-domain";
