//! Listening and serving: Unix sockets whose peers the kernel names, and HTTP over any stream.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use marque_engine::Process;
use nix::errno::Errno;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerPidfd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tower_service::Service;

/// The process at the other end of a Unix socket, as the kernel saw it connect (`SO_PEERCRED`, `SO_PEERPIDFD`).
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its process, and none that gets its number later.
    pub process: Process,
    /// Its user.
    pub uid: u32,
}

/// The peer of a connection, or nothing when the kernel does not name one, or when it has ended already.
pub fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let cred = stream.peer_cred().ok()?;
    let pid = u32::try_from(cred.pid()?).ok()?;
    let process = match getsockopt(stream, PeerPidfd) {
        Ok(pidfd) => Process::held(pid, pidfd),
        // Before Linux 6.5. Whoever gets its number between its connection and this line is taken for it.
        Err(Errno::ENOPROTOOPT) => Process::open(pid).ok()?,
        Err(_) => return None,
    };
    Some(Peer { process, uid: cred.uid() })
}

/// Listens on a Unix socket with these permissions. A socket file that nobody listens on is replaced.
pub fn bind_unix(path: &Path, mode: u32) -> std::io::Result<UnixListener> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        let why = format!("the path of a socket has at most {MAX_SOCKET_PATH} bytes: choose a shorter state directory");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, why));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::AddrInUse,
            format!("`{}` is in use by another process", path.display()),
        ));
    }
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Accepts connections for good, each handed to `handle` on a task of its own.
pub async fn unix_connections<F>(listener: UnixListener, handle: impl Fn(UnixStream, Peer) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(peer) = peer_of(&stream) {
                    tokio::spawn(handle(stream, peer));
                }
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Accepts connections for good, each handed to `handle` on a task of its own.
pub async fn tcp_connections<F: Future<Output = ()> + Send + 'static>(listener: TcpListener, handle: impl Fn(TcpStream) -> F) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(handle(stream));
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Out of file descriptors, say: the listener goes on when there are some again.
pub(crate) async fn pause_after(error: &std::io::Error) {
    tracing::error!("a connection was not accepted: {error}");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

/// Serves HTTP/1.1 and HTTP/2 on one stream until it ends.
pub async fn http<S, B>(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S)
where
    S: Service<::http::Request<Incoming>, Response = ::http::Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1024).max_header_list_size(MAX_HEAD as u32);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await {
        tracing::debug!("a connection ended: {error}");
    }
}

const MAX_SOCKET_PATH: usize = 107;
const MAX_HEAD: usize = 64 << 10;
const HEADER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
