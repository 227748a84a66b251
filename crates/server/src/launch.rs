//! Launches: the sockets of one `marque run`. They serve the launched processes and nobody else, and end with them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use marque_core::id::LeaseId;
use marque_engine::{Engine, EngineError, Launch, owner_of_connection};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::authority::AnyAuthority;
use crate::serve::{bind_unix, http, pause_after, unix_connections};
use crate::agent;

/// What stands behind the listener of a launch: the gateway.
pub trait Door: Send + Sync + 'static {
    /// Serves one connection of an attested instance until it ends.
    fn serve(&self, stream: TcpStream, lease: LeaseId) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The addresses that a launched process is given. Neither is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doorway {
    /// `SPIFFE_ENDPOINT_SOCKET`: `unix:///…`.
    pub workload_api: String,
    /// The gateway's address: `http://127.0.0.1:…`.
    pub gateway: String,
}

/// All launches.
pub struct Launches {
    engine: Arc<Engine>,
    dir: PathBuf,
    door: Arc<dyn Door>,
    running: Mutex<HashMap<u32, tokio::task::AbortHandle>>,
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

    /// Opens the sockets of a launch. They close when the launcher ends.
    pub async fn open(self: &Arc<Self>, launch: Launch) -> Result<Doorway, EngineError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source: std::io::Error| EngineError::Read { what, source }
        };
        let path = self.dir.join(format!("{}.sock", launch.pid));
        let socket = bind_unix(&path, 0o600).map_err(failed("the launch's socket"))?;
        let gateway =
            TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(failed("the launch's gateway"))?;
        let address = gateway.local_addr().map_err(failed("the launch's gateway"))?;
        let held = pidfd(launch.pid).map_err(failed("the launcher"))?;
        let doorway = Doorway { workload_api: format!("unix://{}", path.display()), gateway: format!("http://{address}") };

        let launches = Arc::clone(self);
        let pid = launch.pid;
        let serving = tokio::spawn(async move {
            tokio::select! {
                () = workload_connections(Arc::clone(&launches.engine), socket, launch.clone()) => {}
                () = Arc::clone(&launches).gateway_connections(gateway, launch) => {}
                _ = held.readable() => {}
            }
            let _ = std::fs::remove_file(&path);
            launches.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, serving.abort_handle());
        Ok(doorway)
    }

    async fn gateway_connections(self: Arc<Self>, listener: TcpListener, launch: Launch) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (launches, launch) = (Arc::clone(&self), launch.clone());
                    tokio::spawn(async move {
                        match launches.attested(&stream, &launch).await {
                            Ok(lease) => launches.door.serve(stream, lease).await,
                            Err(error) => tracing::warn!(launcher = launch.pid, "a connection was refused: {}", error.chain()),
                        }
                    });
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Whose connection it is: that of a launched process, attested now.
    async fn attested(&self, stream: &TcpStream, launch: &Launch) -> Result<LeaseId, EngineError> {
        let unknown = || EngineError::Forbidden("the connection comes from no launched process".into());
        let _ = stream.set_nodelay(true);
        let (Ok(SocketAddr::V4(theirs)), Ok(SocketAddr::V4(ours))) = (stream.peer_addr(), stream.local_addr()) else {
            return Err(unknown());
        };
        let engine = Arc::clone(&self.engine);
        let launcher = launch.pid;
        let look = tokio::task::spawn_blocking(move || {
            let owner = owner_of_connection(theirs, ours, launcher).ok().flatten().ok_or_else(unknown)?;
            engine.look(owner)
        });
        let seen = look.await.map_err(|_| unknown())??;
        let instance = self.engine.attest(seen, Some(launch)).await?;
        self.engine.gateway_session(&instance, launch.task).await
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
