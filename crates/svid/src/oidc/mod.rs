//! OpenID Connect: tokens that other issuers gave to workloads (GitHub Actions, GitLab CI, Kubernetes), and what relying
//! parties need to know of our own issuer. Fetching is not done here.

mod discovery;
mod selectors;

use marque_core::time::{Timestamp, Ttl};
use serde_json::{Map, Value};

pub use discovery::{Discovery, IssuerKeys, IssuerUrl, OwnDiscovery};
pub use selectors::selectors;

use crate::error::{Result, SvidError, shown};
use crate::jwk::Algorithm;
use crate::jws::{UnverifiedToken, audience_claim, check_times, text_claim, time_claim, token_hash};

/// Checks the tokens of one pinned issuer (OpenID Connect Core §3.1.3.7).
#[derive(Clone, Debug)]
pub struct OidcVerifier {
    issuer: IssuerUrl,
    audiences: Vec<String>,
    leeway: Ttl,
    keys: IssuerKeys,
}

/// What a verified token of another issuer says (OpenID Connect Core §2).
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedOidcToken {
    /// Who issued it.
    pub issuer: String,
    /// Whom it names there.
    pub subject: String,
    /// For whom it is meant.
    pub audience: Vec<String>,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Base64url of its SHA-256, under which it may be remembered as used.
    pub digest: String,
    /// All its claims.
    pub claims: Map<String, Value>,
}

impl OidcVerifier {
    /// For tokens of `issuer` that are meant for one of `audiences`, with its keys as they were fetched (OpenID Connect Core
    /// §3.1.3.7). Clocks may differ by `leeway`, at most five minutes.
    pub fn new(issuer: IssuerUrl, audiences: Vec<String>, leeway: Ttl, keys: IssuerKeys) -> Result<Self> {
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(SvidError::NoAudience);
        }
        Ok(Self { issuer, audiences, leeway: leeway.min(MAX_LEEWAY), keys })
    }

    /// Verifies a token (OpenID Connect Core §3.1.3.7, RFC 8725 §3).
    ///
    /// [`SvidError::UnknownKey`] may mean that the issuer has new keys, which are then to be fetched once.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<VerifiedOidcToken> {
        let unverified = UnverifiedToken::parse(token)?;
        unverified.check_jwt_type()?;
        let claims = self.signed_claims(&unverified)?;
        let issuer = text_claim(&claims, "iss")?;
        if issuer != self.issuer.as_str() {
            return Err(SvidError::Issuer(self.issuer.to_string()));
        }
        let audience = audience_claim(&claims)?;
        if !audience.iter().any(|found| self.audiences.contains(found)) {
            return Err(SvidError::Audience(self.audiences.join("`, `")));
        }
        let issued = time_claim(&claims, "iat")?.ok_or(SvidError::Claim("iat"))?;
        let expires = check_times(&claims, now, self.leeway)?;
        let subject = text_claim(&claims, "sub")?;
        if subject.is_empty() {
            return Err(SvidError::Claim("sub"));
        }
        Ok(VerifiedOidcToken {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audience,
            issued,
            expires,
            digest: token_hash(token),
            claims,
        })
    }

    /// The claims, if a key of the issuer signed them. Without a `kid`, there must be just one key for the algorithm.
    fn signed_claims(&self, token: &UnverifiedToken<'_>) -> Result<Map<String, Value>> {
        let algorithm = Algorithm::named(token.alg()?)?;
        let kid = token.parameter("kid")?;
        let candidates = self.keys.candidates(kid, algorithm);
        let unknown = || SvidError::UnknownKey(shown(kid.unwrap_or("without a name")));
        if candidates.is_empty() || (kid.is_none() && candidates.len() > 1) {
            return Err(unknown());
        }
        let mut last = unknown();
        for key in candidates {
            match token.verify(algorithm, key) {
                Ok(claims) => return Ok(claims),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

const MAX_LEEWAY: Ttl = Ttl::from_seconds(300);

#[cfg(test)]
mod tests;
