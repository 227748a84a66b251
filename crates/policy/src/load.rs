//! Reading and checking a set of policies.

use std::collections::HashMap;
use std::str::FromStr as _;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use marque_core::Digest;
use marque_core::time::Ttl;
use serde_json::{Value, json};

/// The schema that every policy is checked against.
pub const SCHEMA: &str = include_str!("../../../policies/marque.cedarschema");

/// The policies that are always in force.
pub const BASELINE: &str = include_str!("../../../policies/baseline.cedar");

/// One file of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name, as `mail.cedar`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A set of policies, read and checked. Swapped whole; a decision names its digest.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) whole: Tiers,
    /// The same without the forbids that look at a call's arguments.
    pub(crate) before_call: Tiers,
    pub(crate) rules: HashMap<PolicyId, Rule>,
    /// Whether any policy looks at the running copy that acts.
    pub(crate) looks_at_instance: bool,
    digest: Digest,
}

/// Policies with and without the soft tier.
#[derive(Debug, Default)]
pub(crate) struct Tiers {
    pub all: PolicySet,
    pub hard: PolicySet,
}

impl Tiers {
    fn add(&mut self, policy: &Policy, soft: bool) -> Result<(), String> {
        if !soft {
            self.hard.add(policy.clone()).map_err(|e| e.to_string())?;
        }
        self.all.add(policy.clone()).map_err(|e| e.to_string())
    }
}

/// What a rule says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub id: String,
    pub reason: String,
    pub at: String,
    pub soft: Option<Soft>,
    /// Whether it is a forbid whose condition looks at the call's arguments.
    pub looks_at_call: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Soft {
    pub elevation: String,
    pub approvals: u32,
    pub ttl: Ttl,
}

/// Why a set of policies was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct PolicyError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what helps.
    pub message: String,
}

impl Snapshot {
    /// Reads the baseline and `files`, and checks them against the schema. `digest` is the digest over all of them.
    pub fn load(files: &[PolicyFile], digest: Digest) -> Result<Self, PolicyError> {
        files.iter().try_for_each(bounded)?;
        // Cedar's parser and validator recurse as deep as a policy is nested, on whatever stack they are given.
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("policies".into()).stack_size(STACK);
            let failed = || PolicyError { file: "policies".into(), line: 1, message: "they cannot be read now".into() };
            let loading = builder.spawn_scoped(scope, || Self::load_here(files, digest)).map_err(|_| failed())?;
            loading.join().unwrap_or_else(|_| Err(failed()))
        })
    }

    fn load_here(files: &[PolicyFile], digest: Digest) -> Result<Self, PolicyError> {
        let baseline = PolicyFile { name: "baseline.cedar".into(), text: BASELINE.into() };
        let (whole, before_call) = (Tiers::default(), Tiers::default());
        let mut snapshot = Self { whole, before_call, rules: HashMap::new(), looks_at_instance: false, digest };
        let validator = Validator::new(schema()?);
        for file in std::iter::once(&baseline).chain(files) {
            snapshot.add(file, &validator)?;
        }
        Ok(snapshot)
    }

    /// The digest over all policies.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many policies there are, the baseline among them.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none; never, as the baseline is always there.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn add(&mut self, file: &PolicyFile, validator: &Validator) -> Result<(), PolicyError> {
        let parsed = PolicySet::from_str(&file.text).map_err(|e| diagnosed(file, &e))?;
        if parsed.templates().next().is_some() {
            let slot = ["?principal", "?resource"].into_iter().filter_map(|slot| file.text.find(slot)).min().unwrap_or(0);
            return Err(error(file, line_at(file, slot), "templates are not supported"));
        }
        let lines = lines(file, &parsed);
        let line = |id: &PolicyId| lines.get(id).copied().unwrap_or(1);
        let checked = validator.validate(&parsed, ValidationMode::Strict);
        // Cedar checks each kind of resource on its own and in no fixed order: the first by place and text is told.
        let wrong = checked.validation_errors().map(|wrong| invalid(file, line(wrong.policy_id()), wrong));
        if let Some(first) = wrong.min_by_key(|e| (e.line, e.message.clone())) {
            return Err(first);
        }
        let mut policies: Vec<&Policy> = parsed.policies().collect();
        policies.sort_by_key(|p| line(p.id()));
        for policy in policies {
            let at = line(policy.id());
            let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()).map(str::to_owned) else {
                return Err(error(file, at, "every policy needs a name: put `@id(\"what-it-is-for\")` before it"));
            };
            let fail = |message: &str| error(file, at, message);
            let soft = soft(policy, &fail)?;
            let key = PolicyId::new(&id);
            if self.rules.contains_key(&key) {
                return Err(fail(&format!("another policy is called `{id}` already")));
            }
            let reason = policy.annotation("reason").map_or_else(
                || format!("{} `{id}`", if policy.effect() == Effect::Permit { "permitted by" } else { "forbidden by" }),
                str::to_owned,
            );
            let named = policy.new_id(key.clone());
            let tree = policy.to_json().unwrap_or_default();
            let looks_at_call = policy.effect() == Effect::Forbid && looks_at_call(&tree);
            // By the attribute's name alone, whatever it is an attribute of: too often is right, too seldom is not.
            self.looks_at_instance |= tree.to_string().contains("\"instance\"");
            self.whole.add(&named, soft.is_some()).map_err(|e| fail(&e))?;
            if !looks_at_call {
                self.before_call.add(&named, soft.is_some()).map_err(|e| fail(&e))?;
            }
            self.rules.insert(key, Rule { id, reason, at: format!("{}:{at}", file.name), soft, looks_at_call });
        }
        Ok(())
    }
}

/// What `@elevation`, `@approvals` and `@ttl` say.
fn soft(policy: &Policy, fail: &dyn Fn(&str) -> PolicyError) -> Result<Option<Soft>, PolicyError> {
    let Some(elevation) = policy.annotation("elevation") else {
        return match ["approvals", "ttl"].into_iter().find(|a| policy.annotation(a).is_some()) {
            Some(stray) => Err(fail(&format!("`@{stray}` means something only beside `@elevation`"))),
            None => Ok(None),
        };
    };
    if policy.effect() == Effect::Permit {
        return Err(fail("`@elevation` belongs on a forbid: a permit has nothing to discharge"));
    }
    if elevation.is_empty() {
        return Err(fail("`@elevation` needs a name"));
    }
    if !discharged(policy, elevation) {
        let clause = format!("unless {{ context.approved.contains(\"{elevation}\") }}");
        return Err(fail(&format!("no approval would discharge it: add `{clause}`")));
    }
    let approvals = policy.annotation("approvals").map_or(Ok(1), str::parse);
    let approvals =
        approvals.ok().filter(|n| (1..=20).contains(n)).ok_or_else(|| fail("`@approvals` is a number from 1 to 20"))?;
    let ttl = policy.annotation("ttl").map_or(Ok(Ttl::from_minutes(15)), str::parse);
    let ttl = ttl.ok().filter(|t| t.seconds() > 0).ok_or_else(|| fail("`@ttl` is a duration such as \"15m\""))?;
    Ok(Some(Soft { elevation: elevation.to_owned(), approvals, ttl }))
}

/// Whether an `unless` clause holds as soon as the elevation is approved: by Cedar's own syntax tree, so that neither a
/// comment nor a `when` passes for it.
fn discharged(policy: &Policy, elevation: &str) -> bool {
    let approved = json!({ "contains": {
        "left": { ".": { "left": { "Var": "context" }, "attr": "approved" } },
        "right": { "Value": elevation },
    } });
    fn holds(body: &Value, approved: &Value) -> bool {
        let either = body.get("||").map(|or| [or.get("left"), or.get("right")]);
        body == approved || either.into_iter().flatten().flatten().any(|side| holds(side, approved))
    }
    let tree = policy.to_json().unwrap_or_default();
    let clauses = tree.get("conditions").and_then(Value::as_array).into_iter().flatten();
    clauses.filter(|c| c.get("kind") == Some(&json!("unless"))).filter_map(|c| c.get("body")).any(|body| holds(body, &approved))
}

/// Whether `context.call` stands anywhere in a policy's syntax tree.
fn looks_at_call(tree: &Value) -> bool {
    let here = tree.get("attr") == Some(&json!("call")) && tree.get("left") == Some(&json!({ "Var": "context" }));
    here || match tree {
        Value::Object(map) => map.values().any(looks_at_call),
        Value::Array(list) => list.iter().any(looks_at_call),
        _ => false,
    }
}

fn schema() -> Result<Schema, PolicyError> {
    let at = |message: String| PolicyError { file: "marque.cedarschema".into(), line: 1, message };
    Schema::from_cedarschema_str(SCHEMA).map(|(schema, _)| schema).map_err(|e| at(e.to_string()))
}

/// An error of one policy. Cedar's own name for it, its place in the file, means nothing to its author.
fn invalid(file: &PolicyFile, begins: usize, wrong: &cedar_policy::ValidationError) -> PolicyError {
    let mut found = diagnosed(file, wrong);
    found.line = found.line.max(begins);
    found.message = found.message.replace(&format!("for policy `{}`, ", wrong.policy_id()), "");
    found
}

/// An error that knows its place, with Cedar's own help.
fn diagnosed(file: &PolicyFile, diagnostic: &(impl miette::Diagnostic + std::fmt::Display)) -> PolicyError {
    let place = diagnostic.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    let line = line_at(file, place);
    let help = diagnostic.help().map(|h| format!("; {h}")).unwrap_or_default();
    PolicyError { file: file.name.clone(), line, message: format!("{diagnostic}{help}") }
}

fn line_at(file: &PolicyFile, byte: usize) -> usize {
    file.text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1
}

fn error(file: &PolicyFile, line: usize, message: &str) -> PolicyError {
    PolicyError { file: file.name.clone(), line, message: message.to_owned() }
}

/// Refuses what is nested beyond all use: brackets, and conditions in conditions.
fn bounded(file: &PolicyFile) -> Result<(), PolicyError> {
    let text = without_comments(&file.text);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(error(file, line_at(file, at), &format!("brackets are nested deeper than {MAX_NESTING}")));
        }
    }
    if text.split(';').any(|policy| policy.split_whitespace().filter(|word| *word == "if").count() > MAX_NESTING) {
        return Err(error(file, 1, &format!("a policy has more than {MAX_NESTING} conditions of the form `if`")));
    }
    Ok(())
}

/// The line on which each policy of a file begins. Cedar names policies by their order and keeps each one's text as it
/// was written, so they are found one behind the other.
fn lines(file: &PolicyFile, parsed: &PolicySet) -> HashMap<PolicyId, usize> {
    let text = without_comments(&file.text);
    let mut behind = 0;
    let mut lines = HashMap::new();
    for n in 0..parsed.policies().count() + parsed.templates().count() {
        let id = PolicyId::new(format!("policy{n}"));
        let Some(policy) = parsed.policy(&id).map(|p| without_comments(&p.to_string())) else { continue };
        let found = text.get(behind..).and_then(|rest| rest.find(&policy));
        let start = found.map_or(behind, |at| behind + at);
        lines.insert(id, text.bytes().take(start).filter(|b| *b == b'\n').count() + 1);
        behind = start.saturating_add(found.map_or(0, |_| policy.len()));
    }
    lines
}

/// The text with every comment as spaces.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut quoted = false;
        let mut before = ' ';
        let comment = line.char_indices().find(|(_, c)| {
            quoted ^= *c == '"' && before != '\\';
            let found = !quoted && before == '/' && *c == '/';
            before = *c;
            found
        });
        let code = comment.and_then(|(at, _)| line.get(..at.saturating_sub(1))).unwrap_or(line);
        out.push_str(code);
        out.extend(line.get(code.len()..).into_iter().flat_map(str::bytes).map(|b| if b == b'\n' { '\n' } else { ' ' }));
    }
    out
}

/// Deeper brackets than these are in no policy that a person reads.
const MAX_NESTING: usize = 32;

/// Room for what Cedar does with the longest file that is within bounds.
const STACK: usize = 256 << 20;
