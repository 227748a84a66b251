//! One simulated world: an engine, what is around it, and the steps that may be taken.

use std::path::Path;
use std::sync::Arc;

use marque_core::PersonId;
use marque_core::resource::{Action, ResourceId};
use marque_core::time::Timestamp;
use marque_engine::{Caller, Clock as _, Engine, Env, KeyKind, Options, Permit};

use crate::journal::{Checked, Journal, broken, must};
use crate::ledger::Ledger;
use crate::model::Model;
use crate::rng::{Rng, SimClock, SimEntropy};
use crate::words;

/// The world of one seed.
pub struct Sim<'a> {
    /// The choices.
    pub rng: Rng,
    /// What the simulator believes.
    pub model: Model,
    /// What was done.
    pub journal: &'a mut Journal,
    /// Permits that are neither settled nor dropped.
    pub permits: Vec<Permit>,
    /// What the published log has shown so far.
    pub ledger: Ledger,
    /// The views' database as it once was, for a crash that brings it back.
    pub old_views: Option<Vec<u8>>,
    /// Whether the segment keeps its full size over a crash, which is slow and the same for all.
    pub whole_segments: bool,
    /// All verbs on all things.
    pub points: Vec<(Action, ResourceId)>,
    /// The engine, but for the length of a crash.
    pub engine: Option<Arc<Engine>>,
    clock: Arc<SimClock>,
    env: Env,
    options: Options,
    dir: tempfile::TempDir,
}

impl<'a> Sim<'a> {
    /// Takes all steps of a seed.
    pub async fn run(seed: u64, journal: &'a mut Journal) -> Checked {
        journal.begin("open");
        let mut sim = Self::open(seed, journal).await?;
        sim.settle_in().await?;
        let steps = 60 + sim.rng.below(61);
        for _ in 0..steps {
            sim.clock.shift(sim.rng.below(12_000_000) as i64);
            let step = Step::random(&mut sim.rng);
            sim.take(step).await?;
        }
        sim.take(Step::Crash).await
    }

    async fn open(seed: u64, journal: &'a mut Journal) -> Checked<Self> {
        let mut rng = Rng::new(seed, 1);
        let start = START.saturating_add(i64::try_from(rng.below(86_400)).unwrap_or(0));
        let clock = Arc::new(SimClock::new(Timestamp::from_seconds(start)));
        let entropy = Arc::new(SimEntropy::new(Rng::new(seed, 2)));
        let env = Env { clock: clock.clone(), entropy };
        let trust_domain = must("sim", "naming the trust domain", words::TRUST_DOMAIN.parse())?;
        let options = Options::new(trust_domain, administrator(), words::ISSUER.into());
        let dir = must("sim", "making a directory", directory())?;
        let engine = must("sim", "opening a new directory", Engine::open(dir.path(), env.clone(), options.clone()).await)?;
        let mut model = Model::default();
        model.people.insert(administrator());
        Ok(Self {
            rng,
            model,
            journal,
            permits: Vec::new(),
            ledger: Ledger::default(),
            old_views: None,
            points: words::points(),
            whole_segments: seed.is_multiple_of(32),
            engine: Some(engine),
            clock,
            env,
            options,
            dir,
        })
    }

    /// People, identities, tools and a few agents at work, so that chance has something to go on.
    async fn settle_in(&mut self) -> Checked {
        for step in [Step::Person, Step::Person, Step::First, Step::Pin] {
            self.take(step).await?;
        }
        for _ in 0..3 {
            for step in [Step::Attest, Step::Certificate, Step::Start] {
                self.take(step).await?;
            }
        }
        Ok(())
    }

    /// Takes a step, and looks whether everything still holds.
    async fn take(&mut self, step: Step) -> Checked {
        self.journal.begin(step.as_str());
        let what = match step {
            Step::First => self.first_manifest().await?,
            Step::Apply => self.apply().await?,
            Step::Person => self.add_person().await?,
            Step::Start => self.start_task().await?,
            Step::Finish => self.finish_task().await?,
            Step::Move => self.move_identity().await?,
            Step::Revoke => self.revoke().await?,
            Step::Attest => self.attest().await?,
            Step::Certificate => self.certificate().await?,
            Step::Jwt => self.jwt_svid().await?,
            Step::Session => self.session().await?,
            Step::OwnToken => self.own_token().await?,
            Step::Child => self.child().await?,
            Step::Pin => self.pin().await?,
            Step::Authorize => self.authorize().await?,
            Step::Repeat => self.repeat().await?,
            Step::Settle => self.settle().await?,
            Step::Approve => self.approve().await?,
            Step::Refuse => self.refuse().await?,
            Step::Tick => self.tick().await?,
            Step::Jump => self.jump(),
            Step::Crash => self.crash().await?,
            Step::Twice => self.open_twice().await?,
        };
        self.journal.end(self.clock.now(), &what);
        self.always().await
    }

    async fn tick(&mut self) -> Checked<String> {
        let engine = self.engine()?;
        for kind in [KeyKind::X509, KeyKind::Jwt, KeyKind::Wit] {
            must("sim", "a rotation", engine.rotate(kind).await)?;
        }
        must("sim", "a tick", engine.tick().await)?;
        Ok(String::new())
    }

    /// Time jumps: hours ahead, or minutes back.
    fn jump(&mut self) -> String {
        let seconds = match self.rng.below(4) {
            0 => 60 * (30 + self.rng.below(240) as i64),
            1 | 2 => -(1 + self.rng.below(300) as i64),
            _ => 60 * (1 + self.rng.below(8) as i64),
        };
        self.clock.shift(seconds.saturating_mul(1_000_000));
        format!("{seconds} seconds")
    }

    /// The engine at work.
    pub fn engine(&self) -> Checked<Arc<Engine>> {
        match &self.engine {
            Some(engine) => Ok(Arc::clone(engine)),
            None => broken("sim", "the engine is closed"),
        }
    }

    /// Opens the directory once more, as after a start of the process.
    pub async fn start_engine(&self) -> marque_engine::Result<Arc<Engine>> {
        Engine::open(self.root(), self.env.clone(), self.options.clone()).await
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Something was acknowledged: the moment must not be forgotten.
    pub fn acknowledged(&mut self) -> Checked {
        let now = self.engine()?.now();
        self.model.latest = self.model.latest.max(now);
        Ok(())
    }

    /// Some person who is known.
    pub fn somebody(&mut self) -> Caller {
        let people: Vec<PersonId> = self.model.people.iter().cloned().collect();
        Caller::Person(self.rng.pick(&people).unwrap_or_else(administrator))
    }

    /// A check that does not hold ends the seed.
    pub fn check(&self, invariant: &'static str, holds: bool, what: impl FnOnce() -> String) -> Checked {
        self.journal.check(invariant, holds, what)
    }
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    First,
    Apply,
    Person,
    Start,
    Finish,
    Move,
    Revoke,
    Attest,
    Certificate,
    Jwt,
    Session,
    OwnToken,
    Child,
    Pin,
    Authorize,
    Repeat,
    Settle,
    Approve,
    Refuse,
    Tick,
    Jump,
    Crash,
    Twice,
}

impl Step {
    fn random(rng: &mut Rng) -> Self {
        let all: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.below(all);
        for (step, weight) in WEIGHTS {
            if left < weight {
                return step;
            }
            left -= weight;
        }
        Self::Tick
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::First => "apply first",
            Self::Apply => "apply",
            Self::Person => "add person",
            Self::Start => "start task",
            Self::Finish => "finish task",
            Self::Move => "move",
            Self::Revoke => "revoke",
            Self::Attest => "attest",
            Self::Certificate => "x509-svid",
            Self::Jwt => "jwt-svid",
            Self::Session => "session",
            Self::OwnToken => "own token",
            Self::Child => "child task",
            Self::Pin => "pin tools",
            Self::Authorize => "authorize",
            Self::Repeat => "repeat",
            Self::Settle => "settle",
            Self::Approve => "approve",
            Self::Refuse => "refuse",
            Self::Tick => "tick",
            Self::Jump => "time jumps",
            Self::Crash => "crash",
            Self::Twice => "double start",
        }
    }
}

/// How often each step is taken, in proportion.
const WEIGHTS: [(Step, u64); 22] = [
    (Step::Apply, 3),
    (Step::Person, 1),
    (Step::Start, 9),
    (Step::Finish, 2),
    (Step::Move, 4),
    (Step::Revoke, 5),
    (Step::Attest, 7),
    (Step::Certificate, 7),
    (Step::Jwt, 2),
    (Step::Session, 7),
    (Step::OwnToken, 8),
    (Step::Child, 10),
    (Step::Pin, 3),
    (Step::Authorize, 20),
    (Step::Repeat, 9),
    (Step::Settle, 7),
    (Step::Approve, 10),
    (Step::Refuse, 1),
    (Step::Tick, 6),
    (Step::Jump, 3),
    (Step::Crash, 3),
    (Step::Twice, 1),
];

/// The first person.
fn administrator() -> PersonId {
    words::person("alice")
}

/// A directory in memory where there is one: the simulation is about order, not about disks.
fn directory() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("marque-sim-");
        builder
    };
    if memory.is_dir() { builder().tempdir_in(memory) } else { builder().tempdir() }
}

/// Some day in 2025, in seconds since the Unix epoch.
const START: i64 = 1_760_000_000;
