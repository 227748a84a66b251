//! `marque receipt`: what shows that an entry is in the log, and its check without a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marque_engine::{Opening, Receipt};
use marque_ledger::{Checkpoint, Hash, Policy, TlogProof, Verifier, leaf_hash, verify_cose_receipt, verify_inclusion};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::verify::{Standing, Verdict, print, read_policy};
use super::{Context, encoded};
use crate::args::{ReceiptCommand, ReceiptGet, ReceiptVerify};
use crate::failure::{Code, Failure, Result};
use crate::files::{read, text, write_private};
use crate::output::Tone;

pub async fn receipt(context: &Context<'_>, command: ReceiptCommand) -> Result<ExitCode> {
    match command {
        ReceiptCommand::Get(args) => get(context, &args).await.map(|()| ExitCode::SUCCESS),
        ReceiptCommand::Verify(args) => verify(context, &args),
    }
}

async fn get(context: &Context<'_>, args: &ReceiptGet) -> Result<()> {
    let output = context.output;
    if args.openings && args.out.is_none() && !output.json {
        return Err(Failure::input("openings go into a file: name it with --out"));
    }
    let path = format!("/v1/receipts/{}?openings={}", encoded(&args.record), args.openings);
    let receipt: Receipt = context.client().await?.get(&path).await?;
    let written = write_out(args, &receipt)?;
    if written.is_empty() {
        output.show(&receipt, || output.line(receipt.proof.trim_end()));
        return Ok(());
    }
    let value = json!({ "index": receipt.inclusion.index, "size": receipt.inclusion.size, "witnessed": receipt.witnessed, "files": written });
    output.show(&value, || {
        let seen = if receipt.witnessed { ", which witnesses cosigned" } else { "" };
        let (index, size) = (receipt.inclusion.index, receipt.inclusion.size);
        output.line(format!("{} entry {index}, in the tree of {size} entries{seen}", output.paint(Tone::Good, "receipt of")));
        written.iter().for_each(|file| output.line(format!("  {}", file.display())));
    });
    Ok(())
}

/// Writes the files that were asked for, and says which.
fn write_out(args: &ReceiptGet, receipt: &Receipt) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let mut put = |path: &Path, bytes: &[u8]| -> Result<()> {
        write_private(path, bytes)?;
        written.push(path.to_owned());
        Ok(())
    };
    if let Some(out) = &args.out {
        if is_json(out) {
            put(out, &serde_json::to_vec_pretty(receipt)?)?;
        } else {
            put(out, receipt.proof.as_bytes())?;
            let entry = args.entry.clone().unwrap_or_else(|| beside(out, "entry"));
            put(&entry, receipt.inclusion.leaf.as_bytes())?;
            if args.openings {
                put(&beside(out, "openings"), &serde_json::to_vec_pretty(&Openings { openings: receipt.openings.clone() })?)?;
            }
        }
    }
    if let Some(entry) = args.entry.as_ref().filter(|_| args.out.as_deref().is_none_or(is_json)) {
        put(entry, receipt.inclusion.leaf.as_bytes())?;
    }
    if let Some(cose) = &args.cose {
        put(cose, &BASE64_STANDARD.decode(&receipt.cose)?)?;
    }
    Ok(written)
}

/// What opens the commitments of an entry, as a file.
#[derive(Serialize, Deserialize)]
struct Openings {
    openings: Vec<Opening>,
}

fn verify(context: &Context<'_>, args: &ReceiptVerify) -> Result<ExitCode> {
    let evidence = Evidence::read(args)?;
    let policy = args.policy.as_ref().map(|file| read_policy(file)).transpose()?;
    let key = match (&args.key_file, &policy) {
        (Some(file), _) => {
            // Whatever else the file holds, it is not printed: it may be a secret that was named by mistake.
            let wrong = |_| Failure::input(format!("`{}` holds no verifier key: one line as `name+id+key`", file.display()));
            text(file)?.trim().parse::<Verifier>().map_err(wrong)?
        }
        (None, Some(policy)) => evidence.key_of(policy)?,
        (None, None) => return Err(Failure::input("name the log's public key with --key-file")),
    };
    let mut verdicts = evidence.proven(&key);
    verdicts.push(evidence.witnesses(policy.as_ref()));
    verdicts.push(evidence.content(args.file.as_deref())?);
    let is_ok = !verdicts.iter().any(Verdict::is_bad);
    let value = json!({ "ok": is_ok, "origin": key.name(), "index": evidence.index(), "verdicts": verdicts });
    let output = context.output;
    output.show(&value, || {
        let of = evidence.index().map_or_else(|| "an entry".to_owned(), |index| format!("entry {index}"));
        let mark = if is_ok { output.paint(Tone::Good, "✓ proven:") } else { output.paint(Tone::Bad, "✗ not proven:") };
        output.line(format!("{mark} {of} of {}", key.name()));
        verdicts.iter().for_each(|verdict| print(context, verdict));
    });
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::from(Code::NotFound as u8) })
}

/// A receipt that was read, with what it is of. Nothing of it is trusted.
struct Evidence {
    form: Form,
    entry: Vec<u8>,
    openings: Vec<Opening>,
}

enum Form {
    Proof(TlogProof),
    Cose(Vec<u8>),
}

/// What is read of a receipt, or of a proof in a trace, as JSON.
#[derive(Deserialize)]
struct Json {
    index: u64,
    path: Vec<String>,
    checkpoint: String,
    leaf: String,
    #[serde(default)]
    openings: Vec<Opening>,
}

impl Evidence {
    fn read(args: &ReceiptVerify) -> Result<Self> {
        let file = &args.receipt;
        let bytes = read(file)?;
        let bad = |why: &dyn std::fmt::Display| Failure::input(format!("`{}` is not a receipt: {why}", file.display()));
        if bytes.first() == Some(&b'{') {
            let json: Json = serde_json::from_slice(&bytes).map_err(|e| bad(&e))?;
            let path = json.path.iter().map(|hash| Hash::from_base64(hash)).collect::<marque_ledger::Result<_>>();
            let proof =
                TlogProof { extra: None, index: json.index, path: path.map_err(|e| bad(&e))?, checkpoint: json.checkpoint };
            let entry = args.entry.as_ref().map_or_else(|| Ok(json.leaf.into_bytes()), |file| read(file))?;
            return Ok(Self { form: Form::Proof(proof), entry, openings: json.openings });
        }
        let form = if bytes.first() == Some(&COSE_SIGN1) {
            Form::Cose(bytes)
        } else {
            let text = String::from_utf8(bytes).map_err(|e| bad(&e))?;
            Form::Proof(text.parse::<TlogProof>().map_err(|e| bad(&e))?)
        };
        let entry = read(&args.entry.clone().unwrap_or_else(|| beside(file, "entry")))?;
        let openings = beside(file, "openings");
        let openings = if openings.exists() {
            let parsed = serde_json::from_slice::<Openings>(&read(&openings)?);
            parsed.map_err(|e| Failure::input(format!("`{}`: {e}", openings.display())))?.openings
        } else {
            Vec::new()
        };
        Ok(Self { form, entry, openings })
    }

    /// The index that the receipt names; it is proven with it.
    fn index(&self) -> Option<u64> {
        match &self.form {
            Form::Proof(proof) => Some(proof.index),
            Form::Cose(_) => None,
        }
    }

    /// The key of the policy's log that the receipt is of.
    fn key_of(&self, policy: &Policy) -> Result<Verifier> {
        let origin = match &self.form {
            Form::Proof(proof) => proof.checkpoint.lines().next(),
            Form::Cose(_) => None,
        };
        let fits = |key: &&Verifier| match origin {
            Some(origin) => key.name() == origin,
            None => policy.logs().len() == 1,
        };
        let key = policy.logs().iter().map(|log| &log.verifier).find(fits);
        key.cloned().ok_or_else(|| Failure::input("the policy has not the key of this log: name it with --key-file"))
    }

    /// Whether the log signed the tree, and whether the entry is in it.
    fn proven(&self, key: &Verifier) -> Vec<Verdict> {
        let (signature, inclusion) = ("signature", "inclusion");
        let proof = match &self.form {
            Form::Proof(proof) => proof,
            Form::Cose(receipt) => {
                return vec![match verify_cose_receipt(receipt, &self.entry, key) {
                    Ok(read) => {
                        let text = format!("a tree that {} signed has it; as entry {}, the receipt says", key.name(), read.index);
                        Verdict::new(inclusion, Standing::Holds, text)
                    }
                    Err(error) => Verdict::new(inclusion, Standing::Fails, error.to_string()),
                }];
            }
        };
        let checkpoint = match Checkpoint::open(&proof.checkpoint, key.name(), std::slice::from_ref(key)) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                let unchecked = Verdict::new(inclusion, Standing::Unchecked, "there is no checkpoint that the log signed");
                return vec![Verdict::new(signature, Standing::Fails, error.to_string()), unchecked];
            }
        };
        let signed =
            Verdict::new(signature, Standing::Holds, format!("{} signed a tree of {} entries", key.name(), checkpoint.size));
        let leaf = leaf_hash(&self.entry);
        let included = match verify_inclusion(leaf, proof.index, checkpoint.size, &proof.path, checkpoint.root) {
            Ok(()) => Verdict::new(inclusion, Standing::Holds, format!("the entry leads to the root {}", checkpoint.root)),
            Err(error) => Verdict::new(inclusion, Standing::Fails, error.to_string()),
        };
        vec![signed, included]
    }

    fn witnesses(&self, policy: Option<&Policy>) -> Verdict {
        let name = "witnesses";
        let Some(policy) = policy else {
            return Verdict::new(name, Standing::Open, "no policy says which witnesses you trust: name one with --policy");
        };
        let Form::Proof(proof) = &self.form else {
            return Verdict::new(name, Standing::Unchecked, "a COSE receipt carries no cosignatures");
        };
        match policy.evaluate(&proof.checkpoint) {
            Ok(verdict) if verdict.is_quorum => {
                let names: Vec<&str> = verdict.cosigned.iter().map(|cosigner| cosigner.name.as_str()).collect();
                let who = if names.is_empty() {
                    "the policy asks for none".to_owned()
                } else {
                    format!("{} cosigned, a quorum", names.join(", "))
                };
                Verdict::new(name, Standing::Holds, who)
            }
            Ok(verdict) => Verdict::new(name, Standing::Fails, format!("no cosignature of: {}", verdict.missing.join(", "))),
            Err(error) => Verdict::new(name, Standing::Fails, error.to_string()),
        }
    }

    /// Whether the entry commits to a content.
    fn content(&self, file: Option<&Path>) -> Result<Verdict> {
        let name = "content";
        if let Some(wrong) = self.openings.iter().find(|opening| !opening.fits(&self.entry)) {
            return Ok(Verdict::new(name, Standing::Fails, format!("the opening of {} does not fit the entry", wrong.field)));
        }
        let Some(file) = file else {
            let text = match self.openings.len() {
                0 => "no content was given: name a file with --file".to_owned(),
                fitting => format!("openings that fit the entry: {fitting}; no content was given: name a file with --file"),
            };
            return Ok(Verdict::new(name, Standing::Open, text));
        };
        if self.openings.is_empty() {
            let why = "the receipt came without openings: get it with --openings";
            return Ok(Verdict::new(name, Standing::Unchecked, why));
        }
        let content = read(file)?;
        let fields: Vec<&str> = self.openings.iter().filter(|o| o.is_of(&content)).map(|o| o.field.as_str()).collect();
        Ok(match fields.is_empty() {
            true => Verdict::new(name, Standing::Fails, format!("the entry does not commit to {}", file.display())),
            false => {
                let text = format!("the entry commits to {} at {}", file.display(), fields.join(", "));
                Verdict::new(name, Standing::Holds, text)
            }
        })
    }
}

/// A file's name with another word at its end.
fn beside(file: &Path, word: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{word}"));
    PathBuf::from(name)
}

fn is_json(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "json")
}

/// A receipt says what somebody did: it is for its owner first.
/// The first byte of a tagged `COSE_Sign1` (RFC 9052 §4.2).
const COSE_SIGN1: u8 = 0xd2;
