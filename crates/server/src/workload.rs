//! The SPIFFE Workload API (SPIFFE_Workload_API §5, §6; SPIFFE_Workload_Endpoint §3–§6).

use std::collections::HashMap;
use std::sync::Arc;

use marque_core::spiffe::SpiffeId;
use marque_core::time::Timestamp;
use marque_engine::Identified;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::pb::workload as pb;
use crate::pb::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use crate::serve::Peer;
use crate::source::{Bundles, Source, WitSource};
use crate::updates::{Current, Stated, Updates, updates};

/// The gRPC service for one connection, whose peer the kernel named.
pub fn service(source: Arc<dyn Source>, peer: Peer) -> SpiffeWorkloadApiServer<WorkloadApi> {
    SpiffeWorkloadApiServer::new(WorkloadApi(Arc::new(Inner { source, peer })))
}

/// The Workload API of one caller.
#[derive(Clone, Debug)]
pub struct WorkloadApi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    peer: Peer,
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = Updates<pb::X509svidResponse>;
    type FetchX509BundlesStream = Updates<pb::X509BundlesResponse>;
    type FetchJWTBundlesStream = Updates<pb::JwtBundlesResponse>;
    type FetchWITSVIDStream = Updates<pb::WitsvidResponse>;
    type FetchWITBundlesStream = Updates<pb::WitBundlesResponse>;

    async fn fetch_x509svid(&self, request: Request<pb::X509svidRequest>) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.stream(request.metadata(), String::new()).await
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<pb::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.stream(request.metadata(), String::new()).await
    }

    async fn fetch_jwtsvid(&self, request: Request<pb::JwtsvidRequest>) -> Result<Response<pb::JwtsvidResponse>, Status> {
        let copies = self.caller(request.metadata()).await?;
        let asked = request.into_inner();
        check_audience(&asked.audience)?;
        let copies = chosen(copies, &asked.spiffe_id)?;
        let mut svids = Vec::new();
        for copy in &copies {
            let svid = self.0.source.jwt_svid(copy, &asked.audience).await?;
            svids.push(pb::Jwtsvid { spiffe_id: copy.identity.to_string(), svid, hint: copy.hint.clone() });
        }
        Ok(Response::new(pb::JwtsvidResponse { svids }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<pb::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.stream(request.metadata(), String::new()).await
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<pb::ValidateJwtsvidRequest>,
    ) -> Result<Response<pb::ValidateJwtsvidResponse>, Status> {
        self.caller(request.metadata()).await?;
        let asked = request.into_inner();
        if asked.audience.is_empty() || asked.svid.is_empty() {
            return Err(Status::invalid_argument("an audience and a JWT-SVID are needed"));
        }
        let valid = self.0.source.validate(&asked.svid, &asked.audience).await?;
        let fields = valid.claims.iter().map(|(k, v)| (k.clone(), value(v))).collect();
        Ok(Response::new(pb::ValidateJwtsvidResponse {
            spiffe_id: valid.id.to_string(),
            claims: Some(prost_types::Struct { fields }),
        }))
    }

    async fn fetch_witsvid(&self, request: Request<pb::WitsvidRequest>) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        wit(&*self.0.source)?;
        let (metadata, _, asked) = request.into_parts();
        self.stream(&metadata, asked.spiffe_id).await
    }

    async fn fetch_wit_bundles(
        &self,
        request: Request<pb::WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        wit(&*self.0.source)?;
        self.stream(request.metadata(), String::new()).await
    }
}

impl WorkloadApi {
    /// The caller, attested now: a copy of each identity that it is. Every call carries `workload.spiffe.io: true`,
    /// once (Endpoint §3, §6).
    async fn caller(&self, metadata: &MetadataMap) -> Result<Vec<Identified>, Status> {
        check_mark(metadata, MARK)?;
        self.0.source.attest(&self.0.peer.process).await
    }

    /// A stream for the caller: of all that it is, or of the wanted identity.
    async fn stream<T: Stated>(&self, metadata: &MetadataMap, wanted: String) -> Result<Response<Updates<T>>, Status> {
        // Before the caller is attested, so that nothing is missed.
        let changes = self.0.source.changes();
        let copies = self.caller(metadata).await?;
        updates(Arc::clone(&self.0.source), self.0.peer.process.clone(), changes, copies, wanted).await
    }
}

/// The header that every request to the Workload API's socket carries (Endpoint §3), but for Envoy's own.
pub(crate) const MARK: &str = "workload.spiffe.io";

/// The security header is there, once, and says `true`.
pub(crate) fn check_mark(metadata: &MetadataMap, name: &'static str) -> Result<(), Status> {
    let mut marks = metadata.get_all(name).iter();
    if marks.next().is_none_or(|v| v.as_bytes() != b"true") || marks.next().is_some() {
        return Err(Status::invalid_argument(format!("the security header `{name}: true` is missing")));
    }
    Ok(())
}

pub(crate) fn check_audience(audience: &[String]) -> Result<(), Status> {
    if audience.len() > MAX_AUDIENCE || audience.iter().any(|a| a.len() > MAX_AUDIENCE_BYTES) {
        return Err(Status::invalid_argument(format!("at most {MAX_AUDIENCE} audiences of {MAX_AUDIENCE_BYTES} bytes")));
    }
    Ok(())
}

/// The copy of the identity that is asked for; without one, all.
pub(crate) fn chosen(mut copies: Vec<Identified>, wanted: &str) -> Result<Vec<Identified>, Status> {
    if wanted.is_empty() {
        return Ok(copies);
    }
    let wanted: SpiffeId = wanted.parse().map_err(|_| Status::invalid_argument("`spiffe_id` is not a SPIFFE ID"))?;
    copies.retain(|copy| copy.identity == wanted);
    if copies.is_empty() {
        return Err(Status::permission_denied(format!("this workload is not `{wanted}`")));
    }
    Ok(copies)
}

/// Where WIT-SVIDs come from, if they are served (Workload API §7).
fn wit(source: &dyn Source) -> Result<&dyn WitSource, Status> {
    source.wit().ok_or_else(|| Status::unimplemented("the WIT-SVID profile is not served"))
}

#[tonic::async_trait]
impl Stated for pb::X509svidResponse {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status> {
        let (mut svids, mut rotate, mut signed_by) = (Vec::new(), None, None);
        for copy in copies {
            let held = source.x509_svid(copy).await?;
            svids.push(pb::X509svid {
                spiffe_id: copy.identity.to_string(),
                x509_svid: held.chain.concat(),
                x509_svid_key: held.key_pkcs8.to_vec(),
                bundle: Vec::new(),
                hint: copy.hint.clone(),
            });
            rotate = Some(rotate.map_or(held.due, |at: Timestamp| at.min(held.due)));
            signed_by = Some(held.authority);
        }
        // After the SVIDs: an authority that signed one of them is in the bundle.
        let bundles = source.bundles()?;
        let bundle = bundles.own.x509_authorities.concat();
        svids.iter_mut().for_each(|svid| svid.bundle.clone_from(&bundle));
        let message = Self { svids, crl: Vec::new(), federated_bundles: foreign_roots(&bundles) };
        Ok(Current { message, rotate, signed_by })
    }
}

#[tonic::async_trait]
impl Stated for pb::X509BundlesResponse {
    async fn fresh(source: &dyn Source, _: &[Identified]) -> Result<Current<Self>, Status> {
        let known = source.bundles()?;
        let mut bundles = foreign_roots(&known);
        bundles.insert(known.own.trust_domain.id().to_string(), known.own.x509_authorities.concat());
        Ok(Current { message: Self { crl: Vec::new(), bundles }, rotate: None, signed_by: None })
    }
}

#[tonic::async_trait]
impl Stated for pb::JwtBundlesResponse {
    async fn fresh(source: &dyn Source, _: &[Identified]) -> Result<Current<Self>, Status> {
        let known = source.bundles()?;
        let mut bundles = HashMap::new();
        let foreign = known.foreign.iter().filter(|bundle| !bundle.jwt_keys.is_empty());
        for bundle in foreign.chain([&known.own]) {
            let jwks = bundle.jwt_jwks_json().map_err(|e| Status::unavailable(e.to_string()))?;
            bundles.insert(bundle.trust_domain.id().to_string(), jwks.into_bytes());
        }
        Ok(Current { message: Self { bundles }, rotate: None, signed_by: None })
    }
}

#[tonic::async_trait]
impl Stated for pb::WitsvidResponse {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status> {
        let (mut svids, mut rotate, mut signed_by) = (Vec::new(), None, None);
        for copy in copies {
            let held = wit(source)?.wit_svid(copy).await?;
            let svid = &held.issued.svid;
            svids.push(pb::Witsvid {
                spiffe_id: copy.identity.to_string(),
                wit_svid: svid.token.clone(),
                wit_svid_key: svid.key_jwk.danger_expose().to_owned(),
                hint: copy.hint.clone(),
            });
            rotate = Some(rotate.map_or(held.due, |at: Timestamp| at.min(held.due)));
            signed_by = Some(held.issued.authority.clone());
        }
        Ok(Current { message: Self { svids }, rotate, signed_by })
    }
}

#[tonic::async_trait]
impl Stated for pb::WitBundlesResponse {
    async fn fresh(source: &dyn Source, _: &[Identified]) -> Result<Current<Self>, Status> {
        let known = source.bundles()?;
        if known.own.wit_keys.is_empty() {
            return Err(Status::unavailable("the first key for WIT-SVIDs is being made: ask again"));
        }
        let mut bundles = HashMap::new();
        // WIT-SVID §6.2: a trust domain without such keys has no WIT-SVIDs.
        for bundle in known.foreign.iter().chain([&known.own]).filter(|bundle| !bundle.wit_keys.is_empty()) {
            let jwks = bundle.wit_jwks_json().map_err(|e| Status::unavailable(e.to_string()))?;
            bundles.insert(bundle.trust_domain.id().to_string(), jwks);
        }
        Ok(Current { message: Self { bundles }, rotate: None, signed_by: None })
    }
}

/// The CA certificates of other trust domains, by their SPIFFE ID (Workload API §5.2.1). One that has none is left out, by
/// which clients let go of those that it had (§4.4).
fn foreign_roots(bundles: &Bundles) -> HashMap<String, Vec<u8>> {
    let trusted = bundles.foreign.iter().filter(|bundle| !bundle.x509_authorities.is_empty());
    trusted.map(|b| (b.trust_domain.id().to_string(), b.x509_authorities.concat())).collect()
}

/// A JSON value as protobuf's.
fn value(json: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(b) => Kind::BoolValue(*b),
        serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(s) => Kind::StringValue(s.clone()),
        serde_json::Value::Array(list) => Kind::ListValue(prost_types::ListValue { values: list.iter().map(value).collect() }),
        serde_json::Value::Object(map) => {
            Kind::StructValue(prost_types::Struct { fields: map.iter().map(|(k, v)| (k.clone(), value(v))).collect() })
        }
    };
    prost_types::Value { kind: Some(kind) }
}

/// The most audiences of one JWT-SVID, and how long one may be.
const MAX_AUDIENCE: usize = 64;
const MAX_AUDIENCE_BYTES: usize = 1024;
