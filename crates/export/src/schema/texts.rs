//! Texts of a certain form, and closed lists of words.

/// A text of a certain form.
pub(super) struct Text {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    pub(super) pattern: &'static str,
    pub(super) longest: usize,
}

const fn text(name: &'static str, says: &'static str, pattern: &'static str, longest: usize) -> Text {
    Text { name, says, pattern, longest }
}

/// Texts of a certain form.
pub(super) const TEXTS: &[Text] = &[
    text("event_id", "Names one event of the log.", "^ev_[0-7][0-9A-HJKMNP-TV-Z]{25}$", 29),
    text("observer_id", "Names one writer of events.", "^obs_[0-7][0-9A-HJKMNP-TV-Z]{25}$", 30),
    text("task_id", "Names a task.", "^task_[0-7][0-9A-HJKMNP-TV-Z]{25}$", 31),
    text("instance_id", "Names one running copy of an identity.", "^inst_[0-7][0-9A-HJKMNP-TV-Z]{25}$", 31),
    text("lease_id", "Names one issued credential.", "^lease_[0-7][0-9A-HJKMNP-TV-Z]{25}$", 32),
    text("elevation_id", "Names a held request.", "^elev_[0-7][0-9A-HJKMNP-TV-Z]{25}$", 31),
    text("record_id", "Names one credentialed action.", "^rec_[0-7][0-9A-HJKMNP-TV-Z]{25}$", 30),
    text(
        "by",
        "On whose word something happened: a person, a running copy of an identity, or Marque itself.",
        "^(system|inst_[0-7][0-9A-HJKMNP-TV-Z]{25}|user:(~[0-9a-f]{32}|[A-Za-z0-9@_+-][A-Za-z0-9@._+-]{0,127}))$",
        133,
    ),
    text(
        "person_id",
        "A person, or the pseudonym that stands for one: `~` and 32 hex digits.",
        "^user:(~[0-9a-f]{32}|[A-Za-z0-9@_+-][A-Za-z0-9@._+-]{0,127})$",
        133,
    ),
    text("trust_domain", "A SPIFFE trust domain (SPIFFE-ID §2.1).", "^[a-z0-9._-]{1,255}$", 255),
    text("spiffe_id", "A SPIFFE ID (SPIFFE-ID §2).", "^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*$", 2048),
    text("digest", "A SHA-256 digest.", "^sha256:[0-9a-f]{64}$", 71),
    text(
        "committed",
        "The digest of some content, or the commitment to it: SHA-256(salt ‖ SHA-256(bytes)).",
        "^(sha256|commit):[0-9a-f]{64}$",
        71,
    ),
    text(
        "prints",
        "Keyed fingerprints of a text, 64 bits each, or the commitment to them.",
        "^(commit:[0-9a-f]{64}|([0-9a-f]{16})*)$",
        1 << 20,
    ),
    text(
        "resource_id",
        "Names a resource.",
        "^(dataset|tool|model|service|output|identity|credential):[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
        267,
    ),
    text(
        "grant",
        "Actions on resources, up to a sensitivity.",
        concat!(
            "^(read|write|export|invoke|infer|retrain|publish|delegate|issue)",
            "(,(read|write|export|invoke|infer|retrain|publish|delegate|issue))*",
            ":(dataset|tool|model|service|output|identity|credential)",
            ":([A-Za-z0-9._-]+/)*([A-Za-z0-9._-]+|\\*)",
            "(;sensitivity=(public|internal|confidential|restricted))?$",
        ),
        512,
    ),
    text("node_name", "The name of a node: another host that serves the Workload API.", "^[a-z0-9][a-z0-9.-]{0,62}$", 63),
    text(
        "selector",
        "One observed fact, `attestor:key:value`, or the commitment to it.",
        "^([a-z0-9_-]+:[a-z0-9_-]+:.+|commit:[0-9a-f]{64})$",
        4096,
    ),
    text(
        "target",
        "What is revoked.",
        concat!(
            "^((lease|task|inst|elev)_[0-7][0-9A-HJKMNP-TV-Z]{25}",
            "|spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*",
            "|user:(~[0-9a-f]{32}|[A-Za-z0-9@_+-][A-Za-z0-9@._+-]{0,127}))$",
        ),
        2048,
    ),
];

/// Closed lists of words.
pub(super) const WORDS: &[(&str, &str, &[&str])] = &[
    ("action", "The verb.", &["read", "write", "export", "invoke", "infer", "retrain", "publish", "delegate", "issue"]),
    ("sensitivity", "How much harm disclosure does.", &["public", "internal", "confidential", "restricted"]),
    ("risk", "How much harm a wrong call does.", &["low", "medium", "high"]),
    ("effect", "The answer of a decision.", &["allow", "deny", "hold"]),
    ("consent", "Whether people had to agree, and did.", &["not-needed", "pending", "approved", "refused"]),
    ("ending", "How an action ended.", &["answered", "truncated", "cut", "failed", "abandoned"]),
    ("identity_kind", "What sort of principal.", &["agent", "model", "pipeline-step", "service", "connector"]),
    ("lifecycle", "Where an identity is in its life.", &["proposed", "active", "suspended", "retired"]),
    ("admission", "How a node proved that it is the one of its name.", &["join_token", "x509_pop", "renewal"]),
    (
        "authority_step",
        "A step in the life of a signing key (SPIFFE Federation §4.1).",
        &["prepared", "activated", "tainted", "revoked", "forgotten"],
    ),
    ("credential_class", "What sort of credential.", &["x509-svid", "jwt-svid", "wit-svid", "task-token", "gateway-session"]),
];
