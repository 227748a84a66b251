//! Plan and apply: from what a manifest asks for to the events that make it so. All or nothing.

use std::collections::BTreeMap;

use marque_core::Digest;
use marque_core::event::{Body, By};
use marque_core::identity::{Identity, Lifecycle};
use marque_core::resource::{Resource, ResourceId, ResourceKind};
use marque_core::state::State;
use marque_policy::{BASELINE, PolicyFile, SCHEMA, Snapshot};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::caller::Caller;
use crate::desired::{Desired, IdentitySpec, PolicyText};
use crate::error::{EngineError, Result};
use crate::open::Engine;
use crate::revoke::reason;

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happens to it.
    pub kind: ChangeKind,
    /// An identity's, resource's or policy's name.
    pub name: String,
    /// Which fields change, as `ceiling: … → …`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Add,
    /// It is there and changes.
    Change,
    /// It is no longer in force; policies only.
    Remove,
}

/// What an apply did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The plan that was carried out; empty when everything was as asked.
    pub changes: Vec<Change>,
    /// The digest of the policies in force.
    pub policy: Digest,
}

impl Engine {
    /// What [`Engine::apply`] would change. Fails when anything is wrong.
    pub fn plan(&self, desired: &Desired) -> Result<Vec<Change>> {
        let state = self.state();
        Ok(self.changes(&state, desired)?.1)
    }

    /// Makes everything as the manifest asks, in one append; nothing is applied when anything is wrong.
    pub async fn apply(&self, by: &Caller, desired: &Desired) -> Result<Applied> {
        by.person()?;
        let snapshot = load(&desired.policies)?;
        let policy = snapshot.digest();
        let (changes, identities) = self
            .commit(by.by(), |state, _| {
                let (bodies, changes) = self.changes(state, desired)?;
                let identities =
                    bodies.iter().any(|body| matches!(body, Body::IdentityApplied { .. } | Body::IdentityMoved { .. }));
                // Inside the critical section: whoever decides by these policies is behind them in the log.
                self.policy.store(std::sync::Arc::new(snapshot));
                Ok(((changes, identities), bodies))
            })
            .await?;
        // An identity may be for other nodes now.
        self.ended.send_modify(|n| *n = n.wrapping_add(1));
        if identities {
            self.entries.send_modify(|n| *n = n.wrapping_add(1));
        }
        Ok(Applied { changes, policy })
    }

    /// Registers the definitions of tools that were registered without one, as their server has them now. A definition
    /// that differs from a registered one is left: calls of that tool are held.
    pub async fn pin_tools(&self, seen: &[(ResourceId, Digest)]) -> Result<()> {
        let unpinned = |state: &State| -> Vec<Body> {
            let missing = |tool: &ResourceId| state.resources.get(tool).is_some_and(|r| r.definition.is_none());
            let seen: BTreeMap<_, _> = seen.iter().filter(|(tool, _)| missing(tool)).map(|(t, d)| (t, d)).collect();
            seen.into_iter().map(|(tool, definition)| Body::ToolPinned { tool: tool.clone(), definition: *definition }).collect()
        };
        if unpinned(&self.state()).is_empty() {
            return Ok(());
        }
        self.commit(By::System, |state, _| Ok(((), unpinned(state)))).await
    }

    /// A person accepts a tool's definition as it is now: calls are no longer held for having changed.
    pub async fn accept_tool(&self, by: &Caller, tool: &ResourceId, definition: Digest) -> Result<()> {
        by.person()?;
        self.commit(by.by(), |state, _| {
            if tool.kind() != ResourceKind::Tool || !state.resources.contains_key(tool) {
                return Err(EngineError::not_found("tool", tool));
            }
            Ok(((), vec![Body::ToolPinned { tool: tool.clone(), definition }]))
        })
        .await
    }

    fn changes(&self, state: &State, desired: &Desired) -> Result<(Vec<Body>, Vec<Change>)> {
        let digest = load(&desired.policies)?.digest();
        let why = reason(desired.why.as_deref().unwrap_or(DEFAULT_WHY))
            .ok_or_else(|| EngineError::Invalid("say why the manifest is applied: `why` is empty".into()))?;
        unique("identity", desired.identities.iter().map(|i| i.name.clone()))?;
        unique("resource", desired.resources.iter().map(|r| r.id.to_string()))?;
        unique("policy file", desired.policies.iter().map(|p| p.name.clone()))?;
        let mut bodies = Vec::new();
        let mut changes = Vec::new();
        for spec in &desired.identities {
            self.identity(state, spec, &why, &mut bodies, &mut changes)?;
        }
        for resource in &desired.resources {
            let old = state.resources.get(&resource.id);
            // A definition that was pinned stays so; a manifest does not say it again.
            let definition = resource.definition.or(old.and_then(|o| o.definition));
            let resource = Resource { definition, ..resource.clone() };
            resource.owner.iter().try_for_each(|owner| self.not_erased(state, owner))?;
            if let Some(change) = compare(&resource.id, old, &resource)? {
                changes.push(change);
                bodies.push(Body::ResourceApplied { resource });
            }
        }
        policies(state, &desired.policies, digest, &mut bodies, &mut changes);
        Ok((bodies, changes))
    }

    fn identity(
        &self,
        state: &State,
        spec: &IdentitySpec,
        why: &str,
        bodies: &mut Vec<Body>,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let id = self.trust_domain.join(&format!("/{}", spec.name))?;
        // By these names the server, its gateway and its nodes are known: whoever had one could pass for them.
        if spec.name == OWN_NAMES || spec.name.starts_with(&format!("{OWN_NAMES}/")) {
            return Err(EngineError::Invalid(format!("`{id}` cannot be registered: names below `{OWN_NAMES}` are Marque's own")));
        }
        // Longer ones should not be supported, counted in bytes (Workload API §8).
        if spec.hint.as_ref().is_some_and(|hint| hint.len() > MAX_HINT_BYTES) {
            return Err(EngineError::Invalid(format!("the hint of `{id}` has more than {MAX_HINT_BYTES} bytes")));
        }
        let old = state.identities.get(&id);
        self.not_erased(state, &spec.owner)?;
        let now = old.map(|o| o.state);
        let lifecycle = spec.state_after(now).map_err(|expected| {
            EngineError::Invalid(format!("the state of `{id}`: expected {expected}, found `{}`", spec.state))
        })?;
        if now == Some(Lifecycle::Retired) {
            // It stays in the manifest, and stays as it was when it ended.
            return Ok(());
        }
        let identity = Identity {
            id: id.clone(),
            kind: spec.kind,
            owner: Some(spec.owner.clone()),
            purpose: spec.purpose.clone(),
            selectors: spec.selectors.clone(),
            hint: spec.hint.clone(),
            nodes: spec.nodes.clone(),
            ceiling: spec.ceiling.clone(),
            state: lifecycle,
            epoch: old.map_or(state.epoch, |o| o.epoch),
        };
        if let Some(change) = compare(&id, old, &identity)? {
            changes.push(change);
            match old {
                // A step of its life is an event of its own, which says why.
                Some(old) if old.state != lifecycle => {
                    let still = Identity { state: old.state, ..identity };
                    if still != *old {
                        bodies.push(Body::IdentityApplied { identity: still });
                    }
                    bodies.push(Body::IdentityMoved { identity: id, to: lifecycle, why: why.to_owned() });
                }
                _ => bodies.push(Body::IdentityApplied { identity }),
            }
        }
        Ok(())
    }
}

const OWN_NAMES: &str = "marque";
/// Why an identity took a step, where an apply does not say it.
const DEFAULT_WHY: &str = "manifest";
const MAX_HINT_BYTES: usize = 1024;

fn unique(what: &str, names: impl Iterator<Item = String>) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if let Some(twice) = seen.replace(name) {
            return Err(EngineError::Invalid(format!("{what} `{twice}` stands twice")));
        }
    }
    Ok(())
}

/// The snapshot of the policies that a state has in force.
pub(crate) fn snapshot_of(state: &State) -> Result<Snapshot> {
    let names = state.policy.as_ref().map(|(names, _)| names.as_slice()).unwrap_or_default();
    let texts =
        names.iter().filter_map(|name| Some(PolicyText { name: name.clone(), text: state.policy_files.get(name)?.clone() }));
    load(&texts.collect::<Vec<_>>())
}

fn load(policies: &[PolicyText]) -> Result<Snapshot> {
    let files: Vec<PolicyFile> = policies.iter().map(|p| PolicyFile { name: p.name.clone(), text: p.text.clone() }).collect();
    Ok(Snapshot::load(&files, policy_digest(policies))?)
}

/// The digest over the schema, the baseline and the files, each with its name and its length.
pub(crate) fn policy_digest(files: &[PolicyText]) -> Digest {
    let built_in = [("marque.cedarschema", SCHEMA), ("baseline.cedar", BASELINE)];
    let all = built_in.into_iter().chain(files.iter().map(|f| (f.name.as_str(), f.text.as_str())));
    let mut hasher = Sha256::new();
    for (name, text) in all {
        for part in [name, text] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    Digest::from_bytes(hasher.finalize().into())
}

fn policies(state: &State, files: &[PolicyText], digest: Digest, bodies: &mut Vec<Body>, changes: &mut Vec<Change>) {
    if state.policy.as_ref().is_some_and(|(_, old)| *old == digest) {
        return;
    }
    for file in files {
        let kind = match state.policy_files.get(&file.name) {
            Some(old) if *old == file.text => continue,
            Some(_) => ChangeKind::Change,
            None => ChangeKind::Add,
        };
        changes.push(Change { kind, name: format!("policy {}", file.name), fields: Vec::new() });
        bodies.push(Body::PolicyFile { name: file.name.clone(), text: file.text.clone() });
    }
    let gone = state.policy_files.keys().filter(|name| files.iter().all(|f| f.name != **name));
    changes.extend(gone.map(|name| Change { kind: ChangeKind::Remove, name: format!("policy {name}"), fields: Vec::new() }));
    bodies.push(Body::PolicyActivated { files: files.iter().map(|f| f.name.clone()).collect(), digest });
}

/// The change from `old` to `new`, field by field; `None` when there is none.
fn compare<T: Serialize>(name: &impl ToString, old: Option<&T>, new: &T) -> Result<Option<Change>> {
    let fields =
        |value: &T| -> Result<BTreeMap<String, serde_json::Value>> { Ok(serde_json::from_value(serde_json::to_value(value)?)?) };
    let Some(old) = old else {
        return Ok(Some(Change { kind: ChangeKind::Add, name: name.to_string(), fields: Vec::new() }));
    };
    let (old, new) = (fields(old)?, fields(new)?);
    let none = serde_json::Value::Null;
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = names.into_iter().filter(|f| old.get(*f) != new.get(*f));
    let lines: Vec<String> =
        differing.map(|f| format!("{f}: {} → {}", old.get(f).unwrap_or(&none), new.get(f).unwrap_or(&none))).collect();
    Ok((!lines.is_empty()).then(|| Change { kind: ChangeKind::Change, name: name.to_string(), fields: lines }))
}
