//! Nodes: how other hosts are admitted, how long what they hold counts, and how they are banned.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use marque_core::attestation::{Attestation, Selector};
use marque_core::event::{Body, By};
use marque_core::id::InstanceId;
use marque_core::lease::CredentialClass;
use marque_core::node::{Admission, Node, NodeName};
use marque_core::spiffe::TrustDomain;
use marque_core::state::State;
use marque_core::time::{Timestamp, Ttl};
use marque_svid::join::JoinToken;
use marque_svid::x509pop::{Answer, Challenge};
use marque_svid::{BundleSet, SecretText, X509Request, X509Svid, verify_x509_svid};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::attestors::{Attestor as _, Certificates, JoinTokens, ShownCertificate, ShownToken};
use crate::caller::Caller;
use crate::digest::sha256;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A node at the other end of a connection, by its X.509-SVID. Whether that still counts every call asks again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePeer {
    /// Which.
    pub name: NodeName,
    /// Its certificate's serial number.
    pub certificate: String,
}

/// How a node proves that it is the one of its name.
#[derive(Clone, Debug)]
pub enum NodeProof {
    /// By the token that a person made for it.
    Token(SecretText),
    /// By a certificate of a configured CA whose common name is the node's, and its key.
    Certificate {
        /// The certificates, DER, leaf first.
        chain: Vec<Vec<u8>>,
        /// What it was asked.
        challenge: Challenge,
        /// What it answers.
        answer: Answer,
    },
}

/// What a new node needs: the token once, and the trust domain's bundle to know the server by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeToken {
    /// Which node.
    pub node: NodeName,
    /// The token. It is shown once and kept nowhere.
    pub token: SecretText,
    /// Until when it admits.
    pub expires: Timestamp,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// A bundle map with the trust domain's bundle (SPIFFE Trust Domain and Bundle §5).
    pub bundle: String,
}

/// A node, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// `invited`, `joined`, `silent` (for longer than what it holds may be shown), `banned`.
    pub standing: String,
    /// How it was admitted.
    pub how: Option<Admission>,
    /// When it joined.
    pub joined: Option<Timestamp>,
    /// When it was last heard of, since the server started.
    pub contact: Option<Timestamp>,
    /// What is known of it.
    pub selectors: BTreeSet<Selector>,
    /// How many copies run there.
    pub instances: usize,
}

/// What is known of nodes and not in the log.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    contacts: Mutex<HashMap<NodeName, Timestamp>>,
    challenges: Mutex<VecDeque<Challenge>>,
}

impl Nodes {
    fn contact(&self, name: &NodeName) -> Option<Timestamp> {
        self.contacts.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// It was heard of.
    fn note(&self, name: &NodeName, now: Timestamp) {
        self.contacts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), now);
    }

    /// When it was last heard of; what was before this start is not known, so that it counts from now.
    fn contact_or(&self, name: &NodeName, now: Timestamp) -> Timestamp {
        *self.contacts.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_insert(now)
    }

    fn ask(&self, challenge: Challenge) {
        let mut open = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST_CHALLENGES {
            open.pop_front();
        }
        open.push_back(challenge);
    }

    /// Uses a challenge up; says whether it was open.
    fn take(&self, challenge: &Challenge) -> bool {
        let mut open = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|c| c == challenge);
        at.and_then(|at| open.remove(at)).is_some()
    }
}

impl Engine {
    /// Lets a node join, once, within `ttl`. An older token of the same node admits no longer.
    pub async fn make_node_token(&self, by: &Caller, name: &str, ttl: Ttl) -> Result<NodeToken> {
        by.person()?;
        let node: NodeName = name.parse()?;
        if node.is_server() {
            return Err(EngineError::Invalid(format!("`{node}` is the server's own host, which does not join")));
        }
        if ttl.seconds() == 0 || ttl > LONGEST_TOKEN {
            return Err(EngineError::Invalid(format!("a join token lives 1s to {LONGEST_TOKEN}")));
        }
        let mut random = Zeroizing::new([0; 32]);
        self.env.entropy.fill(random.as_mut_slice());
        let token = JoinToken::new(*random);
        let digest = sha256(token.danger_expose().as_bytes());
        let expires = self
            .commit(by.by(), |state, cx| {
                not_banned(state, &node)?;
                let expires = cx.now.plus(ttl);
                Ok((expires, vec![Body::NodeTokenMade { node: node.clone(), token: digest, expires }]))
            })
            .await?;
        let bundle: BundleSet = [self.authorities().bundle().clone()].into_iter().collect();
        let token = SecretText::new(token.danger_expose().to_owned());
        Ok(NodeToken { node, token, expires, trust_domain: self.trust_domain.clone(), bundle: bundle.to_map_json()? })
    }

    /// What a node that has a certificate of a configured CA is to sign, once and within a minute.
    pub fn node_challenge(&self) -> Result<Challenge> {
        if self.options.node_roots.is_none() {
            return Err(EngineError::Unauthenticated("no CA is configured whose certificates admit nodes".into()));
        }
        let mut random = [0; 32];
        self.env.entropy.fill(&mut random);
        let challenge = Challenge::new(&self.trust_domain, random, self.now());
        self.nodes.ask(challenge.clone());
        Ok(challenge)
    }

    /// Admits a node and gives it its X.509-SVID. Copies that a node of the same name attested before have ended.
    pub async fn join_node(&self, name: &NodeName, proof: &NodeProof) -> Result<X509Svid> {
        let now = self.now();
        let (how, attestor) = match proof {
            NodeProof::Token(_) => (Admission::JoinToken, JoinTokens::NAME),
            NodeProof::Certificate { .. } => (Admission::X509Pop, Certificates::NAME),
        };
        let selectors = self.noted(attestor, self.admitted(name, proof, now)).await?.selectors;
        let svid = self.node_svid(name)?;
        let joined = joined(name, how, selectors, &svid);
        let ended = self
            .commit(By::System, |state, cx| {
                not_banned(state, name)?;
                if let NodeProof::Token(token) = proof {
                    // Again, inside the critical section: of two that show it at once one is admitted.
                    JoinTokens(state).attest(ShownToken { name, token }, cx.now)?;
                }
                let ended = instances_on(state, name);
                let mut bodies: Vec<Body> = ended.iter().map(|id| Body::InstanceEnded { instance: *id }).collect();
                bodies.push(joined);
                Ok((ended, bodies))
            })
            .await?;
        self.nodes.note(name, now);
        self.let_instances_go(&ended);
        Ok(svid)
    }

    /// A fresh X.509-SVID for a node. The one that it has counts until it ends.
    pub async fn renew_node(&self, peer: &NodePeer) -> Result<X509Svid> {
        let now = self.now();
        let selectors = check_peer(&self.state(), peer, now)?.selectors.clone();
        let svid = self.node_svid(&peer.name)?;
        let renewed = joined(&peer.name, Admission::Renewal, selectors, &svid);
        self.commit(By::System, |state, cx| {
            check_peer(state, peer, cx.now)?;
            Ok(((), vec![renewed]))
        })
        .await?;
        Ok(svid)
    }

    /// The node whose certificate chain this is: signed by this trust domain, and under a node's name.
    pub fn authenticate_node(&self, chain: &[&[u8]]) -> Result<NodePeer> {
        let verified = verify_x509_svid(chain, self.authorities().bundle(), self.now())?;
        let not_one = || EngineError::Unauthenticated(format!("`{}` is not a node", verified.id));
        Ok(NodePeer { name: NodeName::of(&verified.id).ok_or_else(not_one)?, certificate: verified.serial })
    }

    /// Bans a node, for good: its SVIDs count no longer, nor does any copy that it attested, nor what those hold.
    pub async fn ban_node(&self, by: &Caller, name: &str, why: &str) -> Result<NodeView> {
        by.person()?;
        let node: NodeName = name.parse()?;
        let ended = self
            .commit(by.by(), |state, _| {
                if !state.nodes.contains_key(&node) {
                    return Err(EngineError::not_found("node", &node));
                }
                not_banned(state, &node)?;
                let ended = instances_on(state, &node);
                let mut bodies = vec![Body::NodeBanned { node: node.clone(), why: why.chars().take(500).collect() }];
                bodies.extend(ended.iter().map(|id| Body::InstanceEnded { instance: *id }));
                Ok((ended, bodies))
            })
            .await?;
        self.let_instances_go(&ended);
        self.node_list().into_iter().find(|view| view.name == node).ok_or_else(|| EngineError::not_found("node", &node))
    }

    /// Every node, for people.
    pub fn node_list(&self) -> Vec<NodeView> {
        let now = self.now();
        let state = self.state();
        let view = |(name, node): (&NodeName, &Node)| {
            let contact = self.nodes.contact(name);
            let standing = match (node.banned, node.joined, contact) {
                (Some(_), _, _) => "banned",
                (None, None, _) => "invited",
                (None, Some(_), Some(contact)) if now < contact.plus(self.options.max_staleness) => "joined",
                (None, Some(_), _) => "silent",
            };
            NodeView {
                name: name.clone(),
                standing: standing.to_owned(),
                how: node.how,
                joined: node.joined,
                contact,
                selectors: node.selectors.clone(),
                instances: instances_on(&state, name).len(),
            }
        };
        state.nodes.iter().map(view).collect()
    }

    /// A node asked: what it holds may be shown for `max_staleness` from now.
    pub fn node_contact(&self, peer: &NodePeer) -> Result<()> {
        let now = self.now();
        check_peer(&self.state(), peer, now)?;
        self.nodes.note(&peer.name, now);
        Ok(())
    }

    /// How long a node may show what it holds without hearing from the server.
    pub fn max_staleness(&self) -> Ttl {
        self.options.max_staleness
    }

    /// Whether a node has been silent for so long that it shows nothing any more: what it attested has ended then. The
    /// node counts from the moment when it asked, which is earlier, so that it is the first of the two to close.
    pub(crate) fn is_silent(&self, name: &NodeName, now: Timestamp) -> bool {
        now >= self.nodes.contact_or(name, now).plus(self.options.max_staleness)
    }

    /// Forgets what ended copies held, and wakes whoever serves them.
    pub(crate) fn let_instances_go(&self, ended: &BTreeSet<InstanceId>) {
        self.svids.retain(|id| !ended.contains(id));
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn admitted(&self, name: &NodeName, proof: &NodeProof, now: Timestamp) -> Result<Attestation> {
        not_banned(&self.state(), name)?;
        match proof {
            NodeProof::Token(token) => JoinTokens(&self.state()).attest(ShownToken { name, token }, now),
            NodeProof::Certificate { chain, challenge, answer } => {
                let refused = |why: &str| EngineError::Unauthenticated(why.to_owned());
                let roots = self.options.node_roots.as_ref().ok_or_else(|| refused("no CA is configured for nodes"))?;
                if !self.nodes.take(challenge) {
                    return Err(refused("the challenge is not one of ours, or was answered before"));
                }
                Certificates(roots).attest(ShownCertificate { name, chain, challenge, answer }, now)
            }
        }
    }

    fn node_svid(&self, name: &NodeName) -> Result<X509Svid> {
        let mut serial = [0; 16];
        self.env.entropy.fill(&mut serial);
        let id = name.id(&self.trust_domain)?;
        let ttl = CredentialClass::X509Svid.max_ttl();
        Ok(self.authorities().issue_x509(X509Request { id: &id, dns: &[], ips: &[], ttl, now: self.now(), serial })?)
    }
}

/// Whether a node's SVID counts now.
pub(crate) fn check_peer<'a>(state: &'a State, peer: &NodePeer, now: Timestamp) -> Result<&'a Node> {
    let node = state.check_node(&peer.name)?;
    match node.certificates.get(&peer.certificate) {
        Some(until) if now < *until => Ok(node),
        _ => Err(EngineError::Unauthenticated(format!("this SVID of node `{}` counts no longer: join again", peer.name))),
    }
}

fn not_banned(state: &State, name: &NodeName) -> Result<()> {
    match state.nodes.get(name) {
        Some(node) if node.banned.is_some() => Err(marque_core::state::Dead::Banned(name.clone()).into()),
        _ => Ok(()),
    }
}

fn joined(name: &NodeName, how: Admission, selectors: BTreeSet<Selector>, svid: &X509Svid) -> Body {
    Body::NodeJoined { node: name.clone(), how, selectors, certificate: svid.serial.clone(), expires: svid.not_after }
}

fn instances_on(state: &State, name: &NodeName) -> BTreeSet<InstanceId> {
    state.instances.values().filter(|i| i.attestation.node.as_ref() == Some(name)).map(|i| i.id).collect()
}

/// Challenges that wait for an answer; with more, the oldest is forgotten.
const MOST_CHALLENGES: usize = 1024;
const LONGEST_TOKEN: Ttl = Ttl::from_minutes(24 * 60);
