//! Which fields of other people's minimum records stand where in an event, in one table.

use std::fmt::Write;

/// A list of what a record must say at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Section 11 of the IETF's agent identity draft (draft-ietf-wimse-aims, earlier draft-klrc-aiagent-auth).
    Aims,
    /// The minimum record of the Non-Human Identity Management Group.
    Nhimg,
}

/// A field that a list asks for, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Which list.
    pub list: List,
    /// What the list calls it.
    pub name: &'static str,
    /// Where it stands; several where the list asks for several things at once.
    pub places: &'static [Place],
}

/// A value of an event.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The kind of event.
    pub kind: &'static str,
    /// Where in it, as a JSON pointer (RFC 6901) in which `*` is every element.
    pub pointer: &'static str,
}

/// The table for people, in Markdown.
pub fn fields_table() -> String {
    let mut table = String::from("| asked for by | field | event | where |\n|---|---|---|---|\n");
    for asked in FIELDS {
        let list = match asked.list {
            Aims => "AIMS §11",
            Nhimg => "NHIMG",
        };
        let mut kinds: Vec<&str> = Vec::new();
        for place in asked.places {
            if !kinds.contains(&place.kind) {
                kinds.push(place.kind);
            }
        }
        let pointers = |kind: &str| {
            let here = asked.places.iter().filter(|place| place.kind == kind);
            here.map(|place| format!("`{}`", place.pointer)).collect::<Vec<_>>().join(", ")
        };
        for (i, kind) in kinds.into_iter().enumerate() {
            let (list, name) = if i == 0 { (list, asked.name) } else { ("", "") };
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| {list} | {name} | `{kind}` | {} |", pointers(kind));
        }
    }
    table
}

const fn asked(list: List, name: &'static str, places: &'static [Place]) -> Asked {
    Asked { list, name, places }
}

const fn decided(pointer: &'static str) -> Place {
    Place { kind: "decided", pointer }
}

const fn settled(pointer: &'static str) -> Place {
    Place { kind: "settled", pointer }
}

const fn revoked(pointer: &'static str) -> Place {
    Place { kind: "revoked", pointer }
}

use List::{Aims, Nhimg};

/// The seven fields of AIMS §11, then the sixteen of NHIMG.
pub const FIELDS: &[Asked] = &[
    asked(
        Aims,
        "authenticated agent identifier",
        &[decided("/what/identity"), decided("/what/instance"), decided("/what/lease")],
    ),
    asked(Aims, "delegated subject", &[decided("/what/principal"), decided("/what/task")]),
    asked(Aims, "resource or tool", &[decided("/what/resource")]),
    asked(Aims, "action and decision", &[decided("/what/action"), decided("/what/effect"), decided("/what/reasons")]),
    asked(Aims, "timestamp and correlation identifier", &[decided("/ts"), decided("/what/correlation"), decided("/what/record")]),
    asked(
        Aims,
        "posture, attestation or risk state",
        &[decided("/what/posture/method"), decided("/what/posture/age"), decided("/what/sensitivity")],
    ),
    asked(
        Aims,
        "remediation or revocation events and their cause",
        &[
            revoked("/what/target"),
            revoked("/what/epoch"),
            revoked("/what/why"),
            Place { kind: "identity_moved", pointer: "/what/to" },
            Place { kind: "identity_moved", pointer: "/what/why" },
            Place { kind: "authority_stepped", pointer: "/what/step" },
            Place { kind: "authority_stepped", pointer: "/what/why" },
            Place { kind: "node_banned", pointer: "/what/node" },
            Place { kind: "node_banned", pointer: "/what/why" },
        ],
    ),
    asked(Nhimg, "event id", &[decided("/id")]),
    asked(Nhimg, "occurred time", &[decided("/ts")]),
    asked(Nhimg, "human delegator", &[decided("/what/principal")]),
    asked(Nhimg, "acting agent", &[decided("/what/identity"), decided("/what/instance")]),
    asked(Nhimg, "declared intent", &[decided("/what/intent")]),
    asked(Nhimg, "consent or approval state", &[decided("/what/consent"), decided("/what/elevation")]),
    asked(Nhimg, "trust level", &[decided("/what/posture/method"), decided("/what/posture/age")]),
    asked(Nhimg, "tool", &[decided("/what/resource"), decided("/what/protocol")]),
    asked(Nhimg, "resource", &[decided("/what/resource"), decided("/what/sensitivity")]),
    asked(Nhimg, "policy id", &[decided("/what/reasons/*/policy")]),
    asked(Nhimg, "policy version", &[decided("/what/policy")]),
    asked(Nhimg, "decision", &[decided("/what/effect")]),
    asked(Nhimg, "obligations", &[decided("/what/obligations")]),
    asked(Nhimg, "outcome", &[settled("/what/outcome/ending"), settled("/what/outcome/status")]),
    asked(Nhimg, "correlation id", &[decided("/what/correlation"), decided("/what/record"), settled("/what/record")]),
    asked(Nhimg, "causation id", &[decided("/what/causes")]),
];
