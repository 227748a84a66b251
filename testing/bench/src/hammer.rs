//! Tessera under its own load generator: the server of its conformance tests over the POSIX driver, and its hammer over HTTP.
//! Our log has no door to which anybody can post an entry, so that nothing of ours stands beside it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use marque_ledger::Signer;

use crate::measure::{Meter, now};
use crate::report::{Figure, shown};
use crate::{Bench, Result};

/// Takes the figure.
pub fn run(bench: &mut Bench) -> Result<()> {
    let Some(programs) = std::env::var_os("MARQUE_GO_HAMMER").map(PathBuf::from) else {
        let why = std::env::var_os("MARQUE_GO_HAMMER_MISSING").map(|why| why.to_string_lossy().into_owned());
        let seen = why.unwrap_or_else(|| "it was not built: `cargo xtask bench` builds it with Go".into());
        return bench.report.add(&Figure::new("peers/Tessera's hammer: not measured", f64::NAN, "").seen(seen));
    };
    let goal = bench.scale.pick(200_000, 5_000);
    let dir = bench.scratch("hammer")?;
    let log = dir.path().join("log");
    std::fs::create_dir(&log)?;
    let verifier = Signer::from_seed(ORIGIN, [7; 32])?.verifier().to_string();
    let address = free()?;
    let server = Server::start(&programs.join("posix"), &log, &verifier, address)?;
    let meter = Meter::own()?;
    let mut hammer = Command::new(programs.join("hammer"));
    hammer.args(["--log_public_key", &verifier, "--log_url", &format!("http://{address}"), "--show_ui=false"]);
    hammer.args(["--num_readers_random=0", "--num_readers_full=0", "--max_read_ops=0", "--max_write_ops=1000000"]);
    hammer.args(["--num_writers", &WRITERS.to_string(), "--leaf_min_size", &BYTES.to_string(), "--dup_chance=0"]);
    hammer.args(["--leaf_write_goal", &goal.to_string(), "--max_runtime=5m"]);
    let output = hammer.output()?;
    let cost = meter.read()?;
    let size = size(&log)?;
    drop(server);
    if !output.status.success() || size < goal {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the hammer ended with {} at {size} entries: {said}", output.status).into());
    }
    let name = format!("peers/{WRITERS} writers, Tessera under its hammer: rate");
    let seen = format!(
        "{} entries of {BYTES} B over HTTP; batches of 256 or 1 s, a checkpoint each second; it looks once a second whether it is done",
        shown(size as f64)
    );
    bench.report.add(&Figure::new(name, cost.rate(size), "entries/s").took(cost).seen(seen))
}

/// Tessera's server; dropping it ends it.
struct Server(Child);

impl Server {
    /// Starts it, and waits until it listens and has a first checkpoint.
    fn start(program: &Path, log: &Path, verifier: &str, address: SocketAddr) -> Result<Self> {
        let id = verifier.split('+').nth(1).ok_or("a verifier key has no id")?;
        let mut command = Command::new(program);
        // The key of the seed above, as Go's package `note` writes it: the type, 1, and 32 times 7, in base64.
        command.env("LOG_PRIVATE_KEY", format!("PRIVATE+KEY+{ORIGIN}+{id}+AQcH{}", "BwcH".repeat(10)));
        command.arg("--storage_dir").arg(log).args(["--listen", &address.to_string()]);
        let server = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let until = now() + PATIENCE;
        while TcpStream::connect(address).is_err() || size(log).is_err() {
            if now() > until {
                return Err("Tessera's server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The size in a log's checkpoint.
fn size(log: &Path) -> Result<u64> {
    let note = std::fs::read_to_string(log.join("checkpoint"))?;
    Ok(note.lines().nth(1).ok_or("the checkpoint has no size")?.parse()?)
}

/// An address that nobody listens at.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

const ORIGIN: &str = "bench.example/log";
const WRITERS: usize = 2048;
const BYTES: usize = 1400;
const PATIENCE: Duration = Duration::from_secs(20);
