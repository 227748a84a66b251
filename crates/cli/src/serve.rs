//! `marque serve`: one process with every surface and the gateway.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use marque_core::id::LeaseId;
use marque_engine::{Engine, KeyKind, Options};
use marque_gateway::{Gateway, Peer as GatewayPeer};
use marque_server::api::{Api, router};
use marque_server::broker::Brokers;
use marque_server::launch::{Door, Launches};
use marque_server::tls::Tls;
use marque_server::{AnyAuthority, agent, bind_unix, http, oauth_router, tcp_connections, unix_connections};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::ServeArgs;
use crate::beat::Beat;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::output::{Output, Tone};
use crate::place::{About, At, api_socket, credential_file, reach, served};
use crate::{experimental, exports, files, trust, witnesses};

/// Where a server listens, printed when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    pub state: String,
    #[serde(default)]
    pub trust_domain: String,
    /// The person whom the command line takes when nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_person: Option<String>,
    /// The file with that person's credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_file: Option<String>,
    pub api: String,
    pub workload_api: String,
    pub issuer: String,
    pub gateway: String,
    pub console: String,
    /// The published log on plain HTTP, where that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
    /// The SPIFFE Broker API, where that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
}

/// Serves until SIGTERM, ctrl-c, or until the log stops.
pub async fn serve(state: &Path, args: &ServeArgs, output: &Output) -> Result<()> {
    // A file-size limit is an error of a write, as a full disk is, and not the end of the process without a word.
    let _limit = signal(SignalKind::from_raw(SIGXFSZ))?;
    let config = Config::read(args)?;
    About::read(state)?.check(state, args, &config)?;
    if UnixStream::connect(api_socket(state)).await.is_ok() {
        return Err(served(state));
    }
    let control = listen(config.listen, "the token endpoint's address", "--listen").await?;
    let gateway = listen(config.gateway, "the gateway's address", "--gateway").await?;
    let console = listen(config.console, "the console's address", "--console").await?;
    let ledger = match config.ledger {
        Some(address) => Some(listen(address, "the ledger's address", "--ledger").await?),
        None => None,
    };
    let issuer = config.issuer.clone().unwrap_or(format!("https://{}", control.local_addr()?));
    let mut options = Options::new(config.trust_domain.clone(), config.administrator.clone(), issuer.clone());
    (options.rotation, options.upstream) = (config.authority.rotation()?, config.authority.upstream()?);
    config.experimental.set(&mut options.rotation);
    config.node.set(&mut options)?;
    options.retention = config.retention.map(|retention| retention.rule()).transpose()?;
    let web = config.web.as_ref().map(|web| web.open(&config.names)).transpose()?;
    let At::Here(engine) = reach(state, || Ok(Some(options.clone()))).await? else { return Err(served(state)) };
    trust::follow(&engine, &config.federation, &config.oidc)?;
    let workload_path = config.workload_socket.clone().unwrap_or_else(|| state.join("workload.sock"));
    let api = api_socket(state);
    let api = bind_unix(&api, 0o600)
        .map_err(|e| Failure::failed(format!("cannot listen on `{}`, the API's socket: {e}", api.display())))?;
    let workload_socket = files::listen(&workload_path, "the Workload API's socket")?;
    let broker = match &config.broker {
        Some(broker) => Some(broker.listen(engine.trust_domain()).await?),
        None => None,
    };
    let tls = Tls::new(Arc::clone(&engine), &config.names)?;
    let front = web.map(|web| tls.with_web(web)).transpose()?;
    let shown: Vec<&Tls> = std::iter::once(&tls).chain(&front).collect();
    let door = Gateway::new(Arc::clone(&engine));
    let run = state.join("run");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&run)?;
    let launches = Arc::new(Launches::new(Arc::clone(&engine), std::path::absolute(run)?, Arc::new(GatewayDoor(door.clone()))));

    let about = About::read(state)?;
    let credential = about.first_person.as_ref().map(|name| credential_file(state, name)).filter(|file| file.exists());
    let addresses = Addresses {
        state: state.display().to_string(),
        trust_domain: engine.trust_domain().to_string(),
        first_person: about.first_person,
        credential_file: credential.map(|file| file.display().to_string()),
        api: api_socket(state).display().to_string(),
        workload_api: format!("unix://{}", std::path::absolute(&workload_path)?.display()),
        issuer,
        gateway: format!("https://{}", gateway.local_addr()?),
        console: format!("http://{}", console.local_addr()?),
        ledger: match &ledger {
            Some(listener) => Some(format!("http://{}/ledger", listener.local_addr()?)),
            None => None,
        },
        broker: broker.as_ref().map(experimental::BrokerListener::address).transpose()?,
    };
    let allowed = config.broker.as_ref().map(|broker| broker.allow.clone()).unwrap_or_default();
    let brokers = Brokers::new(Arc::clone(&engine), Some(Arc::clone(&launches)), allowed);
    if let Some(policy) = &config.witness_policy {
        witnesses::ask(engine.ask_witnesses(&witnesses::read_policy(policy)?)?)?;
    }
    let published = marque_server::ledger::router(engine.published_log());
    let window = marque_console::router(Arc::clone(&engine));
    // They end with this function.
    let _exports = exports::start(&engine, &config.export).await?;
    let asked = asked_to_stop()?;
    ready(&addresses, output);
    tokio::select! {
        () = unix_connections(api, |stream, peer| {
            let api = Api { engine: Arc::clone(&engine), launches: Some(Arc::clone(&launches)) };
            http(stream, router(api, Some(peer)))
        }) => {}
        () = unix_connections(workload_socket, |stream, peer| {
            let launch = launches.of(peer.process.pid());
            http(AnyAuthority::new(stream), agent::service(Arc::clone(&engine), peer, launch))
        }) => {}
        () = token_endpoint(control, front.as_ref().unwrap_or(&tls), &engine, &published) => {}
        () = mutual_tls(gateway, &tls, &door) => {}
        () = tcp_connections(console, |stream| http(stream, window.clone())) => {}
        () = plain_ledger(ledger, &published) => {}
        () = experimental::serve(broker, &tls, &brokers) => {}
        stopped = time(&engine, &shown, &door) => stopped?,
        () = rotation(&engine, KeyKind::X509) => {}
        () = rotation(&engine, KeyKind::Jwt) => {}
        () = rotation(&engine, KeyKind::Wit) => {}
        () = asked => {}
    }
    // What is cut off here loses nothing: what was answered is durable.
    engine.publish_last().await?;
    Ok(())
}

async fn listen(address: SocketAddr, what: &str, option: &str) -> Result<TcpListener> {
    let failed = |e| Failure::failed(format!("cannot listen on `{address}`, {what}: {e}; {option} names another"));
    TcpListener::bind(address).await.map_err(failed)
}

fn ready(addresses: &Addresses, output: &Output) {
    output.show(addresses, || {
        output.line(format!("{} marque is ready", output.paint(Tone::Good, "✓")));
        output.line(format!("  state           {}", addresses.state));
        output.line(format!("  trust domain    {}", addresses.trust_domain));
        if let Some(person) = &addresses.first_person {
            let file =
                addresses.credential_file.as_ref().map_or_else(String::new, |file| format!(", whose credential is in {file}"));
            output.line(format!("  first person    {person}{file}"));
        }
        output.line(format!("  Workload API    {}", addresses.workload_api));
        output.line(format!("  token endpoint  {}/oauth/token", addresses.issuer));
        output.line(format!("  gateway         {}/mcp/<service>", addresses.gateway));
        output.line(format!("  console         {}", addresses.console));
        if let Some(ledger) = &addresses.ledger {
            output.line(format!("  ledger          {ledger}/checkpoint"));
        }
        if let Some(broker) = &addresses.broker {
            output.line(format!("  Broker API      {broker}"));
        }
    });
}

/// Lets time pass, twice a second. A log that has stopped ends the process: nothing may happen unrecorded.
async fn time(engine: &Arc<Engine>, shown: &[&Tls], door: &Gateway) -> Result<()> {
    let mut interval = tokio::time::interval(Duration::from_millis(500));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut bundles = engine.watch_bundles();
    let time = Beat::start(engine)?;
    for beat in 1_u64.. {
        interval.tick().await;
        // Ticking writes files: off the threads that serve.
        time.once().await?;
        door.sweep().await;
        shown.iter().for_each(|tls| tls.refresh_web());
        if beat % RENEW_BEATS == 0 || bundles.has_changed().unwrap_or(false) {
            bundles.mark_unchanged();
            shown.iter().try_for_each(|tls| tls.renew())?;
        }
    }
    Ok(())
}

/// Lets the keys of a kind follow each other, for good. What fails is tried again, at growing distances; a device that hangs
/// holds up the keys that it is to sign, and nothing else.
async fn rotation(engine: &Arc<Engine>, kind: KeyKind) {
    let mut pause = FIRST_PAUSE;
    loop {
        let is_done = engine.rotate(kind).await.unwrap_or_else(|error| {
            tracing::error!("keys could not be changed: {}", error.chain());
            false
        });
        if is_done {
            pause = FIRST_PAUSE;
        }
        tokio::time::sleep(pause).await;
        if !is_done {
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn token_endpoint(listener: TcpListener, tls: &Tls, engine: &Arc<Engine>, published: &Router) {
    tcp_connections(listener, |stream| {
        let (tls, engine, published) = (tls.clone(), Arc::clone(engine), published.clone());
        async move {
            match tls.accept(stream).await {
                Ok((stream, client)) => {
                    let nodes = marque_server::node::router(Arc::clone(&engine), client.node);
                    http(stream, oauth_router(engine, client.workload).merge(nodes).merge(published)).await;
                }
                Err(error) => tracing::debug!("a TLS connection was refused: {error}"),
            }
        }
    })
    .await;
}

async fn mutual_tls(listener: TcpListener, tls: &Tls, door: &Gateway) {
    tcp_connections(listener, |stream| {
        let (tls, door) = (tls.clone(), door.clone());
        async move {
            match tls.accept(stream).await {
                // The token says whether it still counts; the connection says whose key it is bound to.
                Ok((stream, client)) => match client.thumbprint {
                    Some(thumbprint) => door.serve(stream, GatewayPeer::Tls { thumbprint }).await,
                    None => tracing::debug!("a TLS connection without a certificate was refused"),
                },
                Err(error) => tracing::debug!("a TLS connection was refused: {error}"),
            }
        }
    })
    .await;
}

/// The published log on plain HTTP, if that is asked for.
async fn plain_ledger(listener: Option<TcpListener>, published: &Router) {
    match listener {
        Some(listener) => tcp_connections(listener, |stream| http(stream, published.clone())).await,
        None => std::future::pending().await,
    }
}

/// Waits for SIGTERM or ctrl-c. Who says that it is ready calls this before: from the call on, neither ends the process.
pub fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The gateway behind a launch's own listener.
struct GatewayDoor(Gateway);

impl Door for GatewayDoor {
    fn serve(&self, stream: TcpStream, lease: LeaseId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let gateway = self.0.clone();
        Box::pin(async move { gateway.serve(stream, GatewayPeer::Session(lease)).await })
    }
}

const SIGXFSZ: i32 = 25;

/// Twenty minutes, of a certificate's hour.
const RENEW_BEATS: u64 = 2 * 60 * 20;
/// How often keys are looked at, and how long it takes until what failed is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
