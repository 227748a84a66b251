//! Launches: the sockets of one `marque run`. They serve the launched processes and nobody else, and end with them.

mod brought;
mod record;
mod refused;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use marque_core::id::LeaseId;
use marque_engine::{Connections, Engine, EngineError, Launch, Process, parent_of};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::agent;
use crate::authority::AnyAuthority;
use crate::serve::{bind_unix, http, pause_after, unix_connections};

/// What stands behind the listener of a launch: the gateway.
pub trait Door: Send + Sync + 'static {
    /// Serves one connection of an attested instance until it ends.
    fn serve(&self, stream: TcpStream, lease: LeaseId) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The addresses that a launched process is given. None is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doorway {
    /// `SPIFFE_ENDPOINT_SOCKET`: `unix:///…`.
    pub workload_api: String,
    /// The gateway's address: `http://127.0.0.1:…`. An isolated launch has none here: it brings its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// An isolated launch: the Unix socket on which its first process hands over a listener on the loopback of its own
    /// network namespace, where the gateway then serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<PathBuf>,
}

/// All launches.
pub struct Launches {
    engine: Arc<Engine>,
    dir: PathBuf,
    door: Arc<dyn Door>,
    running: Mutex<HashMap<u32, Launch>>,
}

impl std::fmt::Debug for Launches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Launches({})", self.dir.display())
    }
}

impl Launches {
    /// Launches with their sockets in `dir`.
    pub fn new(engine: Arc<Engine>, dir: PathBuf, door: Arc<dyn Door>) -> Self {
        Self { engine, dir, door, running: Mutex::default() }
    }

    /// The launch that a process belongs to: that of the nearest launcher above it.
    pub fn of(&self, pid: u32) -> Option<Launch> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_empty() {
            return None;
        }
        let above = |pid: &u32| parent_of(*pid).ok().filter(|parent| *parent > 1);
        let mut ancestors = std::iter::successors(above(&pid), above).take(MAX_ANCESTORS);
        ancestors.find_map(|ancestor| running.get(&ancestor).cloned())
    }

    /// Opens the sockets of a launch. They close when the launcher ends.
    ///
    /// An isolated launch is in a network namespace of its own, where no address of this server can be reached: it hands
    /// over a listener instead.
    pub async fn open(self: &Arc<Self>, launch: Launch, isolated: bool) -> Result<Doorway, EngineError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source: std::io::Error| EngineError::Read { what, source }
        };
        let path = self.dir.join(format!("{}.sock", launch.pid));
        let socket = bind_unix(&path, 0o600).map_err(failed("the launch's socket"))?;
        let gate = path.with_extension("gate");
        let entry = Entry::open(&gate, isolated).await.map_err(failed("the launch's gateway"))?;
        let held = pidfd(launch.pid).map_err(failed("the launcher"))?;
        let workload_api = format!("unix://{}", path.display());
        let doorway = Doorway { workload_api, gateway: entry.address(), hand_over: isolated.then(|| gate.clone()) };

        let launches = Arc::clone(self);
        let pid = launch.pid;
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, launch.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = workload_connections(Arc::clone(&launches.engine), socket, launch.clone()) => {}
                () = Arc::clone(&launches).gateway_connections(entry, launch) => {}
                _ = held.readable() => {}
            }
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_file(&gate);
            launches.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        });
        Ok(doorway)
    }

    async fn gateway_connections(self: Arc<Self>, entry: Entry, launch: Launch) {
        let (listener, connections) = entry.listener(&launch).await;
        let connections = Arc::new(connections);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (launches, launch, connections) = (Arc::clone(&self), launch.clone(), Arc::clone(&connections));
                    tokio::spawn(async move { launches.admit(stream, connections, &launch).await });
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Serves one connection: the gateway, for the instance that its process is, or the one answer that everyone else gets,
    /// 403 and no more.
    async fn admit(&self, stream: TcpStream, connections: Arc<Connections>, launch: &Launch) {
        let _ = stream.set_nodelay(true);
        let error = if record::is_asked(&stream).await {
            match self.owner(&stream, connections, launch).await {
                Ok(_) => return record::serve(stream, Arc::clone(&self.engine), launch.task).await,
                Err(error) => error,
            }
        } else {
            match self.attested(&stream, connections, launch).await {
                Ok(lease) => return self.door.serve(stream, lease).await,
                Err(error) => error,
            }
        };
        tracing::warn!(launcher = launch.pid, "a connection was refused: {}", error.chain());
        refused::answer(stream).await;
    }

    /// Whose connection it is: that of a launched process, attested now.
    async fn attested(&self, stream: &TcpStream, connections: Arc<Connections>, launch: &Launch) -> Result<LeaseId, EngineError> {
        let owner = self.owner(stream, connections, launch).await?;
        let seen = self.engine.look(&Process::open(owner)?).await?;
        let instance = self.engine.attest(seen, Some(launch)).await?;
        self.engine.gateway_session(&instance, launch.task).await
    }

    /// The launched process at the other end of a connection.
    async fn owner(&self, stream: &TcpStream, connections: Arc<Connections>, launch: &Launch) -> Result<u32, EngineError> {
        let unknown = || EngineError::Forbidden("the connection comes from no launched process".into());
        let (Ok(SocketAddr::V4(theirs)), Ok(SocketAddr::V4(ours))) = (stream.peer_addr(), stream.local_addr()) else {
            return Err(unknown());
        };
        let launch = launch.clone();
        let look = tokio::task::spawn_blocking(move || {
            connections.owner(theirs, ours, launch.pid).ok().flatten().filter(|owner| launch.holds(*owner))
        });
        look.await.ok().flatten().ok_or_else(unknown)
    }
}

/// How the processes of a launch get to the gateway.
enum Entry {
    /// By a listener of this server.
    Own(TcpListener, SocketAddr, Connections),
    /// By the listener that is handed over here.
    Brought(UnixListener),
}

impl Entry {
    async fn open(gate: &Path, isolated: bool) -> std::io::Result<Self> {
        if isolated {
            return bind_unix(gate, 0o600).map(Self::Brought);
        }
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        Ok(Self::Own(listener, address, Connections::around(std::process::id())?))
    }

    fn address(&self) -> Option<String> {
        match self {
            Self::Own(_, address, _) => Some(format!("http://{address}")),
            Self::Brought(_) => None,
        }
    }

    /// The listener, with the connections of its network namespace.
    async fn listener(self, launch: &Launch) -> (TcpListener, Connections) {
        match self {
            Self::Own(listener, _, connections) => (listener, connections),
            Self::Brought(gate) => brought::listener(&gate, launch).await,
        }
    }
}

async fn workload_connections(engine: Arc<Engine>, listener: UnixListener, launch: Launch) {
    unix_connections(listener, |stream, peer| {
        http(AnyAuthority::new(stream), agent::service(Arc::clone(&engine), peer, Some(launch.clone())))
    })
    .await;
}

/// A descriptor that becomes readable when the process ends.
#[expect(deprecated, reason = "`AsyncFd::new` is deprecated for borrowed descriptors; this one is owned")]
fn pidfd(pid: u32) -> std::io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    let pid =
        i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or_else(|| std::io::Error::other("no process"))?;
    AsyncFd::new(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

const MAX_ANCESTORS: usize = 64;
