//! Load: many callers that start tasks at once, and what they were told.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::process::finish;
use crate::wire::Api;
use crate::world::World;

/// The tasks that were acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledged(Mutex<Vec<String>>);

impl Acknowledged {
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn add(&self, task: &Value) {
        let id = task["id"].as_str().unwrap().to_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }
}

/// Starts tasks from many connections and from the command line while `meanwhile` runs, which ends the server at some
/// point. Gives every task whose start was acknowledged.
pub fn tasks(world: &World, meanwhile: impl FnOnce(&Acknowledged)) -> Vec<String> {
    let (acknowledged, over) = (Acknowledged::default(), AtomicBool::new(false));
    let state = world.state();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| connection(&state, &acknowledged, &over));
        }
        scope.spawn(|| command_line(world, &acknowledged, &over));
        // Also when it panics: else the threads would never end.
        let _ends = Over(&over);
        meanwhile(&acknowledged);
    });
    acknowledged.0.into_inner().unwrap()
}

/// One kept connection, until the server is gone or refuses.
fn connection(state: &Path, acknowledged: &Acknowledged, over: &AtomicBool) {
    let Ok(mut api) = Api::connect(state) else { return };
    // Long enough that a batch spans several blocks of the disk.
    let request = json!({ "identity": "agent/researcher", "purpose": "x".repeat(400) });
    while !over.load(Ordering::Relaxed) {
        match api.post("/v1/tasks", &request) {
            Ok(reply) if reply.status == 200 => acknowledged.add(&reply.json()),
            _ => return,
        }
    }
}

/// One command after the other. Without a server they work on the directory itself, and what they then say counts too.
fn command_line(world: &World, acknowledged: &Acknowledged, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let args = ["--json", "task", "start", "--as", "agent/researcher", "--purpose", "by the command line"];
        let said = finish(world.command(&args), "");
        if said.code == Some(0) {
            acknowledged.add(&serde_json::from_str(&said.out).unwrap());
        }
    }
}

/// Says, when it is dropped, that it is over.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const CONNECTIONS: usize = 8;
