//! `marque witness`: a server that cosigns the checkpoints of logs, each only if it continues the one before. `marque root` is
//! one too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Router;
use marque_engine::{Env, Witness};
use marque_ledger::Verifier;
use marque_server::{http, tcp_connections};
use serde_json::json;
use tokio::net::TcpListener;

use crate::args::{CosignerArgs, KeyCommand, WitnessArgs};
use crate::failure::{Failure, Result};
use crate::output::{Output, Tone};
use crate::serve::asked_to_stop;

pub async fn witness(args: WitnessArgs, output: &Output) -> Result<()> {
    if let Some(KeyCommand::Key) = args.command {
        let key = Witness::key_in(args.cosigner.dir()?, &Env::system(), args.cosigner.name.as_deref())?;
        output.show(&json!({ "key": key }), || output.line(&key));
        return Ok(());
    }
    super::log_to_stderr();
    let Cosigner { dir, name, logs } = Cosigner::try_from(args.cosigner)?;
    let (listener, address) = bind(args.listen).await?;
    let witness = Witness::open(&dir, Env::system(), name.as_deref(), &logs)?;
    let (key, asked) = (witness.key(), asked_to_stop()?);
    output.show(&json!({ "listen": address, "key": key, "logs": names(&logs) }), || {
        output.line(format!("{} the witness is ready", output.paint(Tone::Good, "✓")));
        show(output, &address, &key, &logs);
    });
    serve(listener, marque_server::witness::router(witness), asked).await;
    Ok(())
}

/// What a server that cosigns needs to be told.
pub struct Cosigner {
    pub dir: PathBuf,
    pub name: Option<String>,
    pub logs: Vec<Verifier>,
}

impl CosignerArgs {
    /// Where the keys are kept.
    pub fn dir(&self) -> Result<&Path> {
        self.dir.as_deref().ok_or_else(|| Failure::input("say with --dir where the keys are kept"))
    }
}

impl TryFrom<CosignerArgs> for Cosigner {
    type Error = Failure;

    fn try_from(args: CosignerArgs) -> Result<Self> {
        let dir = args.dir()?.to_owned();
        let CosignerArgs { name, logs, .. } = args;
        if logs.is_empty() {
            return Err(Failure::input("name the key of at least one log with --log: it stands in `ledger/verifier` of a log"));
        }
        Ok(Self { dir, name, logs })
    }
}

/// Listens, and says where.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind(address).await.map_err(|e| Failure::failed(format!("cannot listen on `{address}`: {e}")))?;
    let address = format!("http://{}", listener.local_addr()?);
    Ok((listener, address))
}

/// What both kinds say when they are ready.
pub fn show(output: &Output, address: &str, key: &str, logs: &[Verifier]) {
    output.line(format!("  address  {address}"));
    output.line(format!("  key      {key}"));
    for log in names(logs) {
        output.line(format!("  log      {log}"));
    }
}

pub fn names(logs: &[Verifier]) -> Vec<&str> {
    logs.iter().map(Verifier::name).collect()
}

/// Serves until it is asked to stop.
pub async fn serve(listener: TcpListener, router: Router, asked: impl Future<Output = ()>) {
    tokio::select! {
        () = tcp_connections(listener, |stream| http(stream, router.clone())) => {}
        () = asked => {}
    }
}
