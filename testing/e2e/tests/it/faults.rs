//! Disks that fail: an error of a sync, no room in the middle of a write, bits that rot, and what a failed sync has forgotten.
//!
//! The library of `faults/disk.c` stands between a server and the system. It fails one call, once, so that whoever tries again
//! is told that all is well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::load::Over;
use crate::process::{PATIENCE, Running, finish, until};
use crate::wire::Api;
use crate::world::{World, files};

/// One call that fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: &'static str,
    /// Which files it is about.
    files: &'static str,
    error: i32,
    /// After how many that succeed.
    after: u32,
    /// What the server says in the end.
    said: &'static str,
}

const SYNC: Fault = Fault { call: "fdatasync", files: LOG, error: EIO, after: 0, said: "Input/output error" };
const WRITE: Fault = Fault { call: "pwrite", files: LOG, error: ENOSPC, after: 0, said: "No space left on device" };

#[test]
fn a_disk_that_fails_stops_the_server_is_not_tried_again_and_loses_nothing() {
    let world = World::with_example();
    let (disk, key) = (Disk::new(&world), world.pinned_key());
    let mut acknowledged = BTreeSet::new();
    let head = Fault { call: "fsync", files: "/ledger/.head", ..SYNC };
    let tiles = Fault { call: "syncfs", files: "/ledger/", ..SYNC };
    let in_use = |fault: Fault| [1, 25].map(|after| Fault { after, ..fault });
    for fault in [SYNC, WRITE, head, tiles].into_iter().chain([SYNC, WRITE].into_iter().flat_map(in_use)) {
        let (before, callers) = (world.head(), Callers::default());
        let mut server = world.try_serve(disk.under(&world, fault));
        let ready = server.line().is_some();
        if ready {
            callers.load(&world.state(), || assert!(until(PATIENCE, || server.has_ended()), "{fault:?}: the server goes on"));
        }
        assert_eq!(server.wait().code(), Some(1), "{fault:?}: {}", world.log_text());
        let log = world.log_text();
        let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!((last["code"].as_u64(), log.contains(fault.said)), (Some(1), true), "{fault:?}: {log}");
        disk.nothing_after_the_failure(fault);
        if fault.files == LOG {
            let refused = callers.refused.load(Ordering::SeqCst) > 0;
            assert_eq!(refused, ready, "{fault:?}: a log that cannot be opened answers nobody, one that stops says so");
            assert!(ready || fault.after == 0, "{fault:?}: {log}");
        } else {
            assert_eq!(world.head(), before, "{fault:?}: a head was published over what is not durable");
        }
        acknowledged.extend(callers.acknowledged());

        let mut server = world.serve();
        world.verified(&key);
        world.keeps(&acknowledged, &format!("{fault:?}"));
        world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "the disk is well again"]).must(0, &[]);
        assert!(server.stop().success(), "{fault:?}: {}", world.log_text());
    }
    assert!(acknowledged.len() > 20, "too little was acknowledged to show anything: {}", acknowledged.len());
}

/// After a sync that failed the system takes what was written for clean: it is read back as if all were well, no later sync
/// writes it, and a loss of power takes it away, from under everything that was acknowledged since.
#[test]
fn what_a_failed_sync_has_forgotten_is_written_again_before_anything_follows_it() {
    let world = World::with_example();
    let (mut disk, key) = (Disk::new(&world), world.pinned_key());
    let on_disk = disk.with_shadow(&world);
    let callers = Callers::default();
    let mut server = world.try_serve(disk.under(&world, Fault { after: 10, ..SYNC }));
    assert!(server.line().is_some(), "no server: {}", world.log_text());
    callers.load(&world.state(), || assert!(until(PATIENCE, || server.has_ended())));
    server.wait();
    assert!(used(&world.state().join("log")) > used(&on_disk), "nothing was forgotten, so nothing is shown");
    let mut acknowledged = callers.acknowledged();

    let callers = Callers::default();
    let mut server = world.try_serve(disk.under(&world, NONE));
    assert!(server.line().is_some(), "no server: {}", world.log_text());
    callers.load(&world.state(), || {
        let reached = until(PATIENCE, || callers.acknowledged().len() >= 20);
        server.kill();
        assert!(reached, "only {} were acknowledged", callers.acknowledged().len());
    });
    acknowledged.extend(callers.acknowledged());

    // The power goes: what is in memory goes with it.
    std::fs::remove_dir_all(world.state().join("log")).unwrap();
    copy(&on_disk, &world.state().join("log"));
    let mut server = world.serve();
    world.verified(&key);
    world.keeps(&acknowledged, "after the loss of power");
    assert!(server.stop().success());
}

#[test]
fn a_rotten_bit_in_a_published_file_is_found_and_the_log_does_not_fork() {
    let world = World::with_example();
    let key = world.pinned_key();
    let mut server = world.serve();
    let callers = Callers::default();
    callers.load(&world.state(), || assert!(until(PATIENCE, || callers.acknowledged().len() >= 300)));
    world.verified(&key);
    let verify = || world.run(&["--json", "ledger", "verify", "--key-file", &key]);
    // Files that nobody writes again.
    for name in ["tile/0/000", "tile/entries/000"] {
        let path = world.state().join("ledger").join(name);
        flip(&path);
        assert_ne!(verify().code, Some(0), "`{name}` is rotten, and nobody finds it");
        // The log goes on over the entries as they were.
        let head = world.head();
        world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "over rotten tiles"]).must(0, &[]);
        assert!(until(PATIENCE, || world.head() > head), "`{name}`: {}", world.log_text());
        let said = verify();
        assert!(said.code != Some(0) && said.all().contains(name), "{said:?}");
        flip(&path);
        world.verified(&key);
    }
    assert!(server.stop().success());
    let partial = files(&world.state().join("ledger/tile")).into_iter().filter(|path| path.to_str().unwrap().contains(".p/"));
    let newest = partial.chain([world.state().join("ledger/checkpoint"), world.state().join("ledger/head")]);
    for path in newest.collect::<Vec<_>>() {
        let before = std::fs::read(world.state().join("ledger/checkpoint")).unwrap();
        flip(&path);
        let is_found = verify().code != Some(0);
        assert!(is_found || path.ends_with("head"), "`{}` is rotten, and nobody finds it", path.display());
        let mut server = world.try_serve(world.serve_command());
        if server.line().is_some() {
            // The next head takes its place.
            world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "after bit rot"]).must(0, &[]);
            assert!(server.stop().success(), "{}", world.log_text());
        } else {
            assert_eq!(server.wait().code(), Some(1), "{}", world.log_text());
            flip(&path);
        }
        assert!(world.head() >= size_in(&before), "the head went back");
        let said = verify();
        assert_eq!(said.code, Some(0), "after `{}`: {said:?}\n{}", path.display(), world.log_text());
    }
}

#[test]
fn of_servers_that_start_at_once_one_serves() {
    let world = World::with_example();
    let key = world.pinned_key();
    let log = |n: usize| world.dir().join(format!("serve{n}.log"));
    let mut servers: Vec<Running> = (0..6).map(|n| Running::start(world.serve_command(), &log(n))).collect();
    let ready: Vec<bool> = servers.iter().map(|server| server.line().is_some()).collect();
    assert_eq!(ready.iter().filter(|ready| **ready).count(), 1, "{ready:?}");
    world.run(&["task", "start", "--as", "agent/researcher", "--purpose", "asked of the one"]).must(0, &["started task_"]);
    world.verified(&key);
    for (n, server) in servers.iter_mut().enumerate() {
        if ready[n] {
            assert!(server.stop().success());
        } else {
            assert_eq!(server.wait().code(), Some(1));
            let said = std::fs::read_to_string(log(n)).unwrap();
            assert!(said.contains("is already served") || said.contains("does not answer on"), "{said}");
        }
    }
}

/// The library, built for this machine.
struct Disk {
    shim: PathBuf,
    trace: PathBuf,
    shadow: Option<PathBuf>,
}

impl Disk {
    #[track_caller]
    fn new(world: &World) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/disk.c");
        let shim = world.dir().join("disk.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl");
        finish(compiler, "").must(0, &[]);
        Self { shim, trace: world.dir().join("trace"), shadow: None }
    }

    /// From now on, what is durable of the log's segments stands in a folder of its own.
    fn with_shadow(&mut self, world: &World) -> PathBuf {
        let shadow = world.dir().join("shadow");
        copy(&world.state().join("log"), &shadow);
        self.shadow = Some(shadow.clone());
        shadow
    }

    /// The command that serves on this disk.
    fn under(&self, world: &World, fault: Fault) -> Command {
        let _ = std::fs::remove_file(&self.trace);
        let mut command = world.serve_command();
        command.env("LD_PRELOAD", &self.shim).env("FAULT_TRACE", &self.trace);
        command.env("FAULT_CALL", fault.call).env("FAULT_PATH", fault.files);
        command.env("FAULT_ERRNO", fault.error.to_string()).env("FAULT_AFTER", fault.after.to_string());
        command.env("FAULT_SHADOW", self.shadow.as_deref().unwrap_or(Path::new("")));
        command
    }

    /// The call that failed was made, and none after it on the same files.
    #[track_caller]
    fn nothing_after_the_failure(&self, fault: Fault) {
        let trace = std::fs::read_to_string(&self.trace).unwrap_or_default();
        if fault.call == "syncfs" {
            // The kernel refuses it, and writes down nothing.
            return;
        }
        let calls: Vec<&str> = trace.lines().collect();
        assert!(!calls.is_empty(), "{fault:?}: the library was not loaded");
        let failed = format!("{} -1", fault.call);
        assert_eq!(calls.iter().position(|call| *call == failed), calls.len().checked_sub(1), "{fault:?}: {calls:?}");
    }
}

/// What many callers at once were told.
#[derive(Debug, Default)]
struct Callers {
    tasks: Mutex<BTreeSet<String>>,
    refused: AtomicUsize,
}

impl Callers {
    fn acknowledged(&self) -> BTreeSet<String> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts tasks on many connections while `meanwhile` runs, or until the server is gone.
    fn load(&self, state: &Path, meanwhile: impl FnOnce()) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| self.connection(state, &over));
            }
            // Also when it panics: else the threads would never end.
            let _ends = Over(&over);
            meanwhile();
        });
    }

    fn connection(&self, state: &Path, over: &AtomicBool) {
        let Ok(mut api) = Api::connect(state) else { return };
        let request = json!({ "identity": "agent/researcher", "purpose": "x".repeat(400) });
        while !over.load(Ordering::Relaxed) {
            // Once one was refused, whatever is asked from then on is refused.
            let is_over = self.refused.load(Ordering::SeqCst) > 0;
            let Ok(reply) = api.post("/v1/tasks", &request) else { return };
            if reply.status == 200 {
                assert!(!is_over, "acknowledged after a refusal: {reply:?}");
                let id = reply.json()["id"].as_str().unwrap().to_owned();
                self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            } else {
                assert_eq!(reply.status, 500, "{reply:?}");
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Copies the segments in a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for path in segments(from) {
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "segment")).collect()
}

/// Up to where the segments in a folder hold anything.
fn used(folder: &Path) -> usize {
    let end = |path: &PathBuf| std::fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap_or(0);
    segments(folder).iter().map(end).sum()
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// The size in the bytes of a checkpoint.
fn size_in(checkpoint: &[u8]) -> u64 {
    String::from_utf8_lossy(checkpoint).lines().nth(1).unwrap().parse().unwrap()
}

const NONE: Fault = Fault { call: "", ..SYNC };
/// The files of the log that hold anything; others are being prepared beside them.
const LOG: &str = ".segment";
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const CONNECTIONS: usize = 8;
