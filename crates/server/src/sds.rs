//! Envoy's Secret Discovery Service v3 on the Workload API's socket: SVIDs and bundles for proxies that speak no SPIFFE.
//!
//! Names are as SPIRE has them: a SPIFFE ID or `default` for a certificate with its key; the trust domain's own ID or
//! `ROOTCA` for its authorities; `ALL` for those of every trust domain, each for its own peers only. Envoy sends no
//! security header, so none is demanded; who asks is what the kernel says, as for every call here. Envoy takes a context
//! without authorities for leave to verify nobody, so that none is ever sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marque_engine::{Bundle, Identified};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use crate::pb::sds::secret::Type;
use crate::pb::sds::secret_discovery_service_server::{SecretDiscoveryService, SecretDiscoveryServiceServer};
use crate::pb::sds::spiffe_cert_validator_config::TrustDomain;
use crate::pb::sds::{
    CertificateValidationContext, DataSource, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    Secret, SpiffeCertValidatorConfig, TlsCertificate, TypedExtensionConfig, data_source,
};
use crate::pem::pem;
use crate::serve::Peer;
use crate::source::{Changes, Source};
use crate::updates::{Updates, moved};

/// The service for one connection, whose peer the kernel named.
pub fn service(source: Arc<dyn Source>, peer: Peer) -> SecretDiscoveryServiceServer<Sds> {
    SecretDiscoveryServiceServer::new(Sds::new(source, peer))
}

/// The Secret Discovery Service of one caller.
#[derive(Clone, Debug)]
pub struct Sds {
    source: Arc<dyn Source>,
    peer: Peer,
}

#[tonic::async_trait]
impl SecretDiscoveryService for Sds {
    type DeltaSecretsStream = Updates<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Updates<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("the incremental variant is not served: use StreamSecrets"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        // Before the process is looked at, so that nothing is missed.
        let changes = self.source.changes();
        let copies = self.source.attest(&self.peer.process).await?;
        let (tx, rx) = mpsc::channel(1);
        tokio::spawn(self.clone().answer(request.into_inner(), changes, copies, tx));
        Ok(Response::new(Updates::of(rx)))
    }

    async fn fetch_secrets(&self, request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        let copies = self.source.attest(&self.peer.process).await?;
        Ok(Response::new(self.secrets(&copies, &request.into_inner().resource_names, 1).await?.0))
    }
}

impl Sds {
    /// The service without its transport.
    pub fn new(source: Arc<dyn Source>, peer: Peer) -> Self {
        Self { source, peer }
    }

    /// Answers what is asked, and again whenever it changes, until the caller is no longer who it was.
    async fn answer(
        self,
        mut requests: Streaming<DiscoveryRequest>,
        changes: Changes,
        mut copies: Vec<Identified>,
        tx: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    ) {
        let Changes { mut ended, mut entries, mut bundles } = changes;
        let mut names: Option<Vec<String>> = None;
        // A moment, not a pause: what wakes the loop meanwhile does not put it off.
        let mut look = Instant::now() + LONG;
        for version in 1_u64.. {
            // What makes a new answer due.
            loop {
                tokio::select! {
                    request = requests.next() => match request {
                        Some(Ok(request)) => {
                            if let Some(error) = &request.error_detail {
                                tracing::warn!(pid = self.peer.process.pid(), "a proxy did not take a secret: {}", cut(&error.message));
                            }
                            // An acknowledgement asks for nothing new.
                            if names.as_ref() != Some(&request.resource_names) {
                                names = Some(request.resource_names);
                                break;
                            }
                        }
                        _ => return,
                    },
                    _ = ended.changed() => {
                        if let Some(status) = self.source.ended(&copies) {
                            let _ = tx.send(Err(status)).await;
                            return;
                        }
                    }
                    _ = entries.changed() => match moved(&*self.source, &self.peer.process, &copies).await {
                        Ok(Some(others)) => {
                            copies = others;
                            if names.is_some() {
                                break;
                            }
                        }
                        Ok(None) => {}
                        Err(status) => {
                            let _ = tx.send(Err(status)).await;
                            return;
                        }
                    },
                    _ = bundles.changed(), if names.is_some() => break,
                    () = tokio::time::sleep_until(look), if names.is_some() => break,
                    () = tx.closed() => return,
                }
            }
            let Some(wanted) = &names else { continue };
            let fresh = match self.source.check_seen(&self.peer.process, &copies).await {
                Ok(()) => self.secrets(&copies, wanted, version).await,
                Err(status) => Err(status),
            };
            match fresh {
                Ok((response, wait)) => {
                    look = Instant::now() + wait;
                    if tx.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
                Err(status) => {
                    let _ = tx.send(Err(status)).await;
                    return;
                }
            }
        }
    }

    /// The secrets of these names, each once however often it is named, and after how long they are to be looked at again.
    async fn secrets(
        &self,
        copies: &[Identified],
        names: &[String],
        version: u64,
    ) -> Result<(DiscoveryResponse, Duration), Status> {
        let own = [DEFAULT.to_owned(), ROOT.to_owned()];
        let names = if names.is_empty() { own.as_slice() } else { names };
        // A request of a few megabytes could ask for one secret a million times.
        let mut said = BTreeSet::new();
        let names: Vec<&String> = names.iter().filter(|name| said.insert(name.as_str())).collect();
        let mut wait = LONG;
        let mut resources = Vec::new();
        for name in names {
            let (kind, due) = self.secret(copies, name).await?;
            wait = wait.min(due);
            let secret = Secret { name: name.clone(), r#type: Some(kind) };
            resources.push(prost_types::Any { type_url: SECRET.to_owned(), value: secret.encode_to_vec() });
        }
        let version = version.to_string();
        let response =
            DiscoveryResponse { version_info: version.clone(), resources, type_url: SECRET.to_owned(), nonce: version };
        Ok((response, wait))
    }

    async fn secret(&self, copies: &[Identified], name: &str) -> Result<(Type, Duration), Status> {
        let bundles = self.source.bundles()?;
        if name == ROOT {
            return Ok((validation(&bundles.own)?, LONG));
        }
        let mut all = bundles.foreign.iter().chain([&bundles.own]);
        if name == ALL {
            let domain = |b: &Bundle| TrustDomain {
                name: b.trust_domain.to_string(),
                trust_bundle: Some(inline(pem("CERTIFICATE", &b.x509_authorities).into_bytes())),
            };
            // Of a trust domain that is left out nobody is trusted; one without authorities is refused with all others.
            let domains = all.filter(|b| !b.x509_authorities.is_empty()).map(domain).collect();
            return Ok((spiffe_validation(domains)?, LONG));
        }
        if let Some(bundle) = all.find(|b| b.trust_domain.id().to_string() == name) {
            return Ok((validation(bundle)?, LONG));
        }
        let mine = copies.iter().find(|copy| name == DEFAULT || copy.identity.to_string() == name);
        // Envoy waits for ever for what is left out, so it is told.
        let mine = mine.ok_or_else(|| Status::permission_denied(format!("`{}` is not this workload's", cut(name))))?;
        let held = self.source.x509_svid(mine).await?;
        let left = held.due.micros().saturating_sub(self.source.now().micros()).max(0).unsigned_abs();
        let certificate = TlsCertificate {
            certificate_chain: Some(inline(pem("CERTIFICATE", &held.chain).into_bytes())),
            private_key: Some(inline(pem("PRIVATE KEY", std::slice::from_ref(&*held.key_pkcs8)).into_bytes())),
        };
        Ok((Type::TlsCertificate(certificate), Duration::from_micros(left).max(Duration::from_secs(1))))
    }
}

fn validation(bundle: &Bundle) -> Result<Type, Status> {
    if bundle.x509_authorities.is_empty() {
        return Err(nobody(bundle.trust_domain.as_str()));
    }
    let trusted_ca = Some(inline(pem("CERTIFICATE", &bundle.x509_authorities).into_bytes()));
    Ok(Type::ValidationContext(CertificateValidationContext { trusted_ca, custom_validator_config: None }))
}

fn spiffe_validation(trust_domains: Vec<TrustDomain>) -> Result<Type, Status> {
    if trust_domains.is_empty() {
        return Err(nobody("any trust domain"));
    }
    let config = SpiffeCertValidatorConfig { trust_domains };
    let typed_config = Some(prost_types::Any { type_url: VALIDATOR.to_owned(), value: config.encode_to_vec() });
    let custom = TypedExtensionConfig { name: "envoy.tls.cert_validator.spiffe".into(), typed_config };
    Ok(Type::ValidationContext(CertificateValidationContext { trusted_ca: None, custom_validator_config: Some(custom) }))
}

/// Without authorities there is nothing to verify by, and Envoy would let everybody in.
fn nobody(of: &str) -> Status {
    Status::permission_denied(format!("nobody of {of} is trusted: it has no authority"))
}

fn inline(bytes: Vec<u8>) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::InlineBytes(bytes)) }
}

/// The start of what a caller wrote, on one line.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

const DEFAULT: &str = "default";
const ROOT: &str = "ROOTCA";
const ALL: &str = "ALL";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const VALIDATOR: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
/// Authorities change by notice only.
const LONG: Duration = Duration::from_secs(3600);
