//! One manifest file as it is written: each text with the place where it stands, nothing yet checked.
//!
//! The fields are optional here even where a manifest must have them, so that what is missing is found together with
//! everything else that is wrong. The schema says which are required.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, MessageFormatter as _, Options, Spanned, UserMessageFormatter};

use super::ManifestError;
use super::schema::{DATASET, GRANT, NAME, NODE, PERSON, RESOURCE, SECRET, SELECTOR, VARIABLE};

/// A text and where it stands.
pub(super) type Text = Spanned<String>;

/// Identities and resources, as they should be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Manifest", title = "Marque manifest")]
pub(super) struct RawFile {
    /// Who may act: agents, models, pipeline steps, services and connectors.
    #[schemars(with = "Option<Vec<RawIdentity>>")]
    pub(super) identities: Option<Vec<Spanned<RawIdentity>>>,
    /// What is acted on: datasets, tools, models, services and outputs.
    #[schemars(with = "Option<Vec<RawResource>>")]
    pub(super) resources: Option<Vec<Spanned<RawResource>>>,
}

/// A registered non-human principal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Identity")]
pub(super) struct RawIdentity {
    /// The SPIFFE ID's path under the trust domain, as `agent/researcher`.
    #[schemars(with = "String", extend("pattern" = NAME, "maxLength" = 256))]
    pub(super) name: Option<Text>,
    /// What sort of principal it is.
    #[schemars(with = "String", extend("enum" = ["agent", "model", "pipeline-step", "service", "connector"]))]
    pub(super) kind: Option<Text>,
    /// The accountable person, as `alice@example.com`.
    #[schemars(with = "String", extend("pattern" = PERSON))]
    pub(super) owner: Option<Text>,
    /// What it is for, in 1 to 500 characters.
    #[schemars(with = "String", extend("minLength" = 1, "maxLength" = 500))]
    pub(super) purpose: Option<Text>,
    /// What must be observed of a process for it to be this identity: all of them. Without any, no process is.
    #[schemars(with = "Option<Vec<String>>", extend("items" = { "type": "string", "pattern": SELECTOR }))]
    pub(super) selectors: Option<Vec<Text>>,
    /// What tells it apart from other identities of the same process, which each need one: at most 1,024 bytes.
    #[schemars(with = "Option<String>", extend("minLength" = 1, "maxLength" = 1024))]
    pub(super) hint: Option<Text>,
    /// The nodes whose processes may be it; `server` is the server's own host, which is the only one when left out.
    #[schemars(with = "Option<Vec<String>>", extend("items" = { "type": "string", "pattern": NODE }))]
    pub(super) nodes: Option<Vec<Text>>,
    /// The most it may ever hold: grants as `invoke:tool:crm/*` or `read,write:dataset:crm;sensitivity=internal`.
    #[schemars(with = "Option<Vec<String>>", extend("items" = { "type": "string", "pattern": GRANT }))]
    pub(super) ceiling: Option<Vec<Text>>,
    /// Where it should be in its life: active when left out. A new one is proposed or active; what is suspended is made
    /// active again by `marque identity activate` only, and nothing follows on retired.
    #[schemars(with = "Option<String>", extend("enum" = ["proposed", "active", "suspended", "retired", null]))]
    pub(super) state: Option<Text>,
}

/// What is acted on, and what policy may know of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Resource")]
pub(super) struct RawResource {
    /// Its kind and name, as `dataset:customers`; a tool as `tool:<service>/<tool name>`.
    #[schemars(with = "String", extend("pattern" = RESOURCE))]
    pub(super) id: Option<Text>,
    /// What it is, for people.
    #[schemars(with = "Option<String>", extend("maxLength" = 2000))]
    pub(super) description: Option<Text>,
    /// The accountable person.
    #[schemars(with = "Option<String>", extend("pattern" = PERSON))]
    pub(super) owner: Option<Text>,
    /// How much harm disclosure does: public when left out, and never less than that of what it touches.
    #[schemars(with = "Option<String>", extend("enum" = ["public", "internal", "confidential", "restricted", null]))]
    pub(super) sensitivity: Option<Text>,
    /// Whether it is or touches personal data.
    #[schemars(with = "Option<bool>")]
    pub(super) personal: Option<Text>,
    /// How much harm a wrong call does. A tool without a risk is never allowed.
    #[schemars(with = "Option<String>", extend("enum" = ["low", "medium", "high", null]))]
    pub(super) risk: Option<Text>,
    /// Whether a call can move data out of the organisation.
    #[schemars(with = "Option<bool>")]
    pub(super) egress: Option<Text>,
    /// The datasets that it reads or writes; each is declared in the manifest.
    #[schemars(with = "Option<Vec<String>>", extend("items" = { "type": "string", "pattern": DATASET }))]
    pub(super) touches: Option<Vec<Text>>,
    /// How a service is reached; services only.
    #[schemars(with = "Option<RawUpstream>")]
    pub(super) upstream: Option<Spanned<RawUpstream>>,
}

/// How a service's MCP server is reached: one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream", extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RawUpstream {
    /// One that runs already, over streamable HTTP.
    #[schemars(with = "Option<RawHttp>")]
    pub(super) http: Option<Spanned<RawHttp>>,
    /// One that the gateway starts, over its standard streams.
    #[schemars(with = "Option<RawStdio>")]
    pub(super) stdio: Option<Spanned<RawStdio>>,
}

/// An MCP server over streamable HTTP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Http")]
pub(super) struct RawHttp {
    /// Its address, `http://` or `https://`.
    #[schemars(with = "String", extend("pattern" = "^https?://[^/@]+(/.*)?$"))]
    pub(super) url: Option<Text>,
    /// What the gateway puts into a request header.
    #[schemars(with = "Option<RawHeader>")]
    pub(super) credential: Option<Spanned<RawHeader>>,
}

/// A header that holds a secret. The agent never sees it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Header")]
pub(super) struct RawHeader {
    /// The header's name, as `authorization`.
    #[schemars(with = "String")]
    pub(super) header: Option<Text>,
    /// What stands before the secret, as `Bearer ` with its space.
    #[schemars(with = "Option<String>")]
    pub(super) prefix: Option<Text>,
    /// The name of a secret stored with `marque secret set`.
    #[schemars(with = "String", extend("pattern" = SECRET))]
    pub(super) secret: Option<Text>,
}

/// An MCP server that the gateway starts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Stdio")]
pub(super) struct RawStdio {
    /// The program.
    #[schemars(with = "String", extend("minLength" = 1))]
    pub(super) command: Option<Text>,
    /// Its arguments.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) args: Option<Vec<Text>>,
    /// Environment variables that hold secrets.
    #[schemars(with = "Option<Vec<RawVariable>>")]
    pub(super) secrets: Option<Vec<Spanned<RawVariable>>>,
}

/// An environment variable that holds a secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Variable")]
pub(super) struct RawVariable {
    /// The variable's name.
    #[schemars(with = "String", extend("pattern" = VARIABLE))]
    pub(super) variable: Option<Text>,
    /// The name of a secret stored with `marque secret set`.
    #[schemars(with = "String", extend("pattern" = SECRET))]
    pub(super) secret: Option<Text>,
}

impl RawFile {
    /// Reads the YAML in `text`. An error of YAML itself, an unknown key or a list in place of a text ends the file:
    /// it is the one error of that file.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, ManifestError> {
        let parsed = serde_saphyr::from_str_with_options::<Option<Self>>(text, options());
        parsed.map(Option::unwrap_or_default).map_err(|error| refused(file, text, &error))
    }
}

/// The limits within which YAML is read: far above any manifest, far below what an alias bomb needs.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        reject_unsupported_tags: true,
        budget: serde_saphyr::budget! {
            max_depth: 16,
            flow_nesting_limit: 16,
            max_anchors: 1_000,
            max_aliases: 1_000,
            max_merge_keys: 1_000,
            max_recorded_anchor_events: 100_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 8,
        },
    }
}

/// The parser's error, with its place and as much of the field's path as is known.
fn refused(file: &Path, text: &str, error: &Error) -> ManifestError {
    let at = error.location();
    let (key, expected) = match innermost(error) {
        Error::SerdeUnknownField { field, expected, .. } => {
            (field.as_str(), format!("one of the keys {}, found `{field}`", expected.join(", ")))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => (key.as_str(), format!("each key once, found `{key}` again")),
        Error::Unexpected { expected: "sequence start", .. } => ("", "a list, found something else".to_owned()),
        Error::Unexpected { expected: "mapping start", .. } => ("", "keys and values, found something else".to_owned()),
        Error::Unexpected { expected: "string scalar", .. } => ("", "a text, found a list or keys and values".to_owned()),
        Error::NullIntoString { .. } => ("", "a text, found nothing".to_owned()),
        other => ("", format!("valid YAML: {}", UserMessageFormatter.format_message(other))),
    };
    let field = match at.and_then(|at| entry_at(text, at)) {
        Some(entry) if key.is_empty() => entry,
        Some(entry) => format!("{entry}.{key}"),
        None => key.to_owned(),
    };
    ManifestError::at(file, at, field, &expected)
}

fn innermost(error: &Error) -> &Error {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => innermost(error),
        other => other,
    }
}

/// The entry in which `at` lies, as `identities[0]`, where the file can be read that far.
fn entry_at(text: &str, at: Location) -> Option<String> {
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::FirstWins;
    let outline: Outline = serde_saphyr::from_str_with_options(text, options).ok()?;
    let identities = outline.identities.iter().flatten().enumerate().map(|(i, entry)| ("identities", i, entry.referenced));
    let resources = outline.resources.iter().flatten().enumerate().map(|(i, entry)| ("resources", i, entry.referenced));
    let before = |start: &Location| (start.line(), start.column()) <= (at.line(), at.column()) && start.column() <= at.column();
    let holding = identities.chain(resources).filter(|(_, _, start)| before(start));
    let nearest = holding.max_by_key(|(_, _, start)| (start.line(), start.column()));
    nearest.map(|(list, index, _)| format!("{list}[{index}]"))
}

/// Where the entries of a file begin, whatever is in them.
#[derive(Deserialize)]
struct Outline {
    identities: Option<Vec<Spanned<IgnoredAny>>>,
    resources: Option<Vec<Spanned<IgnoredAny>>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        RawFile::parse(Path::new("a.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn texts_know_where_they_stand() {
        let text = "identities:\n  - name: agent/a\n    ceiling:\n      - read:dataset:x\n";
        let file = RawFile::parse(Path::new("a.yaml"), text).unwrap();
        let identity = &file.identities.unwrap()[0];
        let place = |at: Location| (at.line(), at.column());
        assert_eq!(place(identity.referenced), (2, 5));
        assert_eq!(place(identity.value.name.as_ref().unwrap().referenced), (2, 11));
        assert_eq!(place(identity.value.ceiling.as_ref().unwrap()[0].referenced), (4, 9));
    }

    #[test]
    fn a_file_may_be_empty() {
        for text in ["", "# nothing yet\n", "---\n", "identities:\nresources: []\n"] {
            let file = RawFile::parse(Path::new("a.yaml"), text).unwrap();
            assert!(file.identities.iter().flatten().next().is_none() && file.resources.iter().flatten().next().is_none());
        }
    }

    #[test]
    fn errors_of_shape_say_where() {
        let unknown = error("identities:\n  - name: agent/a\n  - name: agent/b\n    ceilng: []\n");
        assert!(unknown.starts_with("a.yaml:4:5: identities[1].ceilng: expected one of the keys name, kind"), "{unknown}");
        let top = error("resources:\n  - id: dataset:x\nidentites: []\n");
        assert_eq!(top, "a.yaml:3:1: identites: expected one of the keys identities, resources, found `identites`");
        let twice = error("resources:\n  - id: dataset:x\n    id: dataset:y\n");
        assert_eq!(twice, "a.yaml:3:5: resources[0].id: expected each key once, found `id` again");
        let list = error("resources:\n  - id: [a]\n");
        assert_eq!(list, "a.yaml:2:9: resources[0]: expected a text, found a list or keys and values");
        let text = error("identities:\n  - name: agent/a\n    ceiling: read:dataset:x\n");
        assert_eq!(text, "a.yaml:3:14: identities[0]: expected a list, found something else");
        let broken = error("resources:\n  - id: \"dataset:x\n");
        assert!(broken.starts_with("a.yaml:") && broken.contains(": expected valid YAML: "), "{broken}");
    }

    #[test]
    fn alias_bombs_are_refused() {
        let bomb = format!("resources:\n  - &r {{ id: dataset:x }}\n{}", "  - *r\n".repeat(2_000));
        let error = error(&bomb);
        assert!(error.contains("too large or too complex"), "{error}");
        let deep = format!("resources: {}{}\n", "[".repeat(100), "]".repeat(100));
        assert!(RawFile::parse(Path::new("a.yaml"), &deep).is_err());
    }
}
