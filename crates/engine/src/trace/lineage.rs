//! A trace in other people's formats: lineage as W3C PROV, and a signed statement about a file (in-toto, DSSE).

use marque_core::artifact::Artifact;
use marque_core::record::{Content, Decided};
use marque_core::{Committed, Digest};
use marque_export::chain::{File, Input, Lineage, Lines, Made, Output, Step, TaskStep};
use marque_export::intoto::{self, LedgerEntry, Origin};
use marque_export::{Source, prov};
use marque_ledger::leaf_hash;
use marque_store::StoreError;
use marque_store::record::Record;
use serde_json::Value;

use super::{Chain, Trace, TraceClass, TraceStep};
use crate::digest::sha256;
use crate::error::{EngineError, Result};
use crate::open::{Engine, origin};

impl Trace {
    /// The lineage as a PROV-JSON document (W3C PROV-DM): the actions that the text came from or the task that made the file,
    /// what is upstream of them, and who acted for whom.
    pub fn prov(&self, name: Option<&str>) -> Value {
        let origin = self.checkpoint.lines().next().unwrap_or_default();
        prov::document(&Source { origin, version: VERSION }, &self.lineage(name))
    }

    fn lineage(&self, name: Option<&str>) -> Lineage {
        let mut told = Lineage { file: file(name, self.digest.into()), steps: Vec::new(), made: Vec::new() };
        for (n, chain) in self.chains.iter().enumerate() {
            let Some(digest) = matched(chain) else {
                add(chain, Vec::new(), &mut told);
                continue;
            };
            let class = chain.found.as_ref().map(|found| word(found.class).to_owned());
            let output = |lines| Output { digest, lines, class: class.clone() };
            let spans = self.spans.iter().filter(|span| span.chain == n);
            let lines = |span: &super::TraceSpan| Lines { first: span.from as u64, last: span.to as u64 };
            let mut outputs: Vec<Output> = spans.map(|span| output(Some(lines(span)))).collect();
            if outputs.is_empty() {
                outputs.push(output(None));
            }
            add(chain, outputs, &mut told);
        }
        told
    }
}

impl Engine {
    /// A statement that a file came from an action, or was made by a task from other files: in-toto Statement v1 in a DSSE 1.0
    /// envelope, signed by the log's key (blocking).
    ///
    /// It is made only of a file whose own bytes are on record: of one that has parts of something, nobody can state where
    /// the whole came from.
    pub fn statement(&self, name: Option<&str>, bytes: &[u8]) -> Result<Vec<u8>> {
        self.statement_of(name, &sha256(bytes))
    }

    /// The same of a file of which the digest is given (blocking).
    pub fn statement_of(&self, name: Option<&str>, digest: &Digest) -> Result<Vec<u8>> {
        let trace = self.trace_digest(digest)?;
        let whole = |chain: &&Chain| {
            chain.found.as_ref().is_some_and(|found| found.class == TraceClass::Exact)
                && chain.artifact.as_ref().is_none_or(|artifact| artifact.content == trace.digest)
        };
        let unknown = || EngineError::Invalid(unstated(&trace));
        let chain = trace.chains.iter().find(whole).ok_or_else(unknown)?;
        let entry = self.views.raw(chain.entry)?.ok_or_else(|| EngineError::not_found("entry", chain.entry))?;
        let proof = chain.proof.as_ref().map(|proof| (proof.path.as_slice(), proof.checkpoint.as_str()));
        let entry = LedgerEntry { index: chain.entry, leaf: leaf_hash(Record::split(&entry).0).0, proof };
        let (tasks, inputs) = (tasks(chain), inputs(chain));
        let (identity, instance) = match (&chain.decided, &chain.artifact) {
            (Some(decided), _) => (&decided.identity, Some(decided.instance)),
            (None, Some(artifact)) => (&artifact.identity, artifact.instance),
            (None, None) => return Err(unknown()),
        };
        let about = Origin {
            file: file(name, trace.digest.into()),
            identity,
            instance,
            tasks: &tasks,
            decided: chain.decided.as_ref(),
            inputs: &inputs,
            at: chain.at,
            entry,
        };
        let source = Source { origin: &origin(&self.trust_domain), version: VERSION };
        let built = if chain.artifact.is_some() { intoto::provenance(&source, &about)? } else { None };
        let statement = match built {
            Some(statement) => statement,
            None => intoto::statement(&source, &about)?,
        };
        self.envelope(&statement)
    }

    fn envelope(&self, statement: &Value) -> Result<Vec<u8>> {
        let verifier = self.signer.verifier();
        let key_id = format!("{}+{:08x}", verifier.name(), verifier.key_id());
        let mut refused = None;
        let envelope = intoto::envelope(statement, &key_id, |encoded| {
            self.signer.sign_dsse(encoded).unwrap_or_else(|error| {
                refused = Some(error);
                Vec::new()
            })
        })?;
        match refused {
            Some(error) => Err(StoreError::from(error).into()),
            None => Ok(envelope),
        }
    }
}

/// Why nothing is stated of a file.
fn unstated(trace: &Trace) -> String {
    match trace.input_of.iter().find_map(|chain| chain.artifact.as_ref()) {
        Some(made) => {
            let text = "is on record only as an input, so that nothing is stated of where it came from";
            format!("`{}` {text}: `{}` was made from it", trace.digest, made.name)
        }
        None => format!("no record has exactly the bytes of `{}`: nothing is stated of them", trace.digest),
    }
}

/// An action or an attested file, and what is upstream of it.
fn add(chain: &Chain, outputs: Vec<Output>, told: &mut Lineage) {
    match (&chain.decided, &chain.artifact) {
        (Some(decided), _) => told.steps.push(step(chain, decided, outputs)),
        (None, Some(artifact)) => told.made.push(made(chain, artifact, outputs)),
        (None, None) => return,
    }
    for above in &chain.upstream {
        let outputs = shared(chain, above).into_iter().map(|digest| Output { digest, lines: None, class: None }).collect();
        add(above, outputs, told);
    }
}

fn made(chain: &Chain, artifact: &Artifact, outputs: Vec<Output>) -> Made {
    Made {
        file: file(Some(&artifact.name), artifact.content),
        task: artifact.task,
        identity: artifact.identity.clone(),
        instance: artifact.instance,
        tasks: tasks(chain),
        attested: chain.at,
        attested_by: chain.attested_by.clone(),
        index: chain.entry,
        inputs: artifact.inputs.clone(),
        outputs,
    }
}

fn step(chain: &Chain, decided: &Decided, outputs: Vec<Output>) -> Step {
    let cause = |above: &Chain| above.decided.as_ref().map(|above| above.record);
    let given = |above: &Chain| Input { digest: shared(chain, above).first().copied(), cause: cause(above) };
    Step {
        record: decided.record,
        action: decided.action,
        resource: decided.resource.clone(),
        effect: decided.effect,
        decided: chain.at,
        settled: None,
        identity: decided.identity.clone(),
        instance: decided.instance,
        tasks: tasks(chain),
        index: chain.entry,
        outputs,
        inputs: chain.upstream.iter().map(given).collect(),
    }
}

/// What an action or an artifact was made from, where the very bytes are known.
fn inputs(chain: &Chain) -> Vec<Committed> {
    match (&chain.artifact, &chain.decided) {
        (Some(artifact), _) => artifact.inputs.clone(),
        (None, Some(_)) => chain.upstream.iter().flat_map(|above| shared(chain, above)).collect(),
        (None, None) => Vec::new(),
    }
}

/// The texts of an earlier record or artifact that a request carried on as they were, or an artifact was made from.
fn shared(chain: &Chain, above: &Chain) -> Vec<Committed> {
    let is_given = |exact: &Committed| {
        let texts = chain.decided.iter().flat_map(|decided| &decided.contents).map(|content| &content.exact);
        texts.chain(chain.artifact.iter().flat_map(|artifact| &artifact.inputs)).any(|given| given == exact)
    };
    let all = texts(above).map(|content| content.exact).chain(above.artifact.iter().map(|artifact| artifact.content));
    all.filter(|exact| exact.digest().is_some() && is_given(exact)).collect()
}

/// The text of a record that the traced one agrees with, or the file of an artifact.
fn matched(chain: &Chain) -> Option<Committed> {
    if let Some(artifact) = &chain.artifact {
        return Some(artifact.content);
    }
    let at = chain.found.as_ref()?.at.as_deref()?;
    texts(chain).find(|content| content.at == at).map(|content| content.exact)
}

/// What a record was given and what it returned.
fn texts(chain: &Chain) -> impl Iterator<Item = &Content> {
    let given = chain.decided.iter().flat_map(|decided| &decided.contents);
    given.chain(chain.outcome.iter().flat_map(|outcome| &outcome.contents))
}

fn tasks(chain: &Chain) -> Vec<TaskStep> {
    let step = |TraceStep { task, elevation }: &TraceStep| TaskStep {
        task: task.id,
        actor: task.actor.clone(),
        principal: task.principal.clone(),
        purpose: task.purpose.clone(),
        elevation: *elevation,
    };
    chain.tasks.iter().map(step).collect()
}

fn file(name: Option<&str>, digest: Committed) -> File {
    File { name: name.map(str::to_owned), digest }
}

/// The class in the words of exports.
const fn word(class: TraceClass) -> &'static str {
    match class {
        TraceClass::Exact => "exact",
        TraceClass::Normalised => "normalised",
        TraceClass::Strong | TraceClass::Weak => "fragment",
        TraceClass::None => "none",
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
