//! What happened: one object for each kind of event.

use super::types::Type::{Is, Many, Moment, Set, Text as Plain, Unsigned};
use super::types::{Field, Object, always, maybe};

const fn body(name: &'static str, says: &'static str, fields: &'static [Field]) -> Object {
    Object { name, says, fields }
}

/// Every kind; `kind` is the tag.
pub(super) const BODIES: &[Object] = &[
    body("log_started", "The log began.", &[always("trust_domain", Is("trust_domain"), "Whose log this is.")]),
    body(
        "person_added",
        "A person became known.",
        &[
            always("person", Is("person_id"), "Who."),
            always("credential", Is("digest"), "SHA-256 of the person's bootstrap credential."),
        ],
    ),
    body("identity_applied", "An identity was registered or changed.", &[always("identity", Is("identity"), "As it is now.")]),
    body(
        "identity_moved",
        "An identity took a step of its life.",
        &[
            always("identity", Is("spiffe_id"), "Which."),
            always("to", Is("lifecycle"), "Where to."),
            always("why", Plain, "Why, or the commitment to it."),
        ],
    ),
    body("resource_applied", "A resource was registered or changed.", &[always("resource", Is("resource"), "As it is now.")]),
    body(
        "tool_pinned",
        "A tool's definition was seen and registered.",
        &[always("tool", Is("resource_id"), "Which tool."), always("definition", Is("digest"), "The digest of its definition.")],
    ),
    body(
        "policy_file",
        "A policy file was registered.",
        &[always("name", Plain, "Its name."), always("text", Plain, "Its text.")],
    ),
    body(
        "policy_activated",
        "The policy files in force from here on.",
        &[
            always("files", Many(&Plain), "Their names, in order."),
            always("digest", Is("digest"), "The digest over names and texts."),
        ],
    ),
    body("instance_attested", "A process was attested.", &[always("instance", Is("instance"), "What it is.")]),
    body("instance_ended", "A process ended.", &[always("instance", Is("instance_id"), "Which.")]),
    body(
        "attestation_refused",
        "A process asked for an identity and got none.",
        &[always("why", Plain, "Why, with the selectors that were seen, or the commitment to it.")],
    ),
    body(
        "node_token_made",
        "A node may join.",
        &[
            always("node", Is("node_name"), "Which."),
            always("token", Is("digest"), "SHA-256 of its join token."),
            always("expires", Moment, "Until when the token admits."),
        ],
    ),
    body(
        "node_joined",
        "A node was admitted, or its SVID renewed.",
        &[
            always("node", Is("node_name"), "Which."),
            always("how", Is("admission"), ""),
            always("selectors", Set(&Is("selector")), "What is known of it by that."),
            always("certificate", Plain, "The serial number of the X.509-SVID that it was given."),
            always("expires", Moment, "Until when that counts."),
        ],
    ),
    body(
        "node_banned",
        "A node was banned, for good.",
        &[always("node", Is("node_name"), "Which."), always("why", Plain, "Why, or the commitment to it.")],
    ),
    body("task_started", "A task started.", &[always("task", Is("task"), "The task.")]),
    body("task_finished", "A task was finished before its deadline.", &[always("task", Is("task_id"), "Which.")]),
    body("lease_issued", "A credential was issued.", &[always("lease", Is("lease"), "The lease.")]),
    body(
        "issue_refused",
        "A request for authority was refused before it came to a decision on a resource.",
        &[always("identity", Is("spiffe_id"), "Of whom."), always("why", Plain, "Why.")],
    ),
    body(
        "decided",
        "An action was decided, before it happens.",
        &[
            always("record", Is("record_id"), "Its identifier."),
            always("identity", Is("spiffe_id"), "Who acts."),
            always("instance", Is("instance_id"), "Which copy."),
            always("lease", Is("lease_id"), "With which credential."),
            always("task", Is("task_id"), "Under which task."),
            always("principal", Is("person_id"), "For whom."),
            always("action", Is("action"), ""),
            always("resource", Is("resource_id"), "On what."),
            always("sensitivity", Is("sensitivity"), "Of the data it touches."),
            always("protocol", Plain, "How it was asked, as `mcp tools/call`."),
            always("effect", Is("effect"), ""),
            always("reasons", Many(&Is("reason")), "Why."),
            always("policy", Is("digest"), "The digest of the policies that decided."),
            always("request", Is("committed"), "SHA-256 of the request's exact bytes."),
            always("arguments", Is("committed"), "SHA-256 of the canonical arguments."),
            always("intent", Plain, "The purpose that the person who asked declared, or the commitment to it."),
            always("posture", Is("posture"), ""),
            always("consent", Is("consent"), ""),
            always("obligations", Many(&Plain), "What the decision demands of whoever carries it out."),
            maybe("correlation", Plain, "A W3C `traceparent`, the protocol's request identifier, or the commitment to it."),
            maybe("causes", Many(&Is("record_id")), "The records whose outputs this request carries on."),
            maybe("contents", Many(&Is("content")), "The texts that the request carried."),
            maybe("elevation", Is("elevation_id"), "The elevation that held it or that it used."),
        ],
    ),
    body(
        "settled",
        "An action ended.",
        &[
            always("record", Is("record_id"), "Which."),
            maybe("principal", Is("person_id"), "For whom it was."),
            always("outcome", Is("outcome"), "How."),
        ],
    ),
    body("elevation_requested", "A request was held.", &[always("elevation", Is("elevation"), "The elevation.")]),
    body(
        "elevation_voted",
        "A person approved.",
        &[always("elevation", Is("elevation_id"), "Which elevation."), always("by", Is("person_id"), "Who.")],
    ),
    body(
        "elevation_approved",
        "Enough people approved.",
        &[
            always("elevation", Is("elevation_id"), "Which elevation."),
            always("by", Is("person_id"), "The last of them."),
            always("task", Is("task"), "The task that it starts."),
        ],
    ),
    body(
        "elevation_refused",
        "A person said no.",
        &[
            always("elevation", Is("elevation_id"), "Which elevation."),
            always("by", Is("person_id"), "Who."),
            always("why", Plain, "Why, or the commitment to it."),
        ],
    ),
    body("elevation_expired", "Nobody decided in time.", &[always("elevation", Is("elevation_id"), "Which elevation.")]),
    body("artifact_attested", "A file was bound to the task that made it.", &[always("artifact", Is("artifact"), "The file.")]),
    body(
        "ledger_read",
        "Somebody read the log.",
        &[
            always("query", Plain, "What was asked, or the commitment to it."),
            always("rows", Unsigned(64), "How many entries were shown."),
        ],
    ),
    body(
        "gap",
        "Events of an observer are missing.",
        &[
            always("observer", Is("observer_id"), "Whose."),
            always("from", Unsigned(64), "The first number that is missing."),
            always("to", Unsigned(64), "The last."),
        ],
    ),
    body(
        "erased",
        "A person's data was erased.",
        &[
            always("person", Is("person_id"), "Who; in the log, the pseudonym."),
            always("pseudonym", Is("person_id"), "The pseudonym."),
        ],
    ),
    body(
        "authority_stepped",
        "A signing key of the trust domain took a step of its life.",
        &[
            always("step", Is("authority_step"), ""),
            always("signs", Plain, "What the key signs: `x509`, `jwt` or `wit`."),
            always("authority", Plain, "Its name; empty where it was made by this step."),
            always("sequence", Unsigned(64), "The sequence of the bundle after it."),
            always("why", Plain, "Why, or the commitment to it."),
        ],
    ),
    body(
        "pruned",
        "The contents of old entries were let go; their hashes stay.",
        &[always("below", Unsigned(64), "Entries below this index."), always("policy", Plain, "The rule that says so.")],
    ),
    body(
        "revoked",
        "Something was revoked.",
        &[
            always("target", Is("target"), "What."),
            always("epoch", Unsigned(64), "The epoch of this revocation."),
            always("why", Plain, "Why, or the commitment to it."),
        ],
    ),
];
