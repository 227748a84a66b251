//! Portable statements about files: in-toto Statement v1 in a DSSE 1.0 envelope, and SLSA provenance v1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marque_core::id::InstanceId;
use marque_core::record::Decided;
use marque_core::spiffe::SpiffeId;
use marque_core::time::Timestamp;
use marque_core::{Committed, Digest};
use serde_json::{Value, json};

use crate::chain::{File, TaskStep};
use crate::facts::rfc3339;
use crate::object::Put;
use crate::{ExportError, PRODUCT, Result, Source};

/// The type of our predicate: an action that was decided and written down before it happened.
pub const ACTION: &str = "https://marque.dev/attestation/action/v1";

/// The type of SLSA's predicate.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// The payload type of an in-toto statement in an envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A file and where it came from.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The file.
    pub file: File,
    /// The identity that made it.
    pub identity: &'a SpiffeId,
    /// Which copy of it, where that is known.
    pub instance: Option<InstanceId>,
    /// The task it was made under, then each that this one hangs from; the last was started by a person.
    pub tasks: &'a [TaskStep],
    /// The decision on the call that carried it; none where a file was attested by itself.
    pub decided: Option<&'a Decided>,
    /// What it was made from.
    pub inputs: &'a [Committed],
    /// When it was written down.
    pub at: Timestamp,
    /// The entry that says so.
    pub entry: LedgerEntry<'a>,
}

/// An entry of the log and how to check that it is there.
#[derive(Clone, Copy, Debug)]
pub struct LedgerEntry<'a> {
    /// Its index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: [u8; 32],
    /// The hashes from the leaf to the root of the checkpoint (RFC 6962 §2.1.1) in base64, and the signed checkpoint; none
    /// while no checkpoint covers the entry.
    pub proof: Option<(&'a [String], &'a str)>,
}

/// The statement that a file came from an action (in-toto Statement v1).
pub fn statement(source: &Source<'_>, origin: &Origin<'_>) -> Result<Value> {
    let mut predicate = json!({
        "identity": origin.identity,
        "tasks": origin.tasks.iter().map(task).collect::<Vec<_>>(),
        "ledger": ledger(source, &origin.entry),
        "inputs": origin.inputs,
    });
    if let Some(instance) = origin.instance {
        predicate.put("instance", json!(instance));
    }
    if let Some(root) = origin.tasks.last() {
        predicate.put("person", json!(root.principal));
    }
    if let Some(at) = rfc3339(origin.at) {
        predicate.put("at", json!(at));
    }
    if let Some(decided) = origin.decided {
        let decision = json!({
            "record": decided.record,
            "action": decided.action,
            "resource": decided.resource,
            "effect": decided.effect,
            "reasons": decided.reasons,
            "policy": decided.policy,
            "lease": decided.lease,
        });
        predicate.put("decision", decision);
    }
    wrap(&origin.file, ACTION, predicate)
}

/// The statement that a file was built from others (SLSA provenance v1); none where it was made from nothing that is known.
///
/// An input of which only the commitment is known is named by that.
pub fn provenance(source: &Source<'_>, origin: &Origin<'_>) -> Result<Option<Value>> {
    if origin.inputs.is_empty() {
        return Ok(None);
    }
    let own = origin.tasks.first();
    let mut metadata = json!({});
    if let Some(own) = own {
        metadata.put("invocationId", json!(own.task));
    }
    if let Some(at) = rfc3339(origin.at) {
        metadata.put("finishedOn", json!(at));
    }
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://marque.dev/build/task/v1",
            "externalParameters": {
                "purpose": own.map(|task| &task.purpose),
                "person": origin.tasks.last().map(|task| &task.principal),
            },
            "internalParameters": { "tasks": origin.tasks.iter().map(|task| task.task).collect::<Vec<_>>() },
            "resolvedDependencies": origin.inputs.iter().map(dependency).collect::<Vec<_>>(),
        },
        "runDetails": {
            "builder": { "id": origin.identity, "version": { PRODUCT: source.version } },
            "metadata": metadata,
            "byproducts": [{ "name": "ledger entry", "annotations": ledger(source, &origin.entry) }],
        },
    });
    wrap(&origin.file, PROVENANCE, predicate).map(Some)
}

/// A DSSE 1.0 envelope around a statement. `sign` is given what DSSE has signed ([`pae`]) and answers the signature.
pub fn envelope(statement: &Value, key_id: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<Vec<u8>> {
    let payload = serde_json::to_vec(statement)?;
    let signature = sign(&pae(PAYLOAD_TYPE, &payload));
    let envelope = json!({
        "payloadType": PAYLOAD_TYPE,
        "payload": STANDARD.encode(&payload),
        "signatures": [{ "keyid": key_id, "sig": STANDARD.encode(signature) }],
    });
    Ok(serde_json::to_vec(&envelope)?)
}

/// DSSE's pre-authentication encoding (protocol.md, "Signature Definition"): no other type and payload have the same.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

fn wrap(file: &File, predicate_type: &str, predicate: Value) -> Result<Value> {
    let Some(digest) = file.digest.digest() else {
        return Err(ExportError::Closed(file.name.clone().unwrap_or_else(|| file.digest.to_string())));
    };
    let mut subject = json!({ "digest": sha256(digest) });
    if let Some(name) = &file.name {
        subject.put("name", json!(name));
    }
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": predicate_type,
        "predicate": predicate,
    }))
}

fn task(task: &TaskStep) -> Value {
    let mut out = json!({
        "task": task.task,
        "actor": task.actor,
        "principal": task.principal,
        "purpose": task.purpose,
    });
    if let Some(elevation) = task.elevation {
        out.put("elevation", json!(elevation));
    }
    out
}

fn ledger(source: &Source<'_>, entry: &LedgerEntry<'_>) -> Value {
    let mut out = json!({ "origin": source.origin, "index": entry.index, "leaf": STANDARD.encode(entry.leaf) });
    if let Some((path, checkpoint)) = entry.proof {
        out.put("path", json!(path));
        out.put("checkpoint", json!(checkpoint));
    }
    out
}

fn dependency(input: &Committed) -> Value {
    match input {
        Committed::Open(digest) => json!({ "digest": sha256(*digest) }),
        Committed::Closed(_) => json!({ "uri": format!("urn:marque:{input}") }),
    }
}

fn sha256(digest: Digest) -> Value {
    json!({ "sha256": hex::encode(digest.as_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the DSSE specification.
    #[test]
    fn the_encoding_that_is_signed_is_that_of_dsse() {
        let signed = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(signed, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
