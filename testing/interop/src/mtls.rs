//! The crate `spiffe-rustls`: mutual TLS between two attested processes, each of which knows the other by its SPIFFE ID.

use std::process::{Command, ExitCode};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use serde_json::json;
use spiffe::{X509Source, X509SourceBuilder};
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fault::{Fault, Heard, Result, need};
use crate::process::{Server, renamed};
use crate::workload::{OWN, runtime};
use crate::world::{PEER, World};

/// The word that makes this program the peer; behind it the Workload API's socket and the only client that it serves.
pub const PEER_WORD: &str = "mtls-peer";

/// Runs the judge: the right peer is greeted, a wrong one is refused by either side.
pub fn judge(world: &World) -> Result<Heard> {
    let socket = world.site.addresses.workload_api.as_str();
    let (_peer, address) = peer(world, socket, OWN)?;
    let (_other, refusing) = peer(world, socket, WRONG)?;
    runtime()?.block_on(async {
        let seen = dial(socket, &address, PEER_ID).await?;
        need(seen == GREETING, format!("the peer says `{seen}`"))?;
        let unknown = refused(dial(socket, &address, WRONG).await, "a peer of another identity")?;
        let stranger = refused(dial(socket, &refusing, PEER_ID).await, "a peer that expects another client")?;
        Ok(Heard::seen(json!({ "peer": PEER_ID, "wrong_peer": unknown, "wrong_client": stranger })))
    })
}

/// The whole of the peer's process: it greets every client that may come, until it is ended.
pub fn serve(socket: &str, client: &str) -> ExitCode {
    match runtime().and_then(|runtime| runtime.block_on(greet(socket, client))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn peer(world: &World, socket: &str, client: &str) -> Result<(Server, String)> {
    let mut command = Command::new(renamed(world.program(PEER))?);
    let process = Server::start("mtls-peer", command.args([PEER_WORD, socket, client]), world.dir())?;
    let address = process.line()?;
    Ok((process, address))
}

fn refused(outcome: Result<String>, what: &str) -> Result<String> {
    match outcome {
        Ok(said) => Err(Fault::new(format!("{what} was not refused, and said `{said}`"))),
        Err(fault) => Ok(fault.to_string()),
    }
}

async fn source(socket: &str) -> Result<X509Source> {
    Ok(X509SourceBuilder::new().endpoint(socket).build().await?)
}

async fn greet(socket: &str, client: &str) -> Result<()> {
    let config = mtls_server(source(socket).await?).authorize(authorizer::exact([client])?).build()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        // One that may not come is no reason to end.
        if let Ok(mut stream) = acceptor.accept(stream).await {
            stream.write_all(GREETING.as_bytes()).await?;
            stream.shutdown().await?;
        }
    }
}

/// What the process at an address says, if it is who it has to be.
async fn dial(socket: &str, address: &str, expected: &str) -> Result<String> {
    let config = mtls_client(source(socket).await?).authorize(authorizer::exact([expected])?).build()?;
    let stream = TcpStream::connect(address).await?;
    // SPIFFE IDs are checked, and no DNS name.
    let name = ServerName::try_from("peer.example")?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said)
}

const PEER_ID: &str = "spiffe://example.org/agent/rustls-peer";
const WRONG: &str = "spiffe://example.org/agent/somebody-else";
const GREETING: &str = "good day";
