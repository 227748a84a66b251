//! `marque node`: other hosts on which the Workload API is served. `join` is the node itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use marque_core::node::NodeName;
use marque_core::spiffe::TrustDomain;
use marque_core::time::Ttl;
use marque_engine::{Bundle, BundleSet, Env, NodeToken, NodeView, PopKey, SecretText};
use marque_server::node::{Credentials, Home, JoinError, Joined, LinkError, RemoteSource, join};
use marque_server::source::Source;
use marque_server::{AnyAuthority, agent, http, unix_connections};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Context, encoded, log_to_stderr, quoted};
use crate::args::length;
use crate::failure::{Code, Failure, Result};
use crate::files::{listen, read, write_private};
use crate::output::{Output, Tone};
use crate::serve::asked_to_stop;

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Let a host join, once: make its join token, and write the bundle by which it knows the server.
    #[command(after_help = "Example:\n  marque node token web-1 --token-file token --bundle bundle.json")]
    Token(TokenArgs),
    /// List nodes with how they joined and when they were last heard of.
    List,
    /// Ban a node, for good: nothing that it holds counts any more.
    #[command(after_help = "Example:\n  marque node ban web-1 --why 'its disk was taken'")]
    Ban {
        /// The node.
        name: String,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Join a server and serve the Workload API on this host, until the node is banned.
    #[command(
        after_help = "The token counts once; a node that has joined goes on with its SVID when it is started again.\n\nExamples:\n  marque node join --server https://marque.example.com:8443 --bundle bundle.json --name web-1 \\\n      --token-file token --dir /var/lib/marque-node --socket /run/marque/workload.sock\n  marque node join --server https://marque.example.com:8443 --bundle bundle.json --name web-1 \\\n      --certificate web-1.pem --key web-1.key --dir /var/lib/marque-node"
    )]
    Join(JoinArgs),
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The node's name, as web-1: identities name it in `nodes`.
    pub name: String,
    /// How long the token admits.
    #[arg(long, default_value = "10m", value_parser = length)]
    pub ttl: Ttl,
    /// Write the token to this private file instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Write the trust domain's bundle to this file.
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The server's token endpoint, as https://marque.example.com:8443.
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// The trust domain's bundle, by which the server is known: as `marque node token` wrote it, or a SPIFFE bundle
    /// document together with --trust-domain.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// Whose bundle it is, where the file does not say so.
    #[arg(long, value_name = "NAME")]
    pub trust_domain: Option<TrustDomain>,
    /// The node's name.
    #[arg(long)]
    pub name: NodeName,
    /// A file with the join token.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    pub token_file: Option<PathBuf>,
    /// A certificate of a CA that the server knows, PEM, with those between it and the CA.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its key, PKCS#8 in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Where the node keeps its SVID.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The Workload API's socket; workload.sock in the directory without it.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Show nothing any more after so long without the server, where that is shorter than the server says.
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub max_staleness: Option<Ttl>,
    /// Join anew, even if the SVID of the last time still counts.
    #[arg(long)]
    pub anew: bool,
}

pub async fn node(context: &Context<'_>, command: NodeCommand) -> Result<ExitCode> {
    match command {
        NodeCommand::Token(args) => token(context, args).await?,
        NodeCommand::List => list(context).await?,
        NodeCommand::Ban { name, why } => ban(context, &name, &why).await?,
        NodeCommand::Join(args) => {
            log_to_stderr();
            serve(args, context.output).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn token(context: &Context<'_>, args: TokenArgs) -> Result<()> {
    let output = context.output;
    let path = format!("/v1/nodes/{}/token", encoded(&args.name));
    let mut client = context.client().await?;
    let made: NodeToken = client.post(&path, &json!({ "ttl": args.ttl })).await?;
    // Without a server nobody knows where it will be.
    let server = match client.has_server() {
        true => super::query::text(&client.get("/v1/status").await?, "issuer"),
        false => "https://…".to_owned(),
    };
    if let Some(file) = &args.bundle {
        std::fs::write(file, &made.bundle).map_err(|e| Failure::failed(format!("cannot write `{}`: {e}", file.display())))?;
    }
    if let Some(file) = &args.token_file {
        write_private(file, made.token.danger_expose().as_bytes())?;
    }
    output.show(&made, || {
        match &args.token_file {
            Some(file) => output.line(format!("{} {}", output.paint(Tone::Good, "wrote"), file.display())),
            None => output.line(made.token.danger_expose()),
        }
        if let Some(file) = &args.bundle {
            output.line(format!("{} {}", output.paint(Tone::Good, "wrote"), file.display()));
        }
        if let Some(token) = &args.token_file {
            let shown = |file: &Path| quoted(&file.to_string_lossy());
            let bundle = args.bundle.as_deref().map_or("FILE".to_owned(), shown);
            output.line(format!("node {} may join once until {}; on that host:", made.node, made.expires));
            output.line(format!("  marque node join --server {server} --bundle {bundle} --name {} \\", made.node));
            output.line(format!("      --token-file {} --dir DIR", shown(token)));
        }
    });
    Ok(())
}

async fn list(context: &Context<'_>) -> Result<()> {
    let output = context.output;
    let nodes: Vec<NodeView> = context.client().await?.get("/v1/nodes").await?;
    output.show(&nodes, || {
        let moment = |at: Option<marque_core::time::Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
        let row = |n: &NodeView| {
            let copies = n.instances.to_string();
            vec![n.name.to_string(), n.standing.clone(), moment(n.joined), moment(n.contact), copies]
        };
        output.table(&["NODE", "STANDING", "JOINED", "LAST HEARD OF", "COPIES"], &nodes.iter().map(row).collect::<Vec<_>>());
        if nodes.is_empty() {
            output.line(format!("No host has joined: {} node token NAME", context.marque));
        }
    });
    Ok(())
}

async fn ban(context: &Context<'_>, name: &str, why: &str) -> Result<()> {
    let output = context.output;
    let path = format!("/v1/nodes/{}/ban", encoded(name));
    let banned: NodeView = context.client().await?.post(&path, &json!({ "why": why })).await?;
    output.show(&banned, || {
        output.line(format!("{} {}: nothing that it holds counts any more", output.paint(Tone::Bad, "banned"), banned.name));
    });
    Ok(())
}

/// Where a node serves, printed when it is ready.
#[derive(Serialize)]
struct Ready {
    node: NodeName,
    trust_domain: TrustDomain,
    server: String,
    workload_api: String,
}

async fn serve(args: JoinArgs, output: &Output) -> Result<()> {
    let env = Env::system();
    let home = Home::open(&args.dir)?;
    let path = std::path::absolute(args.socket.clone().unwrap_or_else(|| args.dir.join("workload.sock")))?;
    // Before the token is spent.
    let socket = listen(&path, "the Workload API's socket")?;
    let joined = joined(&args, &home, &env).await?;
    let ready = Ready {
        node: joined.name.clone(),
        trust_domain: joined.trust_domain.clone(),
        server: joined.server.clone(),
        workload_api: format!("unix://{}", path.display()),
    };
    let source = RemoteSource::new(joined, home, env, args.max_staleness).map_err(failed)?;
    let shown: Arc<dyn Source> = source.clone();
    let asked = asked_to_stop()?;
    let said = async {
        source.reached().await;
        output.show(&ready, || {
            output.line(format!("{} node {} is ready", output.paint(Tone::Good, "✓"), ready.node));
            output.line(format!("  server        {}", ready.server));
            output.line(format!("  Workload API  {}", ready.workload_api));
        });
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        why = source.run() => Err(Failure::new(Code::Refused, format!("this host is no node of `{}` any more: {why}", ready.server))),
        () = unix_connections(socket, |stream, peer| {
            http(AnyAuthority::new(stream), agent::over(Arc::clone(&shown), peer))
        }) => Ok(()),
        () = said => Ok(()),
        () = asked => Ok(()),
    };
    if ended.is_err() {
        // Whoever holds a stream is told, too.
        tokio::time::sleep(FAREWELL).await;
    }
    ended
}

/// The node as it was left by its last start, or as it joins now.
async fn joined(args: &JoinArgs, home: &Home, env: &Env) -> Result<Joined> {
    if let Some(joined) = home.load()?.filter(|joined| !args.anew && env.clock.now() < joined.ends) {
        if joined.name != args.name || joined.server != args.server {
            let text = format!("`{}` is of node `{}` of `{}`: give --anew", args.dir.display(), joined.name, joined.server);
            return Err(Failure::input(text));
        }
        return Ok(joined);
    }
    let bundle = bundle(args)?;
    let credentials = credentials(args)?;
    let joined = join(&args.server, &bundle, &args.name, &credentials, env).await.map_err(failed)?;
    home.save(&joined)?;
    Ok(joined)
}

fn credentials(args: &JoinArgs) -> Result<Credentials> {
    match (&args.token_file, &args.certificate, &args.key) {
        (Some(file), _, _) => {
            let text = Zeroizing::new(String::from_utf8_lossy(&read(file)?).trim().to_owned());
            Ok(Credentials::Token(SecretText::new(text.to_string())))
        }
        (None, Some(certificate), Some(key)) => {
            let bad = |file: &Path| format!("`{}` is not as it should be: PEM, a key in PKCS#8", file.display());
            let pem = read(certificate)?;
            let chain = CertificateDer::pem_slice_iter(&pem).map(|der| der.map(|der| der.to_vec()));
            let chain = chain.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| Failure::input(bad(certificate)))?;
            let text = Zeroizing::new(read(key)?);
            let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| Failure::input(bad(key)))?;
            let key = PopKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| Failure::input(bad(key)))?;
            Ok(Credentials::Certificate { chain, key })
        }
        _ => Err(Failure::input("give --token-file, or --certificate and --key: this host has not joined yet")),
    }
}

/// The bundle in the file: a map with one trust domain, or the document of the one that was named.
fn bundle(args: &JoinArgs) -> Result<Bundle> {
    let bytes = read(&args.bundle)?;
    let shown = args.bundle.display();
    if let Some(trust_domain) = &args.trust_domain
        && let Ok(bundle) = Bundle::from_spiffe_json(trust_domain.clone(), &bytes)
    {
        return Ok(bundle);
    }
    let map = BundleSet::from_map_json(&bytes).map_err(|e| Failure::input(format!("{shown}: {e}; or give --trust-domain")))?;
    let wanted = |bundle: &&Bundle| args.trust_domain.as_ref().is_none_or(|name| bundle.trust_domain == *name);
    let mut found = map.iter().filter(wanted);
    match (found.next(), found.next()) {
        (Some(bundle), None) => Ok(bundle.clone()),
        _ => Err(Failure::input(format!("{shown}: it does not say which trust domain: give --trust-domain"))),
    }
}

fn failed(error: JoinError) -> Failure {
    match &error {
        JoinError::Link(LinkError::Refused { .. }) => Failure::new(Code::Refused, format!("the server refuses: {error}")),
        JoinError::Link(LinkError::Address(_)) => Failure::input(error.to_string()),
        _ => Failure::from(error),
    }
}

const FAREWELL: Duration = Duration::from_millis(300);
