//! `oidc`: another issuer's token. A CI job or a pod proves what it is by a token that its platform gave it, and
//! no agent of ours runs beside it (SPIFFE-less bootstrap; RFC 8693 at the token endpoint).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_core::attestation::{Attestation, Instance};
use marque_core::time::{Timestamp, Ttl};
use marque_svid::oidc::{Discovery, IssuerKeys, IssuerUrl, OidcVerifier, selectors};

use super::Attestor;
use crate::attest::Observed;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// An issuer whose tokens attest workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// Its name, exactly as its tokens have it.
    pub issuer: IssuerUrl,
    /// For whom its tokens must be meant; at least one.
    pub audiences: Vec<String>,
}

/// The issuers that are trusted, with their keys as they were last fetched.
#[derive(Debug, Default)]
pub(crate) struct Issuers(BTreeMap<String, OidcVerifier>);

impl Engine {
    /// Trusts an issuer with these keys (a JWKS document) from now on; the same issuer again replaces its keys.
    pub fn trust_issuer(&self, trusted: &TrustedIssuer, jwks: &[u8]) -> Result<()> {
        let keys = IssuerKeys::read(jwks)?;
        let verifier = OidcVerifier::new(trusted.issuer.clone(), trusted.audiences.clone(), LEEWAY, keys)?;
        let mut issuers = self.issuers.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        issuers.0.insert(trusted.issuer.to_string(), verifier);
        Ok(())
    }

    /// Where an issuer's keys are, as its discovery document says (OpenID Connect Discovery §4.3).
    pub fn keys_of(&self, issuer: &IssuerUrl, discovery: &[u8]) -> Result<String> {
        Ok(Discovery::read(issuer, discovery)?.jwks_uri)
    }

    /// Whether a token says that it is of an issuer that is trusted here. Nothing of it has been verified.
    pub fn names_trusted_issuer(&self, token: &str) -> bool {
        let named = || {
            let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
            serde_json::from_slice::<serde_json::Value>(&claims).ok()?.get("iss")?.as_str().map(str::to_owned)
        };
        let issuers = self.issuers.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        named().is_some_and(|issuer| issuers.0.contains_key(&issuer))
    }

    /// The instance that a token of a trusted issuer attests. Each token is an instance of its own, which ends with the
    /// token: two jobs, or two steps with a token each, never share one.
    pub async fn attest_token(&self, token: &str) -> Result<Instance> {
        let said = {
            let issuers = self.issuers.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            issuers.attest(token, self.now())
        };
        let seen = self.noted(Issuers::NAME, said).await?;
        self.attest(Observed(seen), None).await
    }
}

impl Attestor for Issuers {
    const NAME: &'static str = "oidc";
    type Evidence<'a> = &'a str;

    /// `oidc:iss:…` and a selector for each claim, until the token ends.
    fn attest(&self, token: &str, now: Timestamp) -> Result<Attestation> {
        let mut last = EngineError::Unauthenticated("no issuer of such tokens is trusted here".into());
        let mut verified = None;
        for verifier in self.0.values() {
            match verifier.verify(token, now) {
                Ok(good) => verified = Some(good),
                Err(marque_svid::SvidError::Issuer(_)) => {}
                Err(error) => last = error.into(),
            }
        }
        let verified = verified.ok_or(last)?;
        Ok(Attestation {
            method: Self::NAME.into(),
            pid: 0,
            started: digest_number(&verified.digest),
            selectors: selectors(&verified)?,
            until: Some(verified.expires.min(now.plus(LONGEST))),
            node: None,
        })
    }
}

/// Tells one token from another. It stays below 2^52: canonical JSON has no larger whole numbers (RFC 8785 §3.2.2.3).
fn digest_number(digest: &str) -> u64 {
    crate::digest::sha256(digest.as_bytes()).as_bytes().first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b) >> 12)
}

/// By how much clocks may differ.
const LEEWAY: Ttl = Ttl::from_seconds(60);
/// The longest that an instance lives on one token, whatever the token says.
const LONGEST: Ttl = Ttl::from_minutes(6 * 60);
