//! The beat of a server: what happens because time passes, on a thread that gives way to those that serve.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use marque_engine::Engine;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::failure::{Failure, Result};

/// The thread; it ends when this is dropped.
pub struct Beat(Sender<oneshot::Sender<marque_engine::Result<()>>>);

impl Beat {
    /// Starts it, within a runtime.
    pub fn start(engine: &Arc<Engine>) -> Result<Self> {
        let (ask, asked) = channel::<oneshot::Sender<_>>();
        let (engine, runtime) = (Arc::clone(engine), Handle::current());
        let run = move || {
            give_way();
            for done in asked {
                // Whoever asked may have gone with the server.
                let _ = done.send(runtime.block_on(engine.tick()));
            }
        };
        std::thread::Builder::new().name("beat".into()).spawn(run)?;
        Ok(Self(ask))
    }

    /// Lets time pass once, and waits until it has.
    pub async fn once(&self) -> Result<()> {
        let ended = || Failure::failed("the thread on which time passes has ended");
        let (done, ticked) = oneshot::channel();
        self.0.send(done).map_err(|_| ended())?;
        Ok(ticked.await.map_err(|_| ended())??)
    }
}

/// Tiles and views can be a little late, and answers should not. Threads that this one starts give way, too.
fn give_way() {
    let this = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(this), NICENESS) {
        tracing::debug!("tiles and views are made with the priority of answers: {error}");
    }
}

/// A third of the share that a thread which serves gets while both want the processor (sched(7)).
const NICENESS: i32 = 5;
