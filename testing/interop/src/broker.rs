//! The crate `spiffe` as a broker: with this program's own X.509-SVID it fetches the SVIDs and bundles of a process that is
//! another agent, from the SPIFFE Broker API. Experimental.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use spiffe::broker_api::SecurityHeader;
use spiffe::broker_api::pb::spiffe::broker::api_client::ApiClient;
use spiffe::broker_api::pb::spiffe::broker::{
    FetchJwtsvidRequest, FetchJwtsvidResponse, SubscribeToJwtBundlesRequest, SubscribeToX509BundlesRequest,
    SubscribeToX509BundlesResponse, SubscribeToX509svidRequest, SubscribeToX509svidResponse, WorkloadPidReference,
    WorkloadReference,
};
use spiffe::cert::spiffe_id_from_der;
use spiffe::{JwtBundle, JwtBundleSet, JwtSvid, TrustDomain, X509Bundle, X509Context, X509Svid};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status, Streaming};
use tower::service_fn;

use crate::fault::{Fault, Heard, Result, need};
use crate::process::{Server, renamed};
use crate::workload::{runtime, x509_context};
use crate::world::{WARD, World};

/// Runs the judge.
pub fn judge(world: &World) -> Result<Heard> {
    let address = world.site.addresses.broker.as_deref().ok_or_else(|| Fault::new("the server has no broker's socket"))?;
    let context = x509_context(world)?;
    let ward = waiting("ward", world, WARD)?;
    let nobody = waiting("nobody", world, "nobody")?;
    Ok(Heard::seen(runtime()?.block_on(talk(address, &context, ward, &nobody))?))
}

/// The whole of a process that others speak for.
pub fn wait() -> ExitCode {
    println!("{WAIT}");
    std::thread::sleep(LIFE);
    ExitCode::SUCCESS
}

/// This program under another name, once it runs.
fn waiting(shown: &'static str, world: &World, name: &str) -> Result<Server> {
    let mut command = Command::new(renamed(world.program(name))?);
    let process = Server::start(shown, command.arg(WAIT), world.dir())?;
    let line = process.line()?;
    need(line == WAIT, format!("the {shown} says `{line}`"))?;
    Ok(process)
}

async fn talk(address: &str, context: &X509Context, ward: Server, nobody: &Server) -> Result<Value> {
    let own = context.default_svid().ok_or_else(|| Fault::new("there is no X.509-SVID"))?;
    let trusted = context.bundle_set().get(own.spiffe_id().trust_domain()).ok_or_else(|| Fault::new("there is no bundle"))?;
    let channel = connect(address, client(own, &trusted)?).await?;
    let mut broker = ApiClient::with_interceptor(channel.clone(), SecurityHeader::new());
    let pid = process(&ward)?;

    let mut svids = broker.subscribe_to_x509svid(SubscribeToX509svidRequest { reference: refer(pid) }).await?.into_inner();
    let mut bundles =
        broker.subscribe_to_x509_bundles(SubscribeToX509BundlesRequest { reference: refer(pid) }).await?.into_inner();
    let (svid, bundle) = x509(&first(&mut svids).await?, &first(&mut bundles).await?)?;
    let token = jwt(&mut broker, pid).await?;

    // Who shows the ward's SVID, or no security header, is no broker; a process without an identity is nobody to one that is.
    let mut theirs = ApiClient::with_interceptor(connect(address, client(&svid, &bundle)?).await?, SecurityHeader::new());
    let other = refusal(theirs.fetch_jwtsvid(jwt_of(pid)).await, Code::PermissionDenied, None)?;
    refusal(ApiClient::new(channel).fetch_jwtsvid(jwt_of(pid)).await, Code::InvalidArgument, None)?;
    let asked = broker.fetch_jwtsvid(jwt_of(process(nobody)?)).await;
    let stranger = refusal(asked, Code::PermissionDenied, Some("WORKLOAD_NOT_ENTITLED"))?;
    refusal(broker.fetch_jwtsvid(jwt_of(0)).await, Code::InvalidArgument, Some("WORKLOAD_REFERENCE_INVALID"))?;

    drop(ward);
    let gone = (Code::NotFound, Some("WORKLOAD_NOT_FOUND"));
    let ended = is(&last(&mut svids).await?, gone.0, gone.1)?;
    is(&last(&mut bundles).await?, gone.0, gone.1)?;
    refusal(broker.fetch_jwtsvid(jwt_of(pid)).await, gone.0, gone.1)?;
    let id = svid.spiffe_id().to_string();
    let x509 = json!({ "id": id, "chain": svid.cert_chain().len(), "authorities": bundle.authorities().len() });
    Ok(json!({ "x509": x509, "jwt": { "key": token.key_id() }, "other_broker": other, "stranger": stranger, "ended": ended }))
}

/// The ward's X.509-SVID, which is valid by the bundle that came with it, and that bundle, which is the stream's own.
fn x509(held: &SubscribeToX509svidResponse, known: &SubscribeToX509BundlesResponse) -> Result<(X509Svid, X509Bundle)> {
    let [one] = held.svids.as_slice() else {
        return Err(Fault::new(format!("there are {} X.509-SVIDs for one identity", held.svids.len())));
    };
    let svid = X509Svid::parse_from_der(&one.x509_svid, &one.x509_svid_key)?;
    let id = svid.spiffe_id();
    need(id.to_string() == WARD_ID && one.spiffe_id == WARD_ID, format!("the X.509-SVID is of `{id}`"))?;
    let domain = id.trust_domain().clone();
    need(known.bundles.get(&domain.id_string()) == Some(&one.bundle), "the two ways to the bundle give different ones")?;
    let bundle = X509Bundle::parse_from_der(domain, &one.bundle)?;
    let chain: Vec<CertificateDer<'_>> = svid.cert_chain().iter().map(|one| CertificateDer::from(one.as_bytes())).collect();
    let (leaf, between) = chain.split_first().ok_or_else(|| Fault::new("the chain is empty"))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots_of(&bundle)?), provider()).build()?;
    verifier.verify_client_cert(leaf, between, UnixTime::now())?;
    Ok((svid, bundle))
}

/// The ward's JWT-SVID, which is valid by the bundles that the Broker API gives.
async fn jwt(broker: &mut Client, pid: i32) -> Result<JwtSvid> {
    let FetchJwtsvidResponse { svids } = broker.fetch_jwtsvid(jwt_of(pid)).await?.into_inner();
    let [one] = svids.as_slice() else {
        return Err(Fault::new(format!("there are {} JWT-SVIDs for one identity", svids.len())));
    };
    let asked = SubscribeToJwtBundlesRequest { reference: refer(pid) };
    let known = first(&mut broker.subscribe_to_jwt_bundles(asked).await?.into_inner()).await?;
    let mut bundles = JwtBundleSet::new();
    for (domain, keys) in &known.bundles {
        bundles.add_bundle(JwtBundle::from_jwt_authorities(TrustDomain::new(domain)?, keys)?);
    }
    let svid = JwtSvid::parse_and_validate(&one.svid, &bundles, &[AUDIENCE])?;
    let id = svid.spiffe_id();
    need(id.to_string() == WARD_ID && one.spiffe_id == WARD_ID, format!("the JWT-SVID is of `{id}`"))?;
    Ok(svid)
}

/// A channel over the broker's socket by mutual TLS; at the other end is the server, by its SPIFFE ID.
async fn connect(address: &str, config: ClientConfig) -> Result<Channel> {
    let path = address.strip_prefix("unix://").map(PathBuf::from);
    let path = path.ok_or_else(|| Fault::new(format!("`{address}` is no Unix socket")))?;
    let tls = TlsConnector::from(Arc::new(config));
    let dial = service_fn(move |_: Uri| {
        let (path, tls) = (path.clone(), tls.clone());
        async move {
            let stream = UnixStream::connect(path).await?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            let stream = tls.connect(name, stream).await?;
            let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let shown = leaf.map(|leaf| spiffe_id_from_der(leaf.as_ref())).transpose().map_err(std::io::Error::other)?;
            match shown.map(|id| id.to_string()) {
                Some(id) if id == SERVER => Ok(TokioIo::new(stream)),
                other => Err(std::io::Error::other(format!("the server is {other:?}"))),
            }
        }
    });
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(dial).await?)
}

/// Shows this SVID, whose key must be its own, and trusts this bundle.
fn client(svid: &X509Svid, bundle: &X509Bundle) -> Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let chain = svid.cert_chain().iter().map(|one| CertificateDer::from(one.as_bytes().to_vec())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec()));
    let mut config = config.with_root_certificates(roots_of(bundle)?).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn roots_of(bundle: &X509Bundle) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for one in bundle.authorities() {
        roots.add(CertificateDer::from(one.as_bytes()))?;
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The next message of a stream.
async fn first<T>(stream: &mut Streaming<T>) -> Result<T> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await??;
    message.ok_or_else(|| Fault::new("a stream ended without a word"))
}

/// With what a stream ends.
async fn last<T>(stream: &mut Streaming<T>) -> Result<Status> {
    loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await? {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Fault::new("a stream ended without a word")),
            Err(status) => return Ok(status),
        }
    }
}

/// Why a call was refused, if it was, and in this way.
fn refusal<T>(answer: std::result::Result<Response<T>, Status>, code: Code, reason: Option<&str>) -> Result<String> {
    match answer {
        Err(status) => is(&status, code, reason),
        Ok(_) => Err(Fault::new(format!("a call is answered that must be refused with {code:?}"))),
    }
}

/// What a status of this code says; its reason is the one of the standard (Broker API §4.8).
fn is(status: &Status, code: Code, reason: Option<&str>) -> Result<String> {
    let found = reason_of(status)?;
    need(
        status.code() == code && found.as_deref() == reason,
        format!("a refusal must be {code:?} with {reason:?}, and is {:?} with {found:?}: {}", status.code(), status.message()),
    )?;
    Ok(status.message().to_owned())
}

fn reason_of(status: &Status) -> Result<Option<String>> {
    let details = RpcStatus::decode(status.details())?.details;
    let Some(detail) = details.iter().find(|detail| detail.type_url == ERROR_INFO) else { return Ok(None) };
    let info = ErrorInfo::decode(detail.value.as_slice())?;
    need(info.domain == "spiffe.io", format!("the reason is of `{}`", info.domain))?;
    Ok(Some(info.reason))
}

fn process(of: &Server) -> Result<i32> {
    Ok(i32::try_from(of.id())?)
}

fn refer(pid: i32) -> Option<WorkloadReference> {
    Some(WorkloadPidReference { pid }.into())
}

fn jwt_of(pid: i32) -> FetchJwtsvidRequest {
    FetchJwtsvidRequest { reference: refer(pid), audience: vec![AUDIENCE.to_owned()], spiffe_id: String::new() }
}

type Client = ApiClient<InterceptedService<Channel, SecurityHeader>>;

/// `google.rpc.Status`, as far as it matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`, as far as it matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// The word that makes this program wait.
pub const WAIT: &str = "wait";
const LIFE: Duration = Duration::from_secs(120);
/// The server ends what it had attested soon after the process has ended.
const PATIENCE: Duration = Duration::from_secs(20);
const AUDIENCE: &str = "test";
const WARD_ID: &str = "spiffe://example.org/agent/ward";
const SERVER: &str = "spiffe://example.org/marque";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Code, domain: &str) -> Status {
        let info = ErrorInfo { reason: "WHY".to_owned(), domain: domain.to_owned() };
        let detail = Detail { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() };
        Status::with_details(code, "no", RpcStatus { details: vec![detail] }.encode_to_vec().into())
    }

    #[test]
    fn a_refusal_has_its_code_and_its_reason() {
        let denied = status(Code::PermissionDenied, "spiffe.io");
        assert_eq!(is(&denied, Code::PermissionDenied, Some("WHY")).unwrap(), "no");
        assert!(is(&denied, Code::NotFound, Some("WHY")).is_err());
        assert!(is(&denied, Code::PermissionDenied, None).is_err());
        assert!(is(&status(Code::PermissionDenied, "example.org"), Code::PermissionDenied, Some("WHY")).is_err());
        assert!(is(&Status::not_found("gone"), Code::NotFound, None).is_ok());
    }
}
