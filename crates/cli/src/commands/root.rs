//! `marque root`: a witness that keeps what it cosigned as the entries of a log of its own, which others witness in turn.

use std::sync::Arc;
use std::time::Duration;

use marque_engine::{Env, RootLog};
use marque_server::{ledger, witness};
use serde_json::json;

use super::witness::{Cosigner, bind, names, serve, show};
use crate::args::{KeyCommand, RootArgs};
use crate::failure::Result;
use crate::output::{Output, Tone};
use crate::serve::asked_to_stop;
use crate::witnesses;

pub async fn root(args: RootArgs, output: &Output) -> Result<()> {
    if let Some(KeyCommand::Key) = args.command {
        let (key, log) = RootLog::keys_in(args.cosigner.dir()?, &Env::system(), args.cosigner.name.as_deref())?;
        output.show(&json!({ "key": key, "log_key": log }), || {
            output.line("# as a witness");
            output.line(&key);
            output.line("# of its own log");
            output.line(&log);
        });
        return Ok(());
    }
    super::log_to_stderr();
    let Cosigner { dir, name, logs } = Cosigner::try_from(args.cosigner)?;
    let (listener, address) = bind(args.listen).await?;
    let (root, feeder) = RootLog::open(&dir, Env::system(), name.as_deref(), &logs)?;
    if let Some(policy) = &args.witness_policy {
        witnesses::ask(root.ask_witnesses(&witnesses::read_policy(policy)?)?)?;
    }
    let (key, log_key) = (feeder.key(), root.key());
    let ready =
        json!({ "listen": address, "key": key, "log_key": log_key, "logs": names(&logs), "ledger": format!("{address}/ledger") });
    let asked = asked_to_stop()?;
    output.show(&ready, || {
        output.line(format!("{} the root log is ready", output.paint(Tone::Good, "✓")));
        show(output, &address, &key, &logs);
        output.line(format!("  log key  {log_key}"));
        output.line(format!("  ledger   {address}/ledger/checkpoint"));
    });
    let routes =
        witness::router(feeder).merge(witness::root_router(Arc::clone(&root))).merge(ledger::router(root.published_log()));
    tokio::select! {
        () = serve(listener, routes, asked) => {}
        stopped = publish(&root) => stopped?,
    }
    // What is cut off here loses nothing: what was answered is durable.
    root.publish()?;
    root.save()?;
    Ok(())
}

/// Publishes for good, each second at most. A log that has stopped ends the process.
async fn publish(root: &Arc<RootLog>) -> Result<()> {
    let mut interval = tokio::time::interval(Duration::from_millis(250));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let root = Arc::clone(root);
        tokio::task::spawn_blocking(move || root.publish()).await??;
    }
}
