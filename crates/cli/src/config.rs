//! The server's configuration: a TOML file, and options that go before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use marque_core::PersonId;
use marque_core::spiffe::TrustDomain;
use serde::Deserialize;

use crate::args::ServeArgs;
use crate::experimental::{BrokerConfig, ExperimentalConfig};
use crate::exports::{self, ExportConfig};
use crate::failure::{Failure, Result};
use crate::nodes::NodeConfig;
use crate::retention::RetentionConfig;
use crate::trust::{AuthorityConfig, FederationConfig, OidcConfig};
use crate::web::WebConfig;

/// Everything that `marque serve` can be told.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The trust domain of a new state directory. Default: `example.org`.
    pub trust_domain: TrustDomain,
    /// The first person of a new state directory. Default: the user's name at `localhost`.
    pub administrator: PersonId,
    /// The address of the token endpoint and the public keys, TLS. Default: `127.0.0.1:8443`.
    pub listen: SocketAddr,
    /// The address of the gateway, mutual TLS. Default: `127.0.0.1:8444`.
    pub gateway: SocketAddr,
    /// The address of the console, plain HTTP: keep it on loopback. Default: `127.0.0.1:8445`.
    pub console: SocketAddr,
    /// The address of the published log, plain HTTP on loopback. Default: none; it is always beside the token endpoint too.
    pub ledger: Option<SocketAddr>,
    /// A C2SP tlog-policy file: its witnesses are asked to cosign the log's checkpoints. Default: none.
    pub witness_policy: Option<PathBuf>,
    /// Host names and addresses in the server's certificate. Default: `localhost`, `127.0.0.1`.
    pub names: Vec<String>,
    /// A certificate of a public CA, for other names of the token endpoint. Default: none.
    pub web: Option<WebConfig>,
    /// The issuer of tokens: where relying parties find its keys. Default: `https://` and the address of the token endpoint.
    pub issuer: Option<String>,
    /// The Workload API's socket. Default: `workload.sock` in the state directory.
    pub workload_socket: Option<PathBuf>,
    /// The trust domain's signing keys.
    pub authority: AuthorityConfig,
    /// Other trust domains.
    pub federation: Vec<FederationConfig>,
    /// Issuers whose tokens attest workloads.
    pub oidc: Vec<OidcConfig>,
    /// Exports: events carried out to other systems.
    pub export: Vec<ExportConfig>,
    /// Other hosts on which the Workload API is served.
    pub node: NodeConfig,
    /// How long the contents of the log are kept. Default: for good.
    pub retention: Option<RetentionConfig>,
    /// Parts of the SPIFFE standard that still change, each by the revision that it follows. Default: none.
    pub experimental: ExperimentalConfig,
    /// The SPIFFE Broker API. Default: none.
    pub broker: Option<BrokerConfig>,
}

impl Default for Config {
    fn default() -> Self {
        let user = rustix::process::geteuid().as_raw();
        let name = std::fs::read_to_string("/etc/passwd")
            .ok()
            .and_then(|text| user_name(&text, user))
            .unwrap_or_else(|| format!("uid{user}"));
        Self {
            trust_domain: parsed("example.org"),
            administrator: format!("{name}@localhost").parse().unwrap_or_else(|_| parsed("admin@localhost")),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)),
            gateway: SocketAddr::from((Ipv4Addr::LOCALHOST, 8444)),
            console: SocketAddr::from((Ipv4Addr::LOCALHOST, 8445)),
            ledger: None,
            witness_policy: None,
            names: vec!["localhost".into(), "127.0.0.1".into()],
            web: None,
            issuer: None,
            workload_socket: None,
            authority: AuthorityConfig::default(),
            federation: Vec::new(),
            oidc: Vec::new(),
            export: Vec::new(),
            node: NodeConfig::default(),
            retention: None,
            experimental: ExperimentalConfig::default(),
            broker: None,
        }
    }
}

impl Config {
    /// The file's values, if there is a file, and before them the options'.
    pub fn read(args: &ServeArgs) -> Result<Self> {
        let mut config = match &args.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| Failure::input(format!("cannot read `{}`: {e}", path.display())))?;
                toml::from_str(&text).map_err(|e| Failure::input(format!("{}: {e}", path.display())))?
            }
            None => Self::default(),
        };
        if let Some(text) = &args.trust_domain {
            config.trust_domain = text.parse().map_err(|e| Failure::input(format!("--trust-domain: {e}")))?;
        }
        if let Some(text) = &args.administrator {
            config.administrator = text.parse().map_err(|e| Failure::input(format!("--administrator: {e}")))?;
        }
        config.listen = args.listen.unwrap_or(config.listen);
        config.gateway = args.gateway.unwrap_or(config.gateway);
        config.console = args.console.unwrap_or(config.console);
        if !config.console.ip().is_loopback() {
            return Err(Failure::input(format!(
                "the console speaks plain HTTP and stays on loopback: `{}` is not",
                config.console
            )));
        }
        config.ledger = args.ledger.or(config.ledger);
        config.witness_policy = args.witness_policy.clone().or(config.witness_policy);
        if let Some(address) = config.ledger.filter(|address| !address.ip().is_loopback()) {
            return Err(Failure::input(format!(
                "the ledger's own address speaks plain HTTP and stays on loopback: `{address}` is not"
            )));
        }
        exports::check(&config.export)?;
        config.experimental.check(config.broker.as_ref())?;
        Ok(config)
    }
}

/// The state directory: as asked, or the user's own.
pub fn state_dir(asked: Option<&Path>) -> PathBuf {
    asked.map_or_else(
        || {
            let home =
                |name: &str, rest: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(|v| PathBuf::from(v).join(rest));
            home("XDG_STATE_HOME", "marque")
                .or_else(|| home("HOME", ".local/state/marque"))
                .unwrap_or_else(|| PathBuf::from(".marque"))
        },
        Path::to_owned,
    )
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| (*fields.first().unwrap_or(&"")).to_owned())
    })
}

#[expect(clippy::expect_used, reason = "the texts stand in this file")]
fn parsed<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a default parses")
}
