//! A ledger's files: in a directory, or served under an address.

use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use marque_ledger::{LedgerError, LogFiles};
use marque_server::fetch::{is_loopback, system_tls};
use tokio::runtime::Handle;

use crate::failure::{Failure, Result};

/// Where a ledger is read from. Nothing that is read is trusted.
pub enum Ledger {
    Dir(PathBuf),
    Served(Box<Served>),
}

/// A ledger behind an address.
pub struct Served {
    /// With a slash at its end.
    prefix: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Ledger {
    /// The ledger that is served under this address. Plain HTTP stays on this machine.
    pub fn at(url: &str) -> Result<Self> {
        let bad = |why: &str| Failure::input(format!("--url: `{url}` {why}"));
        let uri: Uri = url.parse().map_err(|_| bad("is not an address"))?;
        let host = uri.host().ok_or_else(|| bad("names no host"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err(bad("is not on this machine: use `https://`")),
            _ => return Err(bad("is neither `https://` nor `http://`")),
        }
        let prefix = format!("{}/", url.trim_end_matches('/'));
        Ok(Self::Served(Box::new(Served { prefix, client: client()? })))
    }

    /// A small file as text, if it is there, or why it is of no use.
    pub fn text(&self, path: &str) -> std::result::Result<Option<String>, String> {
        let bytes = self.read(path).map_err(|error| error.to_string())?;
        bytes.map(String::from_utf8).transpose().map_err(|_| format!("`{path}` is not text"))
    }

    /// Where that is, in words.
    pub fn place(&self, path: &str) -> String {
        match self {
            Self::Dir(dir) => dir.join(path).display().to_string(),
            Self::Served(served) => format!("{}{path}", served.prefix),
        }
    }
}

impl LogFiles for Ledger {
    fn read(&self, path: &str) -> marque_ledger::Result<Option<Vec<u8>>> {
        let unreadable = |reason: String| LedgerError::Read { path: path.to_owned(), reason };
        match self {
            Self::Dir(dir) => match std::fs::read(dir.join(path)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(unreadable(e.to_string())),
            },
            Self::Served(served) => Handle::current().block_on(served.fetch(path)).map_err(unreadable),
        }
    }
}

impl Served {
    async fn fetch(&self, path: &str) -> std::result::Result<Option<Vec<u8>>, String> {
        let request = Request::get(format!("{}{path}", self.prefix)).body(Empty::new()).map_err(|e| e.to_string())?;
        let response = self.client.request(request).await.map_err(|e| marque_engine::describe(&e))?;
        match response.status() {
            StatusCode::OK => {
                let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|e| e.to_string())?;
                Ok(Some(body.to_bytes().to_vec()))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status => Err(format!("the server answered {status}")),
        }
    }
}

fn client() -> Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_tls_config(system_tls()?.as_ref().clone());
    Ok(Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().wrap_connector(http)))
}

/// More than any file of a ledger has: 256 entries of 64 KiB.
const MOST: usize = 17 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in ["http://127.0.0.1:8443/ledger/", "http://localhost/l", "http://[::1]:80", "https://log.example.org/ledger"] {
            assert!(Ledger::at(good).is_ok(), "{good}");
        }
        for bad in ["http://log.example.org/ledger/", "ftp://127.0.0.1/", "/ledger", "http://10.0.0.1/", "x y"] {
            assert!(Ledger::at(bad).is_err(), "{bad}");
        }
    }
}
