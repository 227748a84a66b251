//! What proxies ask the Secret Discovery Service for, and what they get.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_core::id::InstanceId;
use marque_core::time::Timestamp;
use marque_engine::{Bundle, Clock, Identified, Process, ValidatedJwt};
use marque_server::Peer;
use marque_server::pb::sds::secret::Type;
use marque_server::pb::sds::secret_discovery_service_server::SecretDiscoveryService as _;
use marque_server::pb::sds::{
    CertificateValidationContext, DataSource, DiscoveryRequest, DiscoveryResponse, Secret, SpiffeCertValidatorConfig,
    TlsCertificate, data_source,
};
use marque_server::sds::Sds;
use marque_server::source::{Bundles, Changes, HeldSvid, Source};
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use crate::svid::{NOW, WORKLOAD};

/// A [`DiscoveryRequest`]: what is read is written, and read as the same. Each name gets its own secret, once, or the whole
/// request is refused: never the key of another copy, never the authorities of another trust domain, and never none.
pub fn server_sds(data: &[u8]) {
    let Ok(request) = DiscoveryRequest::decode(data) else { return };
    let written = request.encode_to_vec();
    assert_eq!(DiscoveryRequest::decode(written.as_slice()).as_ref(), Ok(&request));
    let names = request.resource_names.clone();
    match answer(request) {
        Ok(response) => check(&names, &response),
        Err(refusal) => {
            assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
            assert!(names.iter().any(|name| !KNOWN.contains(&name.as_str())), "{names:?}: {refusal}");
            assert!(refusal.message().chars().count() < 300 && !refusal.message().contains('\n'), "{refusal}");
        }
    }
}

/// What one request gets. The source waits for nothing, so that the first look finds the answer.
fn answer(request: DiscoveryRequest) -> Result<DiscoveryResponse, Status> {
    let process = Process::open(std::process::id()).map_err(|error| Status::internal(error.to_string()))?;
    let sds = Sds::new(Arc::new(Fixed), Peer { process, uid: 0 });
    let mut answer = sds.fetch_secrets(Request::new(request));
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map(Response::into_inner),
        Poll::Pending => Err(Status::internal("it waits for something")),
    }
}

#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
fn check(names: &[String], response: &DiscoveryResponse) {
    let mut said = BTreeSet::new();
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).filter(|name| said.insert(*name)).collect();
    if wanted.is_empty() {
        wanted = vec!["default", "ROOTCA"];
    }
    assert_eq!(response.type_url, SECRET);
    assert_eq!(response.resources.len(), wanted.len());
    for (resource, name) in response.resources.iter().zip(wanted) {
        assert_eq!(resource.type_url, SECRET);
        let secret = Secret::decode(resource.value.as_slice()).expect("a resource is a secret");
        assert_eq!(secret.name, name);
        let is_its_own = match &secret.r#type {
            Some(Type::TlsCertificate(certificate)) => is_of_copy(name, certificate),
            Some(Type::ValidationContext(context)) => is_of_trust_domain(name, context),
            None => false,
        };
        assert!(is_its_own, "`{name}` gets something else");
    }
}

fn is_of_copy(name: &str, certificate: &TlsCertificate) -> bool {
    let copy = COPIES.iter().find(|id| name == "default" || **id == name);
    copy.is_some_and(|id| {
        has(certificate.certificate_chain.as_ref(), id) && has(certificate.private_key.as_ref(), &format!("key of {id}"))
    })
}

fn is_of_trust_domain(name: &str, context: &CertificateValidationContext) -> bool {
    let config = context.custom_validator_config.as_ref().and_then(|custom| custom.typed_config.as_ref());
    match (name, config) {
        ("ALL", Some(config)) => {
            let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).unwrap_or_default();
            let is_whole = |(domain, authority): (&str, &str)| {
                config.trust_domains.iter().any(|found| found.name == domain && has(found.trust_bundle.as_ref(), authority))
            };
            config.trust_domains.len() == AUTHORITIES.len() && AUTHORITIES.into_iter().all(is_whole)
        }
        (_, None) => {
            let own = AUTHORITIES.into_iter().find(|(domain, _)| {
                name.strip_prefix("spiffe://") == Some(*domain) || (name == "ROOTCA" && *domain == "example.org")
            });
            own.is_some_and(|(_, authority)| has(context.trusted_ca.as_ref(), authority))
        }
        _ => false,
    }
}

/// Whether it is the PEM of these bytes and of nothing else. They are so few that they stand on one line.
fn has(source: Option<&DataSource>, bytes: &str) -> bool {
    let Some(data_source::Specifier::InlineBytes(pem)) = source.and_then(|source| source.specifier.as_ref()) else {
        return false;
    };
    let text = String::from_utf8_lossy(pem);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
    lines == [STANDARD.encode(bytes)]
}

/// A source with two copies and three trust domains, one of which has no authority.
#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }
}

#[tonic::async_trait]
impl Source for Fixed {
    async fn check_seen(&self, _: &Process, _: &[Identified]) -> Result<(), Status> {
        Ok(())
    }

    async fn attest(&self, _: &Process) -> Result<Vec<Identified>, Status> {
        let copy = |(id, number): (&str, u8)| -> Result<Identified, Status> {
            let identity = id.parse().map_err(|_| Status::internal("no identity"))?;
            Ok(Identified { instance: InstanceId::from_bytes([number; 16]), identity, hint: String::new() })
        };
        COPIES.into_iter().zip(1..).map(copy).collect()
    }

    async fn x509_svid(&self, of: &Identified) -> Result<HeldSvid, Status> {
        let id = of.identity.to_string();
        let key_pkcs8 = format!("key of {id}").into_bytes().into();
        Ok(HeldSvid { chain: vec![id.into_bytes()], key_pkcs8, due: NOW, authority: "fuzz".into() })
    }

    async fn jwt_svid(&self, _: &Identified, _: &[String]) -> Result<String, Status> {
        Err(Status::unimplemented("proxies ask for no token"))
    }

    async fn validate(&self, _: &str, _: &str) -> Result<ValidatedJwt, Status> {
        Err(Status::unimplemented("proxies ask for no validation"))
    }

    fn bundles(&self) -> Result<Bundles, Status> {
        let [(own, own_authority), (other, other_authority)] = AUTHORITIES;
        let foreign = [bundle(other, Some(other_authority))?, bundle("empty.example", None)?];
        Ok(Bundles { own: bundle(own, Some(own_authority))?, foreign: foreign.into_iter().collect(), good: BTreeSet::new() })
    }

    fn changes(&self) -> Changes {
        let never = || watch::channel(0).1;
        Changes { ended: never(), entries: never(), bundles: never() }
    }

    fn ended(&self, _: &[Identified]) -> Option<Status> {
        None
    }

    async fn moved(&self, _: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
        Ok(None)
    }
}

fn bundle(name: &str, authority: Option<&str>) -> Result<Bundle, Status> {
    let trust_domain = name.parse().map_err(|_| Status::internal("no trust domain"))?;
    let mut bundle = Bundle::empty(trust_domain, 1);
    bundle.x509_authorities.extend(authority.map(|der| der.as_bytes().to_vec()));
    Ok(bundle)
}

/// The caller, by its identities.
const COPIES: [&str; 2] = [WORKLOAD, "spiffe://example.org/agent/writer"];
/// The trust domains that have an authority, the own one first, and what stands for it.
const AUTHORITIES: [(&str, &str); 2] = [("example.org", "own authority"), ("other.example", "other authority")];
/// Every name that gets something.
const KNOWN: [&str; 7] =
    ["default", "ROOTCA", "ALL", "spiffe://example.org", "spiffe://other.example", WORKLOAD, "spiffe://example.org/agent/writer"];
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
