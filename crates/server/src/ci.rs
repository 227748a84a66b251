//! Token exchange for workloads that another platform vouches for (RFC 8693): a CI job, a pod. Its token is the subject
//! token; the answer is an SVID of the identity whose selectors the token's claims have.

use std::sync::Arc;

use axum::http::StatusCode;
use marque_core::lease::CredentialClass;
use marque_core::time::Timestamp;
use marque_engine::{Engine, EngineError};
use serde_json::{Value, json};

use crate::oauth::{JWT, TokenError, TokenRequest, invalid};
use crate::pem::pem;

/// `urn:ietf:params:oauth:token-type:id_token` (RFC 8693 §3).
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// An X.509-SVID with its key and the trust domain's authorities, as PEM; Marque's own.
pub const X509_SVID: &str = "urn:marque:token-type:x509-svid";

/// Whether a request without a client certificate is one of these.
pub fn is_meant(engine: &Engine, request: &TokenRequest) -> bool {
    matches!(request.subject_token_type.as_str(), ID_TOKEN | JWT)
        && request.actor_token.is_none()
        && request.task.is_none()
        && engine.names_trusted_issuer(&request.subject_token)
}

/// Exchanges the token: for a JWT-SVID for `audience`, or for an X.509-SVID, by which the job goes on as any workload.
pub async fn exchange(engine: &Arc<Engine>, request: &TokenRequest) -> Result<Value, TokenError> {
    let instance = engine.attest_token(&request.subject_token).await.map_err(refused)?;
    match request.requested_token_type.as_deref() {
        None | Some(JWT) => {
            let audience = request.audience.clone().or_else(|| request.resource.clone());
            let audience = audience.ok_or_else(|| invalid("say with `audience` whom the JWT-SVID is for".into()))?;
            let svid = engine.jwt_svid(&instance, &[audience]).await.map_err(refused)?;
            let longest = CredentialClass::JwtSvid.max_ttl().seconds().cast_signed();
            let lifetime = instance.attestation.until.map_or(longest, |until| left(engine, until).min(longest));
            Ok(json!({
                "access_token": svid,
                "issued_token_type": JWT,
                "token_type": "N_A",
                "expires_in": lifetime,
                "spiffe_id": instance.identity.to_string(),
            }))
        }
        Some(X509_SVID) => {
            let issued = engine.x509_svid(&instance).await.map_err(refused)?;
            let svid = issued.svid;
            let bundle = engine.authorities().bundle().x509_authorities.clone();
            let lifetime = left(engine, svid.not_after);
            Ok(json!({
                "access_token": pem("CERTIFICATE", &svid.chain),
                "private_key": pem("PRIVATE KEY", std::slice::from_ref(&*svid.key_pkcs8)),
                "bundle": pem("CERTIFICATE", &bundle),
                "issued_token_type": X509_SVID,
                "token_type": "N_A",
                "expires_in": lifetime,
                "spiffe_id": instance.identity.to_string(),
            }))
        }
        Some(other) => Err(invalid(format!("`requested_token_type` is `{other}`: use `{JWT}` or `{X509_SVID}`"))),
    }
}

/// How many seconds are left.
fn left(engine: &Engine, until: Timestamp) -> i64 {
    until.seconds().saturating_sub(engine.now().seconds())
}

fn refused(error: EngineError) -> TokenError {
    let text = error.to_string();
    match error {
        EngineError::NoIdentity(_) | EngineError::Ambiguous(_) | EngineError::Dead(_) => {
            TokenError(StatusCode::FORBIDDEN, "access_denied", text)
        }
        EngineError::Svid(_) | EngineError::Unauthenticated(_) => TokenError(StatusCode::BAD_REQUEST, "invalid_grant", text),
        EngineError::Store(_) | EngineError::Encode(_) => {
            tracing::error!("an exchange failed: {}", error.chain());
            let why = "nothing could be recorded, so nothing was issued".to_owned();
            TokenError(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", why)
        }
        _ => invalid(text),
    }
}
