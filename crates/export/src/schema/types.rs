//! The types that events are made of, as `marque-core` writes them.

/// An object with a closed list of fields.
pub(super) struct Object {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    pub(super) fields: &'static [Field],
}

/// A field of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) holds: Type,
    pub(super) required: bool,
    pub(super) says: &'static str,
}

/// What a field holds.
pub(super) enum Type {
    /// Any text.
    Text,
    /// A truth value.
    Bool,
    /// A whole number of so many bits, at least 0.
    Unsigned(u32),
    /// Microseconds since the Unix epoch.
    Moment,
    /// The schema's version.
    Version,
    /// Exactly this text.
    Word(&'static str),
    /// What is defined under this name.
    Is(&'static str),
    /// A list.
    Many(&'static Type),
    /// A list without repetition.
    Set(&'static Type),
    /// It, or null.
    OrNull(&'static Type),
}

/// A field that is always there.
pub(super) const fn always(name: &'static str, holds: Type, says: &'static str) -> Field {
    Field { name, holds, required: true, says }
}

/// A field that is left out where there is nothing to say.
pub(super) const fn maybe(name: &'static str, holds: Type, says: &'static str) -> Field {
    Field { name, holds, required: false, says }
}

const fn object(name: &'static str, says: &'static str, fields: &'static [Field]) -> Object {
    Object { name, says, fields }
}

use Type::{Bool, Is, Many, Moment, OrNull, Set, Text as Plain, Unsigned, Version, Word};

/// The entry.
pub(super) const EVENT: Object = object(
    "event",
    "One entry of the log, as canonical JSON (RFC 8785): its bytes are the Merkle leaf.",
    &[
        always("id", Is("event_id"), "Its identifier."),
        always("v", Version, "The version of this schema."),
        always("ts", Moment, "When, by the clock of the one who wrote the log; microseconds since the Unix epoch."),
        always("obs", Is("observer_id"), "Which observer saw it."),
        always("iseq", Unsigned(64), "The observer's own number of it, from 1 without gaps."),
        always("by", Is("by"), "On whose word."),
        always("what", Is("what"), ""),
    ],
);

/// Objects that several kinds of event carry.
pub(super) const OBJECTS: &[Object] = &[
    object(
        "identity",
        "A registered non-human principal.",
        &[
            always("id", Is("spiffe_id"), "Its SPIFFE ID."),
            always("kind", Is("identity_kind"), ""),
            always("owner", OrNull(&Is("person_id")), "The accountable person."),
            always("purpose", Plain, "What it is for."),
            always("selectors", Set(&Is("selector")), "What must be observed of a process for it to be an instance."),
            maybe("hint", Plain, "What a process that is several identities tells them apart by (Workload API §5.2.1)."),
            maybe("nodes", Set(&Is("node_name")), "The nodes that may serve it; without any, the server's own host."),
            always("ceiling", Set(&Is("grant")), "The most it may ever hold."),
            always("state", Is("lifecycle"), ""),
            always("epoch", Unsigned(64), "Credentials that carry an older epoch are dead."),
        ],
    ),
    object(
        "resource",
        "A registered resource.",
        &[
            always("id", Is("resource_id"), "Its name."),
            maybe("description", Plain, "What it is, for people."),
            always("sensitivity", Is("sensitivity"), "Of the data it is or touches."),
            always("personal", Bool, "Whether it is or touches personal data."),
            maybe("risk", Is("risk"), "The risk of calling it; without one, every call is denied."),
            always("egress", Bool, "Whether a call can move data out of the organisation."),
            maybe("touches", Set(&Is("resource_id")), "The datasets that a tool reads or writes."),
            maybe("owner", Is("person_id"), "The accountable person."),
            maybe("upstream", Is("upstream"), "How a service is reached."),
            maybe("definition", Is("digest"), "The digest of a tool's definition as it was when registered."),
        ],
    ),
    object(
        "http_upstream",
        "An MCP server over streamable HTTP.",
        &[
            always("url", Plain, "Its address."),
            maybe("credential", Is("injected_header"), "What the gateway puts into a request header."),
        ],
    ),
    object(
        "stdio_upstream",
        "An MCP server that the gateway starts.",
        &[
            always("command", Plain, "The program."),
            maybe("args", Many(&Plain), "Its arguments."),
            maybe("secrets", Many(&Is("injected_variable")), "Environment variables set from stored secrets."),
        ],
    ),
    object(
        "injected_header",
        "A header that the gateway sets.",
        &[
            always("header", Plain, "Its name."),
            maybe("prefix", Plain, "What stands before the secret."),
            always("secret", Plain, "The name of a stored secret."),
        ],
    ),
    object(
        "injected_variable",
        "An environment variable that holds a secret.",
        &[always("variable", Plain, "Its name."), always("secret", Plain, "The name of a stored secret.")],
    ),
    object(
        "instance",
        "One running copy of an identity.",
        &[
            always("id", Is("instance_id"), "Its identifier."),
            always("identity", Is("spiffe_id"), "The identity that it is a copy of."),
            always("attestation", Is("attestation"), "What was seen."),
            always("task", OrNull(&Is("task_id")), "The task that it was launched for."),
            always("since", Moment, "When it was first seen."),
            always("epoch", Unsigned(64), "The epoch at which it was attested."),
        ],
    ),
    object(
        "attestation",
        "What was seen of a process, never what it says of itself.",
        &[
            always("method", Plain, "Which attestor looked."),
            always("pid", Unsigned(32), "The process, on its host; 0 where a token stood for it."),
            always("started", Unsigned(64), "Its start time in clock ticks since boot."),
            always("selectors", Set(&Is("selector")), "All facts seen."),
            maybe("until", Moment, "Until when it counts, where it was no process: the token's own end."),
            maybe("node", Is("node_name"), "The node whose process it is; without one, the server's own host."),
        ],
    ),
    object(
        "task",
        "A unit of work and the authority for it.",
        &[
            always("id", Is("task_id"), "Its identifier."),
            maybe("parent", Is("task_id"), "The task that delegated this one."),
            maybe("lineage", Many(&Is("task_id")), "Every task whose end ends this one, the root first."),
            always("actor", Is("spiffe_id"), "The identity that acts."),
            always("principal", Is("person_id"), "The person who asked; constant along a chain."),
            always("purpose", Plain, "Why, or the commitment to it."),
            always("scope", Set(&Is("grant")), "What is allowed."),
            always("started", Moment, "When it started."),
            always("expires", Moment, "The deadline."),
            always("depth", Unsigned(8), "How far from the root."),
            always("budget", Is("budget"), "How much may be used."),
            maybe("elevation", Is("elevation_id"), "The elevation whose approval started it."),
            always("epoch", Unsigned(64), "The epoch at which it started."),
        ],
    ),
    object("budget", "How much of something a task may use.", &[maybe("calls", Unsigned(64), "The most tool calls.")]),
    object(
        "lease",
        "One issued credential, without any secret.",
        &[
            always("id", Is("lease_id"), "Its identifier."),
            always("class", Is("credential_class"), ""),
            always("identity", Is("spiffe_id"), "Whose."),
            always("instance", Is("instance_id"), "Which copy's."),
            maybe("holder", Is("instance_id"), "Which copy has it, where that is another: a broker fetched it."),
            always("task", OrNull(&Is("task_id")), "For which task; an SVID on its own has none."),
            always("scope", Set(&Is("grant")), "What it allows."),
            always("issued", Moment, "When it was issued."),
            always("expires", Moment, "When it ends."),
            always("handle", Plain, "How the credential names itself: a serial number or `jti`."),
            maybe("binding", Plain, "The key it is bound to: `x5t#S256` (RFC 8705)."),
            always("epoch", Unsigned(64), "The epoch at which it was issued."),
        ],
    ),
    object(
        "reason",
        "Why a decision fell.",
        &[
            always("policy", Plain, "The policy's identifier, or a built-in rule's name."),
            always("text", Plain, "One sentence for people and agents."),
            maybe("at", Plain, "Where the policy stands."),
        ],
    ),
    object(
        "content",
        "The digests of one text that an action carried.",
        &[
            always("at", Plain, "Where it stood, as a JSON pointer (RFC 6901), or the commitment to it."),
            always("exact", Is("committed"), "SHA-256 of its exact bytes."),
            always("normalised", Is("committed"), "SHA-256 of its letters and digits alone, in lower case."),
            always("prints", Is("prints"), ""),
            always("bytes", Unsigned(64), "Its length."),
        ],
    ),
    object(
        "posture",
        "How the acting copy was attested.",
        &[
            always("method", Plain, "By which attestor."),
            always("age", Unsigned(64), "How long before the decision, in seconds."),
        ],
    ),
    object(
        "outcome",
        "What came of an action.",
        &[
            always("ending", Is("ending"), ""),
            always("status", Unsigned(16), "The protocol's status, as HTTP's."),
            always("response", OrNull(&Is("committed")), "SHA-256 of the response's exact bytes, as far as they came."),
            always("bytes", Unsigned(64), "How many bytes came."),
            maybe("contents", Many(&Is("content")), "The texts that the response carried."),
        ],
    ),
    object(
        "elevation",
        "A held request.",
        &[
            always("id", Is("elevation_id"), "Its identifier."),
            always("call", Is("call"), "What is asked for, exactly."),
            always("instance", Is("instance_id"), "Which copy of the identity asked."),
            always("needs", Is("needs"), "What people must give."),
            always("reasons", Many(&Is("reason")), "Why it was held."),
            always("sight", Plain, "A short sight of the arguments, or the commitment to it."),
            always("barred", Set(&Is("person_id")), "People who may not approve."),
            always("votes", Set(&Is("person_id")), "Who approved so far."),
            always("requested", Moment, "When it was held."),
            always("decide_by", Moment, "When it expires if nobody decides."),
            always("status", Is("elevation_status"), "Where it stands."),
            always("epoch", Unsigned(64), "The epoch at which it was held."),
        ],
    ),
    object(
        "call",
        "The exact call that an approval is bound to.",
        &[
            always("identity", Is("spiffe_id"), "Who acts."),
            always("task", Is("task_id"), "Under which task."),
            always("action", Is("action"), ""),
            always("resource", Is("resource_id"), "On what."),
            always("sensitivity", Is("sensitivity"), "Of the data it touches."),
            always("arguments", Is("committed"), "SHA-256 of the canonical arguments."),
            maybe("definition", Is("digest"), "The digest of the tool's definition when the call was held."),
        ],
    ),
    object(
        "needs",
        "What people must give before a held request may go on.",
        &[
            always("elevations", Many(&Plain), "The names of the rules that hold it."),
            always("approvals", Unsigned(32), "How many people must approve."),
            always("ttl", Unsigned(64), "How long the approval may be used, in seconds."),
        ],
    ),
    object(
        "artifact",
        "A file with the task that made it and the files that it was made from.",
        &[
            always("name", Plain, "The file's name, or the commitment to it."),
            always("content", Is("committed"), "SHA-256 of its bytes."),
            always("bytes", Unsigned(64), "Its length."),
            always("identity", Is("spiffe_id"), "The identity that made it."),
            always("task", Is("task_id"), "The task under which it was made."),
            maybe("instance", Is("instance_id"), "The running copy that made it, where it said so itself."),
            maybe("inputs", Many(&Is("committed")), "SHA-256 of each file that it was made from."),
        ],
    ),
];

/// Objects of which one of several forms is written.
pub(super) const CHOICES: &[(&str, &str, &[Object])] = &[
    (
        "upstream",
        "Where a service's MCP server is.",
        &[
            object("http", "Over streamable HTTP.", &[always("http", Is("http_upstream"), "")]),
            object("stdio", "Started by the gateway.", &[always("stdio", Is("stdio_upstream"), "")]),
        ],
    ),
    (
        "elevation_status",
        "Where an elevation stands.",
        &[
            object("pending", "Waiting for people.", &[always("status", Word("pending"), "")]),
            object(
                "approved",
                "Enough people approved.",
                &[always("status", Word("approved"), ""), always("task", Is("task_id"), "The task that it started.")],
            ),
            object(
                "refused",
                "A person said no.",
                &[always("status", Word("refused"), ""), always("by", Is("person_id"), "Who.")],
            ),
            object("expired", "Nobody decided in time.", &[always("status", Word("expired"), "")]),
        ],
    ),
];
