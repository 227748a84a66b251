//! Witnesses that lie: each is named, nothing of what it says is published, and the log goes on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use marque_ledger::{AddCheckpoint, Checkpoint, Hash, Note, Policy, WitnessSigner};

use crate::process::{PATIENCE, until};
use crate::witness::{ANY_PORT, Cosigner, get, log_key, serve, start_task, text, witnessed};
use crate::world::World;

/// What a witness answers in the place of the truth.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// A good cosignature, of a key that nobody asked.
    OtherKey,
    /// A cosignature of its own key, over another root.
    OtherRoot,
    /// That it cosigned more than the log has.
    Ahead,
    /// That it cosigned less than it said before.
    Rollback,
    /// That all is well, and no cosignature.
    Garbage,
    /// More than anybody would read.
    Flood,
    /// Nothing, on a connection that stays open.
    Silence,
}

#[test]
fn liars_alone_are_no_quorum_and_the_log_goes_on() {
    let world = World::with_example();
    let (log, liars) = (log_key(&world), LIES.map(Liar::start));
    let lines: String = liars.iter().map(|liar| liar.line.as_str()).collect();
    let policy = format!("log {log}\n{lines}group one any {}\nquorum one\n", LIES.map(|lie| format!("{lie:?}")).join(" "));
    let (mut server, ledger) = serve(&world, &policy);
    LIES.iter().for_each(|lie| is_named(&world, *lie));
    let warnings = || world.log_text().matches("a witness does not cosign").count();
    assert!(until(PATIENCE, || warnings() >= LIES.len()), "{}", world.log_text());

    for _ in 0..3 {
        start_task(&world);
        let entries = world.entries();
        assert!(until(PATIENCE, || world.head() >= entries), "{entries} entries are not published: {}", world.log_text());
    }
    let published = text(&get(&format!("{ledger}/checkpoint")));
    assert_eq!(Note::parse(&published).unwrap().signatures.len(), 1, "the log's own alone: {published}");
    assert_eq!(get(&format!("{ledger}/checkpoint.witnessed")).status, 404);
    assert!(world.json(&["status"])["witnessed"].is_null());
    verify(&world, &ledger, &policy, IN_DOUBT, &["✗ in doubt:", "✗ witnesses", "no cosignature of: OtherKey, OtherRoot"]);
    assert!(server.stop().success(), "also while one is waited for");
}

#[test]
fn one_honest_witness_beside_a_liar_is_a_quorum_of_one_of_two() {
    let world = World::with_example();
    let log = log_key(&world);
    let honest = Cosigner::witness(&world, "w1", ANY_PORT, &[&log]);
    for lie in LIES {
        let liar = Liar::start(lie);
        let rules = format!("group one any w1 {lie:?}\nquorum one\n");
        let policy = format!("log {log}\n{}{}{rules}", honest.line("w1"), liar.line);
        let (mut server, ledger) = serve(&world, &policy);
        let read: Policy = policy.parse().unwrap();
        for _ in 0..2 {
            start_task(&world);
            let entries = world.entries();
            // A line of the liar's that does not verify would refuse the note here.
            let covers = || witnessed(&ledger, &read) >= entries;
            assert!(until(PATIENCE, covers), "{lie:?}: {entries} entries are not witnessed: {}", world.log_text());
        }
        is_named(&world, lie);
        assert!(world.json(&["status"])["witnesses"][0]["error"].is_null(), "{lie:?}");
        for name in ["checkpoint", "checkpoint.witnessed"] {
            let published = text(&get(&format!("{ledger}/{name}")));
            let names: Vec<String> = Note::parse(&published).unwrap().signatures.into_iter().map(|line| line.name).collect();
            let is_known = |name: &String| log.starts_with(name.as_str()) || name == "witness.example/w1";
            assert!(names.iter().all(is_known), "{lie:?}: {published}");
        }

        verify(&world, &ledger, &policy, 0, &["✓ whole:", "✓ witnesses", "w1 cosigned"]);
        let alone = format!("log {log}\n{}quorum {lie:?}\n", liar.line);
        let missing = format!("no cosignature of: {lie:?}");
        verify(&world, &ledger, &alone, IN_DOUBT, &["✗ in doubt:", "✗ witnesses", &missing]);
        assert!(server.stop().success(), "{lie:?}: {}", world.log_text());
    }
}

/// A witness of C2SP that answers every request with the same lie.
struct Liar {
    /// Its line in a policy, in which the lie is its name.
    line: String,
}

impl Liar {
    fn start(lie: Lie) -> Self {
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let signer = Arc::new(WitnessSigner::from_seed(&format!("liar.example/{lie:?}"), [lie as u8 + 1; 32]).unwrap());
        let line = format!("witness {lie:?} {} {url}\n", signer.verifier());
        // It listens until the tests end.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let signer = Arc::clone(&signer);
                std::thread::spawn(move || lie.tell(&signer, stream.unwrap()));
            }
        });
        Self { line }
    }
}

impl Lie {
    /// One request, and the answer to it.
    fn tell(self, signer: &WitnessSigner, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let Some(body) = request(&mut reader) else { return };
        let Some((status, body)) = self.answer(signer, &body) else {
            // Whoever asked goes away at some point.
            let _ = reader.read_to_end(&mut Vec::new());
            return;
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        // It may have been read as far as anybody cares.
        let _ = reader.get_mut().write_all((head + &body).as_bytes());
    }

    /// The status and the body of the answer to an add-checkpoint request; nothing for silence.
    fn answer(self, signer: &WitnessSigner, body: &str) -> Option<(u16, String)> {
        let request: AddCheckpoint = body.parse().unwrap();
        let text = Note::parse(&request.checkpoint).unwrap().text;
        let head: Checkpoint = text.parse().unwrap();
        let cosigned = |by: &WitnessSigner, text: &str| format!("{}\n", by.cosign(text, TIME).unwrap());
        let stranger = WitnessSigner::from_seed("stranger.example/w", [99; 32]).unwrap();
        let less = if request.old_size == 0 { head.size } else { request.old_size } - 1;
        match self {
            Self::OtherKey => Some((200, cosigned(&stranger, &text))),
            Self::OtherRoot => Some((200, cosigned(signer, &Checkpoint { root: Hash([7; 32]), ..head }.body()))),
            Self::Ahead => Some((409, format!("{}\n", head.size + 1_000_000))),
            Self::Rollback => Some((409, format!("{less}\n"))),
            Self::Garbage => Some((200, "thank you, it is well kept\n".to_owned())),
            Self::Flood => Some((200, "more\n".repeat(100_000))),
            Self::Silence => None,
        }
    }

    /// What is said of a witness that lies like this.
    fn trouble(self) -> &'static str {
        match self {
            Self::OtherKey => "without a cosignature of its key",
            Self::OtherRoot => "does not verify",
            Self::Ahead => "one of the two went back",
            Self::Rollback => "does not hold to",
            Self::Garbage => "its answer is not to be trusted",
            Self::Flood => "it cannot be reached",
            Self::Silence => "there was no answer within",
        }
    }
}

/// The body of the request on a connection; nothing when it ends before.
fn request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).ok()?;
    assert!(line.is_empty() || line.starts_with("POST /add-checkpoint HTTP/1.1"), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok().filter(|body| !body.is_empty())
}

/// Waits until the status says what is wrong with a liar.
#[track_caller]
fn is_named(world: &World, lie: Lie) {
    let said = || {
        let status = world.json(&["status"]);
        let witnesses = status["witnesses"].as_array().unwrap();
        let liar = witnesses.iter().find(|witness| witness["name"] == format!("{lie:?}")).unwrap();
        liar["error"].as_str().unwrap_or_default().to_owned()
    };
    assert!(until(PATIENCE, || said().contains(lie.trouble())), "{lie:?}: `{}`, {}", said(), world.log_text());
}

/// Verifies the ledger that is served, by a policy.
#[track_caller]
fn verify(world: &World, ledger: &str, policy: &str, code: i32, words: &[&str]) {
    world.write("trusted-policy", policy);
    let said = world.run(&["ledger", "verify", "--url", ledger, "--policy", &world.path("trusted-policy")]);
    said.must(code, words);
}

const LIES: [Lie; 7] = [Lie::OtherKey, Lie::OtherRoot, Lie::Ahead, Lie::Rollback, Lie::Garbage, Lie::Flood, Lie::Silence];
/// When every lie is told, in seconds since 1970.
const TIME: u64 = 1_700_000_000;
/// The exit code for a log that is not shown to be whole.
const IN_DOUBT: i32 = 4;
