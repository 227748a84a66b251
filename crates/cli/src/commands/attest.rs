//! `marque attest`: a person binds a file to the task that made it.

use std::fs::File;
use std::path::Path;

use http::Method;
use marque_core::Digest;
use marque_core::id::TaskId;
use marque_engine::{ArtifactRequest, Attested, Receipt};
use serde_json::Value;

use super::{Context, encoded};
use crate::args::AttestArgs;
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::files::{self, unreadable};
use crate::output::Tone;

pub async fn attest(context: &Context<'_>, args: &AttestArgs) -> Result<()> {
    let task: TaskId = args.task.parse().map_err(|e| Failure::input(format!("--task: {e}")))?;
    let name = args.file.file_name().ok_or_else(|| Failure::input(format!("`{}` names no file", args.file.display())))?;
    let (content, bytes) = digest(&args.file)?;
    let inputs = args.input.iter().map(|file| digest(file).map(|(digest, _)| digest)).collect::<Result<_>>()?;
    let request = ArtifactRequest { name: name.to_string_lossy().into_owned(), content, bytes, task, inputs };
    let mut client = context.client().await?;
    let attested: Attested = client.post("/v1/artifacts", &request).await?;
    if let Some(out) = &args.out {
        state(&mut client, &attested, content, out).await?;
    }
    let output = context.output;
    output.show(&attested, || {
        let artifact = &attested.artifact;
        output.line(format!("{} {} ({content}, {bytes} bytes)", output.paint(Tone::Good, "attested"), artifact.name));
        output.line(format!("  made by {} in {}, from {} inputs", artifact.identity, artifact.task, artifact.inputs.len()));
        output.line(format!("  entry {}: marque receipt get {}", attested.entry, attested.entry));
        if let Some(out) = &args.out {
            output.line(format!("  stated in {}", out.display()));
        }
    });
    Ok(())
}

/// Writes the statement, one JSON object in a line.
async fn state(client: &mut Client, attested: &Attested, content: Digest, out: &Path) -> Result<()> {
    // With a receipt there is a checkpoint over the entry, and the statement has its proof.
    let _: Receipt = client.get(&format!("/v1/receipts/{}", attested.entry)).await?;
    let envelope = stated(client, Some(&attested.artifact.name), content).await?;
    std::fs::write(out, format!("{envelope}\n")).map_err(|e| Failure::failed(format!("cannot write `{}`: {e}", out.display())))
}

/// The statement of the file of this digest, which need not be sent.
pub(super) async fn stated(client: &mut Client, name: Option<&str>, digest: Digest) -> Result<Value> {
    let name = name.map_or(String::new(), |name| format!("name={}&", encoded(name)));
    let path = format!("/v1/trace/statement?{name}digest={}", encoded(&digest.to_string()));
    client.send(Method::POST, &path, "application/octet-stream", Vec::<u8>::new().into()).await
}

/// SHA-256 of a file of any length, and its length.
fn digest(file: &Path) -> Result<(Digest, u64)> {
    File::open(file).and_then(files::digest).map_err(|e| unreadable(file, &e))
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    #[test]
    fn files_are_digested_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("large");
        let bytes = vec![7; (2 << 20) + 5];
        std::fs::write(&file, &bytes).unwrap();
        let expected = Digest::from_bytes(sha2::Sha256::digest(&bytes).into());
        assert_eq!(digest(&file).unwrap(), (expected, bytes.len() as u64));
        assert!(digest(dir.path()).is_err() && digest(&dir.path().join("none")).is_err());
    }
}
