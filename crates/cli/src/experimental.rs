//! Configuration of what is experimental: parts of the SPIFFE standard that still change.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_engine::{RotationPolicy, WIT_SVID_REVISION};
use marque_server::broker::{Brokers, REVISION};
use marque_server::tls::Tls;
use marque_server::{tcp_connections, unix_connections};
use serde::Deserialize;
use tokio::net::{TcpListener, UnixListener};

use crate::failure::{Failure, Result};
use crate::files;

/// `[experimental]`: each is off unless its value is the revision of the SPIFFE specifications that it follows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExperimentalConfig {
    /// WIT-SVIDs in the Workload API: `665a28f3`. Default: none.
    pub wit_svid: Option<String>,
    /// The SPIFFE Broker API, as `[broker]` says: `665a28f3`. Default: none.
    pub broker: Option<String>,
}

/// `[broker]`: where the SPIFFE Broker API is served, and for whom.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `unix:///absolute/path`, or `tcp://127.0.0.1:port`: what `SPIFFE_BROKER_SOCKET` is to be for its clients.
    pub socket: String,
    /// The SPIFFE IDs that may fetch the SVIDs of other workloads on this host, all of them, and nobody else may.
    pub allow: BTreeSet<SpiffeId>,
}

/// Where brokers connect.
pub enum BrokerListener {
    /// On a Unix socket.
    Unix(UnixListener),
    /// On loopback.
    Tcp(TcpListener),
}

impl ExperimentalConfig {
    /// Refuses another revision than those that are followed here, and a `[broker]` that is not switched on, or is missing.
    pub fn check(&self, broker: Option<&BrokerConfig>) -> Result<()> {
        for (name, asked, followed) in [("wit_svid", &self.wit_svid, WIT_SVID_REVISION), ("broker", &self.broker, REVISION)] {
            if let Some(other) = asked.as_deref().filter(|asked| *asked != followed) {
                return Err(Failure::input(format!(
                    "[experimental] {name}: this version follows revision `{followed}` of the SPIFFE specifications, not `{other}`: \
                     write `{name} = \"{followed}\"`, or leave it out"
                )));
            }
        }
        match (&self.broker, broker) {
            (Some(_), None) => Err(Failure::input("[experimental] broker: add `[broker]` with its `socket` and whom to `allow`")),
            (None, Some(_)) => Err(Failure::input(format!("[broker]: add `broker = \"{REVISION}\"` to `[experimental]`"))),
            (_, Some(broker)) => broker.address().map(|_| ()),
            (None, None) => Ok(()),
        }
    }

    /// Puts it into the rules of rotation: WIT-SVIDs have keys of their own.
    pub fn set(&self, rotation: &mut RotationPolicy) {
        rotation.wit = self.wit_svid.is_some();
    }
}

enum Address<'a> {
    Unix(&'a Path),
    Tcp(SocketAddr),
}

impl BrokerConfig {
    /// Begins to listen. Only workloads of this trust domain can be brokers.
    pub async fn listen(&self, trust_domain: &TrustDomain) -> Result<BrokerListener> {
        if let Some(other) = self.allow.iter().find(|id| id.trust_domain() != trust_domain) {
            return Err(Failure::input(format!("[broker] allow: `{other}` is not of this trust domain, `{trust_domain}`")));
        }
        match self.address()? {
            Address::Unix(path) => files::listen(path, "`[broker] socket`").map(BrokerListener::Unix),
            Address::Tcp(address) => {
                let failed = |e| Failure::failed(format!("cannot listen on `{address}`, `[broker] socket`: {e}"));
                TcpListener::bind(address).await.map(BrokerListener::Tcp).map_err(failed)
            }
        }
    }

    /// Broker Endpoint §4. Processes are those of this host, so that the endpoint is not for other hosts (Broker API §3.1.2).
    fn address(&self) -> Result<Address<'_>> {
        let wrong = |why: &str| Failure::input(format!("[broker] socket: `{}` {why}", self.socket));
        if let Some(path) = self.socket.strip_prefix("unix://") {
            let path = Path::new(path);
            return path.is_absolute().then_some(Address::Unix(path)).ok_or_else(|| wrong("has no absolute path"));
        }
        let address = self.socket.strip_prefix("tcp://").and_then(|text| text.parse::<SocketAddr>().ok());
        match address.ok_or_else(|| wrong("is neither `unix:///path` nor `tcp://127.0.0.1:port`"))? {
            address if address.ip().is_loopback() => Ok(Address::Tcp(address)),
            _ => Err(wrong("is not on loopback: process numbers count on this host only")),
        }
    }
}

impl BrokerListener {
    /// The address for `SPIFFE_BROKER_SOCKET` (Broker Endpoint §4).
    pub fn address(&self) -> std::io::Result<String> {
        match self {
            Self::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(PathBuf::from).unwrap_or_default();
                Ok(format!("unix://{}", path.display()))
            }
            Self::Tcp(listener) => Ok(format!("tcp://{}", listener.local_addr()?)),
        }
    }
}

/// Serves the Broker API, if that is asked for.
pub async fn serve(listener: Option<BrokerListener>, tls: &Tls, brokers: &Arc<Brokers>) {
    match listener {
        None => std::future::pending().await,
        Some(BrokerListener::Unix(listener)) => {
            unix_connections(listener, |stream, _| {
                let (tls, brokers) = (tls.clone(), Arc::clone(brokers));
                async move { brokers.serve(stream, &tls).await }
            })
            .await;
        }
        Some(BrokerListener::Tcp(listener)) => {
            tcp_connections(listener, |stream| {
                let _ = stream.set_nodelay(true);
                let (tls, brokers) = (tls.clone(), Arc::clone(brokers));
                async move { brokers.serve(stream, &tls).await }
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experimental(text: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            experimental: ExperimentalConfig,
            broker: Option<BrokerConfig>,
        }
        let file: File = toml::from_str(text).unwrap();
        file.experimental.check(file.broker.as_ref())
    }

    #[test]
    fn only_the_revision_that_is_followed_switches_something_on() {
        experimental("").unwrap();
        experimental("experimental.wit_svid = '665a28f3'").unwrap();
        for other in ["", "true", "665a28f", "665A28F3", "main"] {
            assert!(experimental(&format!("experimental.wit_svid = '{other}'")).is_err(), "{other}");
        }
        let broker = "[broker]\nsocket = 'unix:///run/b.sock'\nallow = ['spiffe://example.org/mesh']\n";
        let on = "experimental.broker = '665a28f3'\n";
        experimental(&format!("{on}{broker}")).unwrap();
        experimental(&format!("{on}{}", broker.replace("unix:///run/b.sock", "tcp://127.0.0.1:0"))).unwrap();
        assert!(experimental(on).is_err());
        assert!(experimental(broker).is_err());
        for socket in ["/run/b.sock", "unix://b.sock", "tcp://192.0.2.1:1", "tcp://localhost:1", "tcp://127.0.0.1:1/x"] {
            let moved = broker.replace("unix:///run/b.sock", socket);
            assert!(experimental(&format!("{on}{moved}")).is_err(), "{socket}");
        }
    }
}
