//! Artifacts: a person binds a file to the task that made it, and to the files that it was made from.

use std::sync::Arc;

use marque_core::Digest;
use marque_core::artifact::Artifact;
use marque_core::event::Body;
use marque_core::id::TaskId;
use marque_core::spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::digest::sha256;
use crate::error::{EngineError, Result};
use crate::open::Engine;

/// A file that a person vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRequest {
    /// The file's name, for people.
    pub name: String,
    /// SHA-256 of its bytes.
    pub content: Digest,
    /// Its length in bytes; an empty file is refused.
    pub bytes: u64,
    /// The task that made it, ended or not.
    pub task: TaskId,
    /// SHA-256 of each file that it was made from.
    #[serde(default)]
    pub inputs: Vec<Digest>,
}

/// An artifact in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// The index of its entry.
    pub entry: u64,
    /// What stands there.
    pub artifact: Artifact,
}

impl Engine {
    /// Records that a task made a file, on the word of a person. From then on the file is traced to the task, to the identity
    /// that acted in it and the person who asked for it, and to what it was made from.
    pub async fn attest_artifact(self: &Arc<Self>, by: &Caller, request: ArtifactRequest) -> Result<Attested> {
        by.person()?;
        check(&request)?;
        let task = request.task;
        let identity = self.off(move |engine| engine.actor_of(task)).await?;
        let artifact = Artifact {
            name: request.name,
            content: request.content.into(),
            bytes: request.bytes,
            identity,
            task,
            instance: None,
            inputs: request.inputs.into_iter().map(Into::into).collect(),
        };
        let body = Body::ArtifactAttested { artifact: artifact.clone() };
        let ((), pending) = self.enqueue(by.by(), |_, _| Ok(((), vec![body])))?;
        match pending {
            Some(pending) => Ok(Attested { entry: pending.await?, artifact }),
            None => Err(EngineError::Invalid("nothing was recorded".into())),
        }
    }

    /// The identity that acts, or acted, in a task.
    fn actor_of(&self, task: TaskId) -> Result<SpiffeId> {
        if let Some(live) = self.state().tasks.get(&task) {
            return Ok(live.actor.clone());
        }
        let known = self.fresh_views()?.task(task)?;
        known.map(|row| row.task.actor).ok_or_else(|| EngineError::not_found("task", task))
    }
}

fn check(request: &ArtifactRequest) -> Result<()> {
    if request.name.is_empty() || request.name.len() > MAX_NAME || request.name.chars().any(char::is_control) {
        return Err(EngineError::Invalid(format!("a file's name has 1 to {MAX_NAME} bytes and no control characters")));
    }
    if request.bytes == 0 || request.content == sha256(b"") {
        let name = &request.name;
        return Err(EngineError::Invalid(format!("`{name}` is empty, as any empty file is: it would be found in all of them")));
    }
    if request.inputs.len() > MAX_INPUTS {
        return Err(EngineError::Invalid(format!("an artifact has at most {MAX_INPUTS} inputs: attest what lies in between")));
    }
    Ok(())
}

const MAX_NAME: usize = 255;
/// An entry has at most 64 KiB.
const MAX_INPUTS: usize = 256;
