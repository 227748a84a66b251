//! Nodes: what the server answers them on its TLS listener, and the other end, on a node, which serves the Workload API.
//!
//! A node proves itself by its X.509-SVID on every connection, and on every call the engine asks whether that still counts.

mod home;
mod join;
mod link;
mod remote;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use marque_core::id::InstanceId;
use marque_core::state::Dead;
use marque_engine::{Engine, EngineError, Identified, NodePeer, NodeProof, NodeSight, PopChallenge};
use serde::de::DeserializeOwned;
use serde_json::json;

pub use home::{Home, HomeError, Joined};
pub use join::{Credentials, JoinError, join};
pub use link::LinkError;
pub use remote::RemoteSource;
pub use wire::received;
use wire::{JoinRequest, JwtRequest, OfInstance, SyncRequest, ValidateRequest, WireJwt, WireSvid, WireValid};

/// The routes for one connection; its node, if its client showed a node's certificate, is an extension of each request.
pub fn router(engine: Arc<Engine>, node: Option<NodePeer>) -> Router {
    Router::new()
        .route("/v1/node/challenge", post(challenge))
        .route("/v1/node/join", post(admit))
        .route("/v1/node/renew", post(renew))
        .route("/v1/node/sync", post(sync))
        .route("/v1/node/attest", post(attest))
        .route("/v1/node/again", post(attest_again))
        .route("/v1/node/x509", post(x509_svid))
        .route("/v1/node/jwt", post(jwt_svid))
        .route("/v1/node/validate", post(validate))
        .route("/v1/node/ended", post(ended))
        .layer(DefaultBodyLimit::max(256 << 10))
        .layer(Extension(node))
        .with_state(engine)
}

/// The node that asks.
struct Node(NodePeer);

impl FromRequestParts<Arc<Engine>> for Node {
    type Rejection = NodeError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Engine>) -> Result<Self, NodeError> {
        let peer = parts.extensions.get::<Option<NodePeer>>().cloned().flatten();
        let unknown = || EngineError::Unauthenticated("connect with the node's X.509-SVID".into());
        Ok(Self(peer.ok_or_else(unknown)?))
    }
}

/// A JSON body that must parse.
struct Asked<T>(T);

impl<T: DeserializeOwned> FromRequest<Arc<Engine>> for Asked<T> {
    type Rejection = NodeError;

    async fn from_request(request: Request, engine: &Arc<Engine>) -> Result<Self, NodeError> {
        let invalid = |e: JsonRejection| EngineError::Invalid(e.body_text());
        Ok(Json::from_request(request, engine).await.map(|Json(value)| Self(value)).map_err(invalid)?)
    }
}

/// An error as JSON: `{"error": "<code>", "message": "…"}`.
struct NodeError(EngineError);

impl<E: Into<EngineError>> From<E> for NodeError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for NodeError {
    fn into_response(self) -> Response {
        let (status, code) = match &self.0 {
            EngineError::Dead(Dead::Banned(_)) => (StatusCode::FORBIDDEN, wire::BANNED),
            EngineError::Unauthenticated(_) | EngineError::Svid(_) => (StatusCode::UNAUTHORIZED, wire::UNAUTHENTICATED),
            EngineError::NoIdentity(_) | EngineError::Ambiguous(_) | EngineError::Forbidden(_) | EngineError::Dead(_) => {
                (StatusCode::FORBIDDEN, wire::DENIED)
            }
            EngineError::Invalid(_) | EngineError::Parse(_) => (StatusCode::BAD_REQUEST, wire::INVALID),
            _ => (StatusCode::SERVICE_UNAVAILABLE, wire::FAILED),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!("a node's request failed: {}", self.0.chain());
        }
        (status, Json(json!({ "error": code, "message": self.0.chain() }))).into_response()
    }
}

type Answer<T> = Result<Json<T>, NodeError>;

async fn challenge(State(engine): State<Arc<Engine>>) -> Answer<PopChallenge> {
    Ok(Json(engine.node_challenge()?))
}

async fn admit(State(engine): State<Arc<Engine>>, Asked(asked): Asked<JoinRequest>) -> Answer<WireSvid> {
    let proof = NodeProof::try_from(asked.proof)?;
    let svid = engine.join_node(&asked.name, &proof).await?;
    Ok(Json(WireSvid::of_node(&svid, engine.now())))
}

async fn renew(State(engine): State<Arc<Engine>>, Node(peer): Node) -> Answer<WireSvid> {
    let svid = engine.renew_node(&peer).await?;
    Ok(Json(WireSvid::of_node(&svid, engine.now())))
}

/// What the node may show: at once if it is not what the node has seen, else when it changes, or `204` after a while.
async fn sync(
    State(engine): State<Arc<Engine>>,
    Node(peer): Node,
    Asked(asked): Asked<SyncRequest>,
) -> Result<Response, NodeError> {
    engine.node_contact(&peer)?;
    let longest = Duration::from_secs(engine.max_staleness().seconds()) / HOLDS;
    let over = tokio::time::sleep(longest.min(Duration::from_millis(asked.hold_millis)));
    tokio::pin!(over);
    let (mut ended, mut bundles) = (engine.watch_ended(), engine.watch_bundles());
    loop {
        let now = engine.node_sync(&peer)?;
        if asked.seen.as_ref() != Some(&now.seen) {
            return Ok(Json(now).into_response());
        }
        tokio::select! {
            _ = ended.changed() => {}
            _ = bundles.changed() => {}
            () = &mut over => return Ok(StatusCode::NO_CONTENT.into_response()),
        }
        // Much may end at once; it is told together.
        tokio::time::sleep(TOGETHER).await;
    }
}

async fn attest(State(engine): State<Arc<Engine>>, Node(peer): Node, Asked(sight): Asked<NodeSight>) -> Answer<Vec<Identified>> {
    Ok(Json(engine.attest_on_node(&peer, sight).await?))
}

async fn attest_again(
    State(engine): State<Arc<Engine>>,
    Node(peer): Node,
    Asked(copies): Asked<Vec<Identified>>,
) -> Answer<Option<Vec<Identified>>> {
    Ok(Json(engine.attest_again_on_node(&peer, &copies).await?))
}

async fn x509_svid(State(engine): State<Arc<Engine>>, Node(peer): Node, Asked(of): Asked<OfInstance>) -> Answer<WireSvid> {
    let instance = engine.node_instance(&peer, of.instance)?;
    let held = engine.current_x509_svid(&instance).await?;
    Ok(Json(WireSvid::of_workload(&held, engine.now())))
}

async fn jwt_svid(State(engine): State<Arc<Engine>>, Node(peer): Node, Asked(asked): Asked<JwtRequest>) -> Answer<WireJwt> {
    let instance = engine.node_instance(&peer, asked.instance)?;
    Ok(Json(WireJwt { svid: engine.jwt_svid(&instance, &asked.audience).await? }))
}

async fn validate(
    State(engine): State<Arc<Engine>>,
    Node(peer): Node,
    Asked(asked): Asked<ValidateRequest>,
) -> Answer<WireValid> {
    engine.node_contact(&peer)?;
    let invalid = |e: EngineError| EngineError::Invalid(e.to_string());
    let valid = engine.validate_any_jwt_svid(&asked.svid, Some(&asked.audience)).map_err(invalid)?;
    Ok(Json(WireValid { id: valid.id, claims: valid.claims }))
}

async fn ended(State(engine): State<Arc<Engine>>, Node(peer): Node, Asked(ended): Asked<BTreeSet<InstanceId>>) -> Answer<()> {
    Ok(Json(engine.end_on_node(&peer, &ended).await?))
}

/// A node asks again this often within the time for which it may show what it has.
pub(crate) const HOLDS: u32 = 3;
const TOGETHER: Duration = Duration::from_millis(20);
