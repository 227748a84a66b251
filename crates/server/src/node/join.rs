//! Joining: by what the server knows a node, and what the node keeps of it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_core::node::{NodeName, SERVER_PATH};
use marque_engine::{Bundle, BundleSet, EngineError, Env, NodeProof, PopChallenge, PopKey, SecretText};
use zeroize::Zeroizing;

use super::home::Joined;
use super::link::{Link, LinkError, Shown, Trust};
use super::wire::{self, JoinRequest, Received, WireSvid};

/// By what a node joins.
#[derive(Debug)]
pub enum Credentials {
    /// A token that a person made for it.
    Token(SecretText),
    /// A certificate of a CA that the server knows, DER, leaf first, and its key.
    Certificate {
        /// The certificates.
        chain: Vec<Vec<u8>>,
        /// The key.
        key: PopKey,
    },
}

/// Joins the server at `https://host:port`, which is known by its trust domain's bundle.
pub async fn join(
    server: &str,
    bundle: &Bundle,
    name: &NodeName,
    credentials: &Credentials,
    env: &Env,
) -> Result<Joined, JoinError> {
    let trust_domain = bundle.trust_domain.clone();
    let link = Link::new(server, trust([bundle.clone()].into_iter().collect(), &trust_domain, env)?, None)?;
    let proof = match credentials {
        Credentials::Token(token) => NodeProof::Token(token.clone()),
        Credentials::Certificate { chain, key } => {
            let challenge: PopChallenge = whole(link.ask("/v1/node/challenge", &(), PATIENCE).await?)?;
            let mut random = [0; 32];
            env.entropy.fill(&mut random);
            let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
            let answer = key.answer(&challenge, leaf, random).map_err(EngineError::from)?;
            NodeProof::Certificate { chain: chain.clone(), challenge, answer }
        }
    };
    let request = JoinRequest { name: name.clone(), proof: proof.into() };
    let svid: WireSvid = whole(link.ask("/v1/node/join", &request, PATIENCE).await?)?;
    let received = svid.received(env.clock.now()).ok_or(JoinError::Answer)?;
    let mut joined = Joined {
        server: server.to_owned(),
        trust_domain,
        name: name.clone(),
        chain: Vec::new(),
        key: SecretText::new(String::new()),
        due: received.due,
        ends: received.ends,
        bundle: bundle.to_spiffe_json().map_err(EngineError::from)?,
    };
    joined.hold(&received);
    Ok(joined)
}

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server did not answer, or said no.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What was given to join by is of no use.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The server's answer makes no sense.
    #[error("the server's answer makes no sense")]
    Answer,
}

impl Joined {
    pub(super) fn hold(&mut self, svid: &Received) {
        self.chain = svid.chain.iter().map(|der| STANDARD.encode(der)).collect();
        self.key = SecretText::new(STANDARD.encode(svid.key.as_slice()));
        (self.due, self.ends) = (svid.due, svid.ends);
    }

    pub(super) fn shown(&self) -> Option<Shown> {
        let chain = self.chain.iter().map(|der| STANDARD.decode(der)).collect::<Result<_, _>>().ok()?;
        Some(Shown { chain, key: Zeroizing::new(STANDARD.decode(self.key.danger_expose()).ok()?) })
    }
}

pub(super) fn trust(bundles: BundleSet, of: &marque_core::spiffe::TrustDomain, env: &Env) -> Result<Arc<Trust>, EngineError> {
    let server = of.join(SERVER_PATH)?;
    Ok(Arc::new(Trust { server, bundles: std::sync::RwLock::new(bundles), clock: Arc::clone(&env.clock) }))
}

pub(super) fn whole<T>(answer: Option<T>) -> Result<T, LinkError> {
    let nothing = || LinkError::Refused { code: wire::FAILED.into(), message: "the server answered nothing".into() };
    answer.ok_or_else(nothing)
}

pub(super) const PATIENCE: Duration = Duration::from_secs(5);
