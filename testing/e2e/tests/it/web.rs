//! A certificate of a public CA, between two servers: one publishes its bundle by `https_web`, the other takes it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::process::{PATIENCE, Running, Said, finish, marque, until};
use crate::world::{World, clean};

/// A server that anybody may fetch from, with an agent, and a CA for it.
struct Publisher {
    world: World,
    port: String,
    workload_api: String,
    _server: Running,
}

impl Publisher {
    fn start() -> Self {
        let world = World::new();
        authority(&world, "ca");
        certify(&world, "web");
        let toml = format!(
            "trust_domain = \"a.example\"\nnames = [\"127.0.0.1\"]\n\n[web]\ncertificate = {:?}\nkey = {:?}\nnames = [\"localhost\"]\n",
            world.path("web.pem"),
            world.path("web.key")
        );
        world.write("marque.toml", &toml);
        let server = world.try_serve(configured(&world));
        let addresses = ready(&world, &server);
        let text = |field: &str| addresses[field].as_str().unwrap().to_owned();
        let port = text("issuer").rsplit_once(':').unwrap().1.to_owned();
        register(&world, "agent/traveller");
        Self { port, workload_api: text("workload_api"), world, _server: server }
    }

    /// What a client gets that trusts this CA, and nothing else.
    fn get(&self, ca: &str, host: &str, path: &str) -> Said {
        let mut curl = clean(Command::new("curl"));
        let url = format!("https://{host}:{}{path}", self.port);
        curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert", ca, &url]);
        finish(curl, "")
    }

    /// The serial number of what is shown under the web name.
    fn serial(&self) -> String {
        let mut client = clean(Command::new("openssl"));
        client.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port), "-servername", "localhost"]);
        let shown = finish(client, "").out;
        let mut certificate = clean(Command::new("openssl"));
        certificate.args(["x509", "-noout", "-serial"]);
        finish(certificate, &shown).out
    }
}

/// A server of another trust domain, which takes the publisher's bundle by the public CAs in this file.
struct Follower {
    world: World,
    workload_api: String,
    _server: Running,
}

impl Follower {
    fn start(publisher: &Publisher, roots: &str) -> Self {
        let world = World::new();
        let url = format!("https://localhost:{}/spiffe/bundle", publisher.port);
        let toml = format!("trust_domain = \"b.example\"\n\n[[federation]]\ntrust_domain = \"a.example\"\nurl = \"{url}\"\n");
        world.write("marque.toml", &toml);
        let mut command = configured(&world);
        command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
        let server = world.try_serve(command);
        let workload_api = ready(&world, &server)["workload_api"].as_str().unwrap().to_owned();
        // The Workload API answers nobody whom it does not know.
        register(&world, "agent/host");
        Self { world, workload_api, _server: server }
    }

    fn has_bundle(&self) -> bool {
        self.world.state().join("federation/a.example.json").is_file()
    }
}

fn configured(world: &World) -> Command {
    let mut command = world.serve_command();
    command.arg("--config").arg(world.path("marque.toml"));
    command
}

#[track_caller]
fn ready(world: &World, server: &Running) -> Value {
    let line = server.line().unwrap_or_else(|| panic!("no server: {}", world.log_text()));
    serde_json::from_str(&line).unwrap()
}

/// The binary is an agent of this name.
#[track_caller]
fn register(world: &World, name: &str) {
    let program = marque();
    let manifest = format!(
        "\
identities:
  - name: {name}
    kind: agent
    owner: alice@example.com
    purpose: Is known elsewhere, or asks who is
    selectors: [\"unix:path:{}\"]
",
        program.display()
    );
    world.write("manifest/all.yaml", &manifest);
    world.run(&["apply", "-f", &world.path("manifest")]).must(0, &[name]);
}

/// A CA of openssl's: `NAME.pem` and `NAME.key`.
#[track_caller]
fn authority(world: &World, name: &str) {
    let (key, certificate) = (world.path(&format!("{name}.key")), world.path(&format!("{name}.pem")));
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
    let subject = format!("/CN=CA {name}");
    let named = ["-subj", &subject, "-addext", "keyUsage=critical,keyCertSign", "-keyout", &key, "-out", &certificate];
    openssl(&[&new[..], &named].concat());
}

/// A fresh certificate of the CA for `localhost`: `NAME.pem` and `NAME.key`, each replaced in one step.
#[track_caller]
fn certify(world: &World, name: &str) {
    let path = |name: &str| world.path(name);
    let (key, request, certificate) = (path("fresh.key"), path("fresh.csr"), path("fresh.pem"));
    let new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
    openssl(&[&new[..], &["-keyout", &key, "-out", &request]].concat());
    world.write("web.ext", "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n");
    let (ca, ca_key, extensions) = (path("ca.pem"), path("ca.key"), path("web.ext"));
    let sign = ["x509", "-req", "-in", &request, "-days", "20", "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
    openssl(&[&sign[..], &["-extfile", &extensions, "-out", &certificate]].concat());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(key, path(&format!("{name}.key"))).unwrap();
    std::fs::rename(certificate, path(&format!("{name}.pem"))).unwrap();
}

#[track_caller]
fn openssl(args: &[&str]) {
    let mut command = clean(Command::new("openssl"));
    command.args(args);
    finish(command, "").must(0, &[]);
}

#[test]
fn a_bundle_is_published_and_taken_by_https_web() {
    let publisher = Publisher::start();
    let ca = publisher.world.path("ca.pem");
    // Whoever knows public CAs alone finds the keys, under the web name and no other.
    for path in ["/spiffe/bundle", "/.well-known/openid-configuration", "/oauth/jwks"] {
        publisher.get(&ca, "localhost", path).must(0, &["{"]);
    }
    assert_eq!(publisher.get(&ca, "127.0.0.1", "/spiffe/bundle").code, Some(60), "an address has the trust domain's");

    let follower = Follower::start(&publisher, &ca);
    assert!(until(PATIENCE, || follower.has_bundle()), "no bundle: {}", follower.world.log_text());

    // A JWT-SVID of one trust domain is good in the other one's Workload API.
    let mut agent = clean(Command::new(marque()));
    agent.args(["demo", "agent"]).stdin(Stdio::piped());
    agent.env("SPIFFE_ENDPOINT_SOCKET", &publisher.workload_api).env("MARQUE_ISSUER", "https://api.b.example");
    let mut agent = Running::start(agent, &publisher.world.dir().join("agent.log"));
    let mut ask = |order: Value| -> Value {
        agent.say(&order.to_string());
        serde_json::from_str(&agent.line().expect("an agent answers")).unwrap()
    };
    let traveller = json!("spiffe://a.example/agent/traveller");
    let attested = ask(json!({ "do": "attest" }));
    assert_eq!(attested["spiffe_id"], traveller, "{attested}");
    let valid = ask(json!({ "do": "validate", "at": follower.workload_api }));
    assert_eq!((&valid["ok"], &valid["spiffe_id"]), (&json!(true), &traveller), "{valid}");

    // By another CA nothing is fetched, and the log says why.
    authority(&publisher.world, "other");
    let wary = Follower::start(&publisher, &publisher.world.path("other.pem"));
    let told = || wary.world.log_text();
    assert!(until(PATIENCE, || told().contains("the bundle was not fetched")), "{}", told());
    assert!(told().contains("UnknownIssuer") && told().contains("a.example"), "{}", told());
    assert!(!wary.has_bundle());
    let refused = ask(json!({ "do": "validate", "at": wary.workload_api }));
    assert!(refused["error"].as_str().is_some_and(|why| why.starts_with("InvalidArgument")), "{refused}");
}

#[test]
fn a_certificate_that_is_renewed_is_shown_and_a_bad_one_is_not() {
    let publisher = Publisher::start();
    let (world, first) = (&publisher.world, publisher.serial());
    assert!(first.contains("serial="), "{first}");
    certify(world, "web");
    assert!(until(PATIENCE, || publisher.serial() != first), "the first one goes on: {}", world.log_text());
    let second = publisher.serial();

    let key = world.path("web.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    world.write("web.pem", "nonsense");
    assert!(until(PATIENCE, || world.log_text().contains("has no certificates in PEM")), "{}", world.log_text());
    assert_eq!(publisher.serial(), second, "the last one goes on");
    certify(world, "web");
    assert!(until(PATIENCE, || publisher.serial() != second), "what is whole again is taken: {}", world.log_text());

    // A server does not begin with a key that others read.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let other = World::new();
    std::fs::copy(world.path("marque.toml"), other.path("marque.toml")).unwrap();
    finish(configured(&other), "").must(2, &["[web]: ", "web.key` can be read by others: chmod 600 it"]);
    assert!(!other.state().join("keys").exists(), "nothing was made");
}
