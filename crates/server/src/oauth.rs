//! The token endpoint (RFC 6749 §3.2, RFC 8693), its metadata (RFC 8414) and the public keys, on TLS.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Form, FromRequest as _, State};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use marque_core::scope::Scope;
use marque_engine::{Engine, EngineError, Exchange, TokenType, Workload};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ci;

/// The routes. The connection's workload, if its client showed a certificate, is an extension of each request.
pub fn router(engine: Arc<Engine>, workload: Option<Workload>) -> Router {
    Router::new()
        .route("/oauth/token", post(token))
        .route("/oauth/jwks", get(jwks))
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/spiffe/bundle", get(bundle))
        .layer(axum::extract::DefaultBodyLimit::max(64 << 10))
        .layer(Extension(workload))
        .with_state(engine)
}

/// The parameters of a token exchange (RFC 8693 §2.1). `task` and `purpose` are Marque's own.
#[derive(Deserialize)]
pub struct TokenRequest {
    pub(crate) grant_type: String,
    #[serde(default)]
    pub(crate) subject_token: String,
    #[serde(default)]
    pub(crate) subject_token_type: String,
    pub(crate) actor_token: Option<String>,
    pub(crate) actor_token_type: Option<String>,
    pub(crate) requested_token_type: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) purpose: Option<String>,
}

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// An error of RFC 6749 §5.2 or RFC 8693 §2.2.2.
pub struct TokenError(pub(crate) StatusCode, pub(crate) &'static str, pub(crate) String);

impl TokenError {
    /// The error's code.
    pub fn code(&self) -> &'static str {
        self.1
    }

    /// What it is, in the characters that a description may have (RFC 6749 §5.2).
    pub fn description(&self) -> String {
        let may_be = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        self.2.chars().map(|c| if may_be(c) { c } else { '?' }).collect()
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        (self.0, no_store(), Json(json!({ "error": self.1, "error_description": self.description() }))).into_response()
    }
}

async fn token(
    State(engine): State<Arc<Engine>>,
    Extension(workload): Extension<Option<Workload>>,
    form: Result<Form<TokenRequest>, axum::extract::rejection::FormRejection>,
) -> Result<Response, TokenError> {
    let unknown = || TokenError(StatusCode::UNAUTHORIZED, "invalid_client", "connect with your X.509-SVID".into());
    let form = if workload.is_none() { form.map_err(|_| unknown()) } else { form.map_err(|e| invalid(e.body_text())) };
    let Form(request) = form?;
    if workload.is_none() && request.grant_type == GRANT && ci::is_meant(&engine, &request) {
        return Ok((no_store(), Json(ci::exchange(&engine, &request).await?)).into_response());
    }
    let client = workload.ok_or_else(unknown)?;
    let exchange = parse(engine.gateway(), client, request)?;
    let given = engine.exchange(exchange).await.map_err(refused)?;
    let lifetime = given.lease.expires.seconds().saturating_sub(given.lease.issued.seconds());
    let grants: Vec<String> = given.lease.scope.grants().map(ToString::to_string).collect();
    let body = json!({
        "access_token": given.token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": given.lease.scope.to_string(),
        "authorization_details": [{ "type": "urn:marque:grants", "grants": grants }],
        "task": given.task.id.to_string(),
    });
    Ok((no_store(), Json(body)).into_response())
}

/// What a workload asks for by a form, where tokens are for `gateway`.
pub async fn exchange_of(form: Vec<u8>, gateway: &str, client: Workload) -> Result<Exchange, TokenError> {
    let request = Request::post("/oauth/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = request.body(Body::from(form)).map_err(|e| invalid(e.to_string()))?;
    let Form(request) = Form::<TokenRequest>::from_request(request, &()).await.map_err(|e| invalid(e.body_text()))?;
    parse(gateway, client, request)
}

fn parse(gateway: &str, client: Workload, request: TokenRequest) -> Result<Exchange, TokenError> {
    if request.grant_type != GRANT {
        let why = format!("only `{GRANT}` is supported");
        return Err(TokenError(StatusCode::BAD_REQUEST, "unsupported_grant_type", why));
    }
    if request.subject_token.is_empty() {
        return Err(invalid("`subject_token` is missing".into()));
    }
    let subject_type = match request.subject_token_type.as_str() {
        ACCESS_TOKEN => TokenType::AccessToken,
        JWT => TokenType::Jwt,
        other => return Err(invalid(format!("`subject_token_type` is `{other}`: use `{ACCESS_TOKEN}` or `{JWT}`"))),
    };
    let actor = match (request.actor_token, request.actor_token_type.as_deref()) {
        (None, None) => None,
        (Some(token), Some(JWT)) => Some(token),
        _ => return Err(invalid(format!("`actor_token` and `actor_token_type` come together, the type is `{JWT}`"))),
    };
    if request.requested_token_type.is_some_and(|t| t != ACCESS_TOKEN) {
        return Err(invalid(format!("`requested_token_type` can only be `{ACCESS_TOKEN}`")));
    }
    if let Some(target) = request.audience.iter().chain(&request.resource).find(|t| t.as_str() != gateway) {
        let why = format!("`{target}` is not a target here: tokens are for `{gateway}`");
        return Err(TokenError(StatusCode::BAD_REQUEST, "invalid_target", why));
    }
    // A parameter without a value counts as left out (RFC 6749 §3.2).
    let scope: Option<Scope> = match request.scope.filter(|s| !s.trim().is_empty()) {
        Some(text) => Some(
            text.parse()
                .map_err(|e: marque_core::ParseError| TokenError(StatusCode::BAD_REQUEST, "invalid_scope", e.to_string()))?,
        ),
        None => None,
    };
    let task = request.task.map(|t| t.parse()).transpose().map_err(|e: marque_core::ParseError| invalid(e.to_string()))?;
    Ok(Exchange { client, subject: (request.subject_token, subject_type), actor, task, scope, purpose: request.purpose })
}

fn refused(error: EngineError) -> TokenError {
    use marque_core::task::TaskError;
    let text = error.to_string();
    match error {
        EngineError::Task(
            TaskError::WiderThanParent(..) | TaskError::AboveCeiling(..) | TaskError::WiderThanTask(..) | TaskError::Empty(_),
        ) => TokenError(StatusCode::BAD_REQUEST, "invalid_scope", text),
        EngineError::Denied(_) => TokenError(StatusCode::FORBIDDEN, "access_denied", text),
        EngineError::Store(_) | EngineError::Encode(_) => {
            tracing::error!("an exchange failed: {}", error.chain());
            TokenError(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "nothing could be recorded, so nothing was issued".into(),
            )
        }
        _ => invalid(text),
    }
}

pub(crate) fn invalid(why: String) -> TokenError {
    TokenError(StatusCode::BAD_REQUEST, "invalid_request", why)
}

/// RFC 6749 §5.1: answers with tokens are never stored.
fn no_store() -> HeaderMap {
    HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))])
}

async fn metadata(State(engine): State<Arc<Engine>>) -> Json<Value> {
    let issuer = engine.issuer();
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth/token"),
        "jwks_uri": format!("{issuer}/oauth/jwks"),
        "grant_types_supported": [GRANT],
        "response_types_supported": ["none"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": true,
        "authorization_details_types_supported": ["urn:marque:grants"],
    }))
}

/// What relying parties that federate with JWT-SVIDs read (OpenID Connect Discovery §3).
async fn discovery(State(engine): State<Arc<Engine>>) -> Response {
    keys(engine.discovery_document())
}

async fn jwks(State(engine): State<Arc<Engine>>) -> Response {
    keys(engine.authorities().bundle().oauth_jwks_json())
}

/// The trust domain's bundle (SPIFFE_Trust_Domain_and_Bundle §4, SPIFFE_Federation §5.2.1).
async fn bundle(State(engine): State<Arc<Engine>>) -> Response {
    keys(engine.authorities().bundle().to_spiffe_json())
}

fn keys<E: std::fmt::Display>(json: Result<String, E>) -> Response {
    match json {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            tracing::error!("the keys could not be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
