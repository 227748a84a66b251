//! The one error of this crate.

use marque_core::time::Timestamp;

/// What this crate returns.
pub type Result<T, E = SvidError> = std::result::Result<T, E>;

/// Why a credential was not issued or not accepted (X509-SVID §5, JWT-SVID §4).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// A key could not be generated, read or used.
    #[error("the key could not be generated, read or used")]
    Key,
    /// The X.509 certificate could not be built (X509-SVID §3).
    #[error("the certificate could not be built")]
    Build(#[from] rcgen::Error),
    /// The device that keeps the key did not sign (RFC 7515 §5.1).
    #[error("the signing key could not be used")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// JSON could not be read or written.
    #[error("the JSON could not be read or written")]
    Json(#[from] serde_json::Error),
    /// What was kept of an authority does not fit together.
    #[error("the stored authority is damaged: {0}")]
    Stored(&'static str),
    /// The rules of rotation contradict each other (SPIFFE Federation §4.1).
    #[error("the rotation policy is refused: {0}")]
    Policy(&'static str),
    /// The authority is not in the set, or not in the phase that the step needs (SPIFFE Federation §4.1).
    #[error("the authority `{0}` is unknown or not in the phase that this step needs")]
    NoSuchAuthority(String),
    /// The upstream authority cannot sign for this trust domain (X509-SVID §3.2).
    #[error("the upstream authority is refused: {0}")]
    Upstream(&'static str),
    /// The upstream authority, or what stands above it, has ended or has not begun (RFC 5280 §4.1.2.5).
    #[error("the upstream authority{} is valid from {from} until {until}, and not now", .file.as_ref().map(|file| format!(" in `{file}`")).unwrap_or_default())]
    UpstreamTime {
        /// Where its certificate is.
        file: Option<String>,
        /// When it begins, with all above it.
        from: Timestamp,
        /// When it ends, or something above it does.
        until: Timestamp,
    },
    /// A bundle is made of at least one authority (SPIFFE Trust Domain and Bundle §4).
    #[error("a bundle needs at least one authority")]
    NoAuthority,
    /// The identifier belongs to another trust domain (X509-SVID §5, Workload API §4.6).
    #[error("`{0}` is of another trust domain")]
    TrustDomain(String),
    /// Only an identifier with a path names a workload (X509-SVID §5.2, JWT-SVID §3.1).
    #[error("`{0}` has no path, so it names no workload")]
    NoPath(String),
    /// The text cannot stand in a DNS name of the subject alternative names (RFC 5280 §4.2.1.6).
    #[error("`{0}` is not a DNS name")]
    DnsName(String),
    /// At least one audience, none of them empty (JWT-SVID §3.2).
    #[error("the audience is empty")]
    NoAudience,
    /// The authority is not valid at this moment, or what it issued would already have ended.
    #[error("the authority is not valid now or the lifetime is zero")]
    Lifetime,
    /// The token is longer than any this crate issues.
    #[error("the token is too long")]
    TokenSize,
    /// The token is not a JWS in compact serialization (JWT-SVID §2).
    #[error("the token is not a compact JWS: {0}")]
    TokenForm(&'static str),
    /// The algorithm is not allowed for this kind of token, or not for this key (JWT-SVID §2.1).
    #[error("the algorithm `{0}` is not allowed")]
    Algorithm(String),
    /// The `typ` header is not that of the expected kind of token (JWT-SVID §2.3, RFC 9068 §4).
    #[error("the token type `{0}` is not the one expected")]
    TokenType(String),
    /// The bundle holds no key of this name (JWT-SVID §2.2).
    #[error("the key `{0}` is not in the bundle")]
    UnknownKey(String),
    /// The signature does not verify (JWT-SVID §4).
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing or malformed (JWT-SVID §3, RFC 9068 §2.2).
    #[error("the claim `{0}` is missing or malformed")]
    Claim(&'static str),
    /// The token or certificate has ended (JWT-SVID §3.3, RFC 5280 §6.1.3).
    #[error("the credential has expired")]
    Expired,
    /// The token or certificate starts, or was issued, in the future (RFC 7519 §4.1.5, RFC 5280 §6.1.3).
    #[error("the credential is not valid yet")]
    NotYetValid,
    /// The token is meant for someone else (JWT-SVID §3.2).
    #[error("the token is not for the audience `{0}`")]
    Audience(String),
    /// The token is of another issuer (RFC 9068 §4).
    #[error("the token is not of the issuer `{0}`")]
    Issuer(String),
    /// The certificate breaks a rule of the profile (X509-SVID §5.2).
    #[error("the certificate is refused: {0}")]
    Certificate(&'static str),
    /// No path leads from the certificate to an authority of the bundle (X509-SVID §5.1).
    #[error("the certificate chain does not lead to an authority of `{0}`")]
    Chain(String),
    /// The document is longer than any that is expected (SPIFFE Trust Domain and Bundle §4).
    #[error("the document is too long")]
    DocumentSize,
    /// The document is not of its kind (SPIFFE Trust Domain and Bundle §4 and §5, OpenID Connect Discovery §4.3).
    #[error("the document is refused: {0}")]
    Document(&'static str),
    /// Nothing is known of the trust domain, so nothing of it is trusted (SPIFFE Federation §7.3).
    #[error("there is no bundle of `{0}`")]
    NoBundle(String),
    /// The bundle is older than the one already known (SPIFFE Federation §4.2).
    #[error("the bundle of `{0}` is older than the one that is known")]
    Stale(String),
    /// The URL may not be fetched from (SPIFFE Federation §5.2.1.1).
    #[error("`{0}` is not an https URL without user information")]
    Url(String),
    /// The server is another workload than the one configured (SPIFFE Federation §5.2.2.4).
    #[error("the endpoint is `{0}`, not the one configured")]
    Endpoint(String),
    /// The proof of possession does not hold (WIT-SVID §5, draft-ietf-wimse-wpt §2).
    #[error("the proof of possession is refused: {0}")]
    Proof(&'static str),
    /// The join token does not admit anyone.
    #[error("the join token is refused: {0}")]
    JoinToken(&'static str),
    /// What was observed cannot be written as selectors.
    #[error("the selectors are refused: {0}")]
    Selectors(&'static str),
}

/// Text of unknown origin, made fit for a message: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
