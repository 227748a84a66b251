//! The claims of a task token: an RFC 9068 access token with the delegation chain of RFC 8693.

use serde::{Deserialize, Serialize};

/// The `typ` header of an access token (RFC 9068 §2.1).
pub const AT_JWT_TYP: &str = "at+jwt";

/// What a task token says (RFC 9068 §2.2, RFC 8693 §4.1, RFC 9396 §9.1, RFC 8705 §3.1).
///
/// `sub` is the principal who asked and never changes along the chain; `act` is who acts now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskClaims {
    /// Who issued the token (RFC 9068 §2.2).
    pub iss: String,
    /// The principal for whom the work is done (RFC 9068 §2.2).
    pub sub: String,
    /// For whom the token is meant (RFC 9068 §2.2).
    pub aud: Vec<String>,
    /// The client that asked for the token (RFC 8693 §4.3).
    pub client_id: String,
    /// The unique name of the token: the lease (RFC 9068 §2.2).
    pub jti: String,
    /// When it was issued, in seconds since the epoch (RFC 9068 §2.2).
    pub iat: i64,
    /// When it ends, in seconds since the epoch (RFC 9068 §2.2).
    pub exp: i64,
    /// The scopes, separated by spaces (RFC 9068 §2.2.3).
    pub scope: String,
    /// The grants in full (RFC 9396 §9.1).
    pub authorization_details: serde_json::Value,
    /// The key that the holder must prove (RFC 7800 §3.1).
    pub cnf: Confirmation,
    /// Who acts, and for whom that one acts in turn (RFC 8693 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
    /// The task that the token belongs to; a private claim (RFC 7519 §4.3).
    pub task: String,
    /// The tasks above it, the root first; a private claim (RFC 7519 §4.3). Revoking any of them ends the token.
    pub lineage: Vec<String>,
    /// The epoch of the task at issue; a private claim (RFC 7519 §4.3).
    ///
    /// INVARIANT (I4 revocation is monotone): a token that carries an older epoch than the task's own is dead.
    pub epoch: u64,
    /// How many delegations lie above; a private claim (RFC 7519 §4.3).
    pub depth: u8,
}

/// The `cnf` claim: what the token is bound to (RFC 7800 §3.1, RFC 8705 §3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The thumbprint of the certificate that the holder must present (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<String>,
}

/// The `act` claim (RFC 8693 §4.1): the outermost acts now, the inner ones are there to be read, not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Who acts (RFC 8693 §4.1).
    pub sub: String,
    /// Who vouches for that name (RFC 8693 §4.1).
    pub iss: String,
    /// What kind of actor this is, such as `ai_agent` (OAuth actor profile).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_profile: Option<String>,
    /// Who acted before (RFC 8693 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_use_the_registered_names_and_leave_out_what_is_absent() {
        let inner = Actor { sub: "spiffe://a/agent/1".into(), iss: "https://a".into(), sub_profile: None, act: None };
        let outer = Actor {
            sub: "spiffe://a/agent/2".into(),
            sub_profile: Some("ai_agent".into()),
            act: Some(Box::new(inner.clone())),
            ..inner
        };
        let claims = TaskClaims {
            iss: "https://a".into(),
            sub: "user:ada".into(),
            aud: vec!["https://tools".into()],
            client_id: "spiffe://a/agent/2".into(),
            jti: "l1".into(),
            iat: 1,
            exp: 2,
            scope: "read".into(),
            authorization_details: serde_json::json!([{ "type": "marque" }]),
            cnf: Confirmation { x5t_s256: Some("abc".into()) },
            act: Some(Box::new(outer)),
            task: "t2".into(),
            lineage: vec!["t1".into()],
            epoch: 7,
            depth: 1,
        };
        let json = serde_json::to_value(&claims).unwrap();
        assert_eq!(json["cnf"], serde_json::json!({ "x5t#S256": "abc" }));
        assert_eq!(json["act"]["act"], serde_json::json!({ "sub": "spiffe://a/agent/1", "iss": "https://a" }));
        assert_eq!(serde_json::from_value::<TaskClaims>(json).unwrap(), claims);
    }
}
