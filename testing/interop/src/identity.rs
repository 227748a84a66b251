//! SPIFFE clients in Go and Java, Envoy, and the crate `spiffe`'s own tests: each an agent of its own, told apart by its
//! executable.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::fault::{Fault, Heard, Result, need};
use crate::process::Server;
use crate::python::hear;
use crate::site::Site;
use crate::world::{GO, GO_PEER, JAVA, World};

/// go-spiffe fetches all that the Workload API gives; what it may not have, it does not get.
pub fn go(world: &World) -> Result<Heard> {
    let denied = hear(go_program(world, "stranger")?.arg("denied"))?;
    let fetched = hear(go_program(world, GO)?.args(["fetch", &id(GO)]))?;
    Ok(Heard::by(fetched.version, json!({ "fetch": fetched.seen, "denied": denied.seen })))
}

/// go-spiffe's experimental WIT-SVIDs; a server that does not serve them says so.
pub fn go_wit(world: &World) -> Result<Heard> {
    let fetched = hear(go_program(world, GO)?.args(["wit", &id(GO)]))?;
    let denied = hear(go_program(world, "stranger")?.arg("denied-wit"))?;
    let (plain, addresses) = world.plain()?;
    let none = hear(go_program(world, GO)?.arg("no-wit").env(SOCKET, &addresses.workload_api))?;
    drop(plain);
    Ok(Heard::by(fetched.version, json!({ "fetch": fetched.seen, "denied": denied.seen, "none": none.seen })))
}

/// Two attested Go processes by mutual TLS: the right peer, and a wrong one refused.
pub fn go_mtls(world: &World) -> Result<Heard> {
    let (server, address) = go_server(world, GO_PEER, "3")?;
    let dialled = hear(go_program(world, GO_PEER)?.args(["dial", &id(GO_PEER), &id(GO), &address, WRONG]))?;
    drop(server);
    Ok(dialled)
}

/// A watcher sees what a rotation by command changes; and handshakes under load do not fail meanwhile.
pub fn go_rotation(world: &World) -> Result<Heard> {
    let (server, address) = go_server(world, GO_PEER, "0")?;
    let mut watch = go_program(world, GO)?;
    // An authority that is activated replaces no SVID before its half life; a tainted one does at once.
    watch.args(["watch", &id(GO), "2", "60"]);
    let watcher = Server::start("go watcher", &mut watch, world.dir())?;
    let begun = watcher.line()?;
    need(begun.contains("\"ready\""), format!("the watcher: {begun}"))?;
    let mut load = go_program(world, GO_PEER)?;
    load.args(["load", &id(GO_PEER), &id(GO), &address, "15"]);
    let load = Server::start("go load", &mut load, world.dir())?;
    let keys = world.marque(&["authority", "list"], "")?;
    let is_signing = |key: &&Value| key.get("kind") == Some(&json!("x509")) && key.get("phase") == Some(&json!("active"));
    let key = keys.as_array().and_then(|keys| keys.iter().find(is_signing)).and_then(|key| key.get("id")?.as_str());
    let key = key.ok_or_else(|| Fault::new(format!("no active key in `{keys}`")))?;
    for verb in [&["prepare", "x509"][..], &["activate", "x509"], &["taint", "x509", key]] {
        world.marque(&[&["authority"], verb, &["--why", "interop"]].concat(), "")?;
        // Bundles are handed out over some seconds; each change is to be seen as one of its own.
        std::thread::sleep(std::time::Duration::from_secs(6));
    }
    let seen: Value = serde_json::from_str(&watcher.line()?)?;
    need(seen.get("ok") == Some(&json!(true)), format!("the watcher: {seen}"))?;
    let loaded: Value = serde_json::from_str(&load.line()?)?;
    need(loaded.get("ok") == Some(&json!(true)), format!("the load: {loaded}"))?;
    drop(server);
    let version = seen.get("version").and_then(Value::as_str).map(str::to_owned);
    Ok(Heard::by(version, json!({ "watch": seen.get("seen"), "load": loaded.get("seen") })))
}

/// go-spiffe's federation client against our bundle endpoint.
pub fn go_federation(world: &World) -> Result<Heard> {
    let url = format!("{}/spiffe/bundle", world.site.addresses.issuer);
    hear(go_program(world, GO)?.args(["federation", DOMAIN, &url, "spiffe://example.org/marque"]))
}

/// java-spiffe fetches all that the Workload API gives.
pub fn java(world: &World) -> Result<Heard> {
    hear(java_program(world)?.args(["fetch", &id(JAVA)]))
}

/// An attested Java process and an attested Go one by mutual TLS.
pub fn java_mtls(world: &World) -> Result<Heard> {
    let (_server, address) = go_server(world, JAVA, "3")?;
    hear(java_program(world)?.args(["dial", &id(JAVA), &id(GO), &address, WRONG]))
}

/// Envoy takes its certificate and its roots by SDS, and speaks mutual TLS both ways.
pub fn envoy(world: &World) -> Result<Heard> {
    hear(envoy_client(world, &world.site)?.args(["talk", &id(crate::world::PYTHON), &id(crate::world::ENVOY)]))
}

/// Envoy goes on with its next certificate while requests come: it has the second within half the life of the first.
pub fn envoy_rotation(world: &World) -> Result<Heard> {
    let brief = Site::brief(&world.site.binary, world.dir())?;
    hear(envoy_client(world, &brief)?.args(["rotate", &id(crate::world::PYTHON), &id(crate::world::ENVOY), "2", "25"]))
}

fn envoy_client(world: &World, site: &Site) -> Result<Command> {
    let mut command = Command::new(world.python()?);
    command.arg(clients().with_file_name("envoy").join("envoy_client.py")).env(SOCKET, &site.addresses.workload_api);
    Ok(command)
}

/// The crate's own Workload API tests, from the source that cargo has fetched.
pub fn own_tests(world: &World) -> Result<Heard> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(world.python()?);
    command.arg(clients().join("spiffe_own_tests.py")).arg(repository);
    command.arg(world.dir().join("spiffe-own")).arg(world.program("myservice")).arg(world.workload_socket());
    hear(&mut command)
}

fn go_server(world: &World, client: &str, count: &str) -> Result<(Server, String)> {
    let mut serve = go_program(world, GO)?;
    serve.args(["serve", &id(GO), &id(client), count]);
    let server = Server::start("go server", &mut serve, world.dir())?;
    let address = ready(&server)?;
    Ok((server, address))
}

/// The address in the line that a server prints when it is ready.
fn ready(server: &Server) -> Result<String> {
    let line = server.line()?;
    let ready: Value = serde_json::from_str(&line)?;
    let address = ready.get("ready").and_then(|r| r.as_str().or_else(|| r.get("address")?.as_str()));
    address.map(str::to_owned).ok_or_else(|| Fault::new(format!("no address in `{line}`")))
}

/// The Go program, at the path of one identity.
fn go_program(world: &World, identity: &str) -> Result<Command> {
    let path = world.program(identity);
    if !path.is_file() {
        // What no identity has as its selector is a stranger.
        std::fs::copy(built("MARQUE_GO_SPIFFE")?.join("spiffe"), &path)?;
    }
    let mut command = Command::new(path);
    command.env(SOCKET, &world.site.addresses.workload_api);
    Ok(command)
}

fn java_program(world: &World) -> Result<Command> {
    let mut command = Command::new("java");
    command.arg("-jar").arg(built("MARQUE_JAVA")?).env(SOCKET, &world.site.addresses.workload_api);
    Ok(command)
}

/// Where `cargo xtask interop` has built something.
pub fn built(name: &str) -> Result<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).ok_or_else(|| Fault::new(format!("`{name}` does not name what was built")))
}

fn id(name: &str) -> String {
    format!("spiffe://{DOMAIN}/{name}")
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

const DOMAIN: &str = "example.org";
const WRONG: &str = "spiffe://example.org/agent/nobody";
const SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
