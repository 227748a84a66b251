//! What every kind of event says in the few words that all formats ask for.

use marque_core::artifact::Artifact;
use marque_core::decision::Effect;
use marque_core::elevation::Elevation;
use marque_core::event::{AuthorityStep, Body, Event};
use marque_core::identity::Lifecycle;
use marque_core::lease::Lease;
use marque_core::record::{Decided, Ending, Outcome};
use marque_core::revocation::Target;
use marque_core::task::Task;
use marque_core::time::Timestamp;

/// The words, as far as the event has them.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) identity: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) person: Option<String>,
    pub(crate) action: Option<&'static str>,
    pub(crate) resource: Option<String>,
    pub(crate) effect: Option<&'static str>,
    pub(crate) policy: Option<String>,
    pub(crate) class: Option<&'static str>,
    pub(crate) lease: Option<String>,
    pub(crate) record: Option<String>,
    pub(crate) elevation: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) authority: Option<String>,
    pub(crate) why: Option<String>,
}

impl Facts {
    /// The words of an event. Who gave their word for it is not among them: see [`Event::by`].
    pub(crate) fn of(event: &Event) -> Self {
        let none = Self::default();
        match &event.what {
            Body::LogStarted { .. } | Body::Gap { .. } => none,
            Body::AuthorityStepped { authority, signs, why, .. } => {
                // A key that is made by this step has no name yet.
                let name = if authority.is_empty() { signs } else { authority };
                Self { authority: text(name), why: text(why), ..none }
            }
            Body::NodeTokenMade { node, .. } | Body::NodeJoined { node, .. } => Self { node: text(node), ..none },
            Body::NodeBanned { node, why } => Self { node: text(node), why: text(why), ..none },
            Body::PersonAdded { person, .. } => Self { person: text(person), ..none },
            Body::IdentityApplied { identity } => {
                Self { identity: text(&identity.id), person: identity.owner.as_ref().and_then(text), ..none }
            }
            Body::IdentityMoved { identity, why, .. } => Self { identity: text(identity), why: text(why), ..none },
            Body::ResourceApplied { resource } => Self { resource: text(&resource.id), ..none },
            Body::ToolPinned { tool, .. } => Self { resource: text(tool), ..none },
            Body::PolicyFile { .. } => none,
            Body::PolicyActivated { digest, .. } => Self { policy: text(digest), ..none },
            Body::InstanceAttested { instance } => Self {
                identity: text(&instance.identity),
                instance: text(instance.id),
                task: instance.task.and_then(text),
                ..none
            },
            Body::InstanceEnded { instance } => Self { instance: text(instance), ..none },
            Body::AttestationRefused { why } => Self { why: text(why), ..none },
            Body::TaskStarted { task } => Self::of_task(task),
            Body::TaskFinished { task } => Self { task: text(task), ..none },
            Body::LeaseIssued { lease } => Self::of_lease(lease),
            Body::IssueRefused { identity, why } => Self { identity: text(identity), why: text(why), ..none },
            Body::Decided(decided) => Self::of_decided(decided),
            Body::Settled { record, principal, .. } => {
                Self { record: text(record), person: principal.as_ref().and_then(text), ..none }
            }
            Body::ElevationRequested { elevation } => Self::of_elevation(elevation),
            Body::ElevationVoted { elevation, by } => Self { elevation: text(elevation), person: text(by), ..none },
            Body::ElevationApproved { elevation, task, .. } => Self { elevation: text(elevation), ..Self::of_task(task) },
            Body::ElevationRefused { elevation, by, why } => {
                Self { elevation: text(elevation), person: text(by), why: text(why), ..none }
            }
            Body::ElevationExpired { elevation } => Self { elevation: text(elevation), ..none },
            Body::ArtifactAttested { artifact } => Self::of_artifact(artifact),
            Body::LedgerRead { query, .. } => Self { why: text(query), ..none },
            Body::Erased { pseudonym, .. } => Self { person: text(pseudonym), ..none },
            Body::Pruned { policy, .. } => Self { why: text(policy), ..none },
            Body::Revoked { target, why, .. } => Self { why: text(why), ..Self::of_target(target) },
        }
    }

    fn of_task(task: &Task) -> Self {
        Self {
            identity: text(&task.actor),
            task: text(task.id),
            person: text(&task.principal),
            elevation: task.elevation.and_then(text),
            why: text(&task.purpose),
            ..Self::default()
        }
    }

    fn of_lease(lease: &Lease) -> Self {
        Self {
            identity: text(&lease.identity),
            instance: text(lease.instance),
            task: lease.task.and_then(text),
            class: Some(lease.class.as_str()),
            lease: text(lease.id),
            ..Self::default()
        }
    }

    fn of_decided(decided: &Decided) -> Self {
        Self {
            identity: text(&decided.identity),
            instance: text(decided.instance),
            task: text(decided.task),
            person: text(&decided.principal),
            action: Some(decided.action.as_str()),
            resource: text(&decided.resource),
            effect: Some(decided.effect.as_str()),
            policy: text(decided.policy),
            lease: text(decided.lease),
            record: text(decided.record),
            elevation: decided.elevation.and_then(text),
            why: decided.reasons.first().and_then(|reason| text(&reason.text)),
            ..Self::default()
        }
    }

    fn of_elevation(elevation: &Elevation) -> Self {
        Self {
            identity: text(&elevation.call.identity),
            instance: text(elevation.instance),
            task: text(elevation.call.task),
            action: Some(elevation.call.action.as_str()),
            resource: text(&elevation.call.resource),
            effect: Some(Effect::Hold.as_str()),
            elevation: text(elevation.id),
            why: elevation.reasons.first().and_then(|reason| text(&reason.text)),
            ..Self::default()
        }
    }

    fn of_artifact(artifact: &Artifact) -> Self {
        Self {
            identity: text(&artifact.identity),
            instance: artifact.instance.and_then(text),
            task: text(artifact.task),
            resource: text(&artifact.name),
            ..Self::default()
        }
    }

    fn of_target(target: &Target) -> Self {
        let none = Self::default();
        match target {
            Target::Lease(id) => Self { lease: text(id), ..none },
            Target::Task(id) => Self { task: text(id), ..none },
            Target::Instance(id) => Self { instance: text(id), ..none },
            Target::Identity(id) => Self { identity: text(id), ..none },
            Target::Owner(id) => Self { person: text(id), ..none },
            Target::Elevation(id) => Self { elevation: text(id), ..none },
        }
    }

    /// What an event is about, in one identifier: the narrowest that it names.
    pub(crate) fn subject(&self) -> Option<&str> {
        let narrowest = [
            &self.record,
            &self.elevation,
            &self.lease,
            &self.task,
            &self.instance,
            &self.identity,
            &self.resource,
            &self.policy,
            &self.node,
            &self.authority,
            &self.person,
        ];
        narrowest.into_iter().find_map(Option::as_deref)
    }
}

/// How much an event asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nothing out of the ordinary.
    Information,
    /// Something was refused or broke off.
    Low,
    /// Somebody without a right tried something, or something was cut.
    Medium,
    /// Something was revoked, or events are missing.
    High,
}

impl Severity {
    pub(crate) fn of(event: &Event) -> Self {
        match &event.what {
            Body::Gap { .. } | Body::Revoked { .. } | Body::NodeBanned { .. } => Self::High,
            Body::AuthorityStepped { step, .. } => match step {
                AuthorityStep::Revoked => Self::High,
                AuthorityStep::Tainted => Self::Medium,
                AuthorityStep::Prepared | AuthorityStep::Activated | AuthorityStep::Forgotten => Self::Information,
            },
            Body::AttestationRefused { .. } | Body::IssueRefused { .. } => Self::Medium,
            Body::Decided(decided) => match decided.effect {
                Effect::Allow => Self::Information,
                Effect::Deny => Self::Medium,
                Effect::Hold => Self::Low,
            },
            Body::Settled { outcome, .. } => match outcome.ending {
                Ending::Cut => Self::Medium,
                Ending::Answered => Self::Information,
                Ending::Truncated | Ending::Failed | Ending::Abandoned => Self::Low,
            },
            Body::IdentityMoved { to: Lifecycle::Suspended, .. } => Self::Medium,
            Body::ElevationRequested { .. }
            | Body::ElevationRefused { .. }
            | Body::ElevationExpired { .. }
            | Body::Erased { .. }
            | Body::Pruned { .. } => Self::Low,
            Body::LogStarted { .. }
            | Body::PersonAdded { .. }
            | Body::IdentityApplied { .. }
            | Body::IdentityMoved { .. }
            | Body::ResourceApplied { .. }
            | Body::ToolPinned { .. }
            | Body::PolicyFile { .. }
            | Body::PolicyActivated { .. }
            | Body::InstanceAttested { .. }
            | Body::InstanceEnded { .. }
            | Body::NodeTokenMade { .. }
            | Body::NodeJoined { .. }
            | Body::TaskStarted { .. }
            | Body::TaskFinished { .. }
            | Body::LeaseIssued { .. }
            | Body::ElevationVoted { .. }
            | Body::ElevationApproved { .. }
            | Body::ArtifactAttested { .. }
            | Body::LedgerRead { .. } => Self::Information,
        }
    }
}

/// One sentence for people.
pub(crate) fn sentence(event: &Event) -> String {
    let facts = Facts::of(event);
    let mut sentence = event.what.kind().replace('_', " ");
    match &event.what {
        Body::Decided(decided) => {
            let Decided { effect, action, resource, identity, .. } = &**decided;
            return format!("{}: {action} {resource} by {identity}", effect.as_str());
        }
        Body::Settled { record, outcome, .. } => {
            let Outcome { ending, status, bytes, .. } = outcome;
            return format!("{} {}: status {status}, {bytes} bytes", record, ending_word(*ending));
        }
        Body::AuthorityStepped { step, signs, .. } => {
            sentence = format!("the key that signs {signs} was {}", step_word(*step));
        }
        Body::Gap { observer, from, to } => return format!("events {from} to {to} of {observer} are missing"),
        _ => {}
    }
    if let Some(subject) = facts.subject() {
        sentence = format!("{sentence}: {subject}");
    }
    sentence
}

/// The step of a signing key as it is written in the log.
pub(crate) const fn step_word(step: AuthorityStep) -> &'static str {
    match step {
        AuthorityStep::Prepared => "prepared",
        AuthorityStep::Activated => "activated",
        AuthorityStep::Tainted => "tainted",
        AuthorityStep::Revoked => "revoked",
        AuthorityStep::Forgotten => "forgotten",
    }
}

/// The ending as it is written in the log.
pub(crate) const fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Answered => "answered",
        Ending::Truncated => "truncated",
        Ending::Cut => "cut",
        Ending::Failed => "failed",
        Ending::Abandoned => "abandoned",
    }
}

/// A W3C trace context (Trace Context Level 1, §3.2): what joins a decision to the caller's own trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent<'a> {
    pub(crate) trace: &'a str,
    pub(crate) span: &'a str,
    pub(crate) flags: u8,
}

impl<'a> TraceParent<'a> {
    /// The caller's context, where the event has one that is well formed.
    pub(crate) fn of(event: &'a Event) -> Option<Self> {
        match &event.what {
            Body::Decided(decided) => Self::parse(decided.correlation.as_deref()?),
            _ => None,
        }
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, digits| part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |part: &str| part.bytes().all(|b| b == b'0');
        // Version 00 has four parts; a later one may have more.
        let whole = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        let valid = whole && hex(trace, 32) && !zero(trace) && hex(span, 16) && !zero(span) && hex(flags, 2);
        valid.then_some(Self { trace, span, flags: u8::from_str_radix(flags, 16).ok()? })
    }
}

/// RFC 3339, for the moments that it can write: the years 0 to 9999.
pub(crate) fn rfc3339(moment: Timestamp) -> Option<String> {
    (FIRST..=LAST).contains(&moment.micros()).then(|| moment.to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "every field of the facts is optional")]
fn text(value: impl std::fmt::Display) -> Option<String> {
    Some(value.to_string())
}

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200_000_000;

/// The last microsecond of the year 9999.
const LAST: i64 = 253_402_300_799_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_trace_contexts_count() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = TraceParent::parse(good).unwrap();
        assert_eq!((parsed.trace.len(), parsed.span, parsed.flags), (32, "00f067aa0ba902b7", 1));
        assert!(TraceParent::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
        for bad in [
            "",
            "7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bü-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_outside_the_calendar_have_no_date() {
        let at = |micros| rfc3339(Timestamp::from_micros(micros));
        assert_eq!(at(FIRST).unwrap(), "0000-01-01T00:00:00.000Z");
        assert_eq!(at(LAST).unwrap(), "9999-12-31T23:59:59.999Z");
        assert_eq!((at(FIRST - 1), at(LAST + 1), at(i64::MIN), at(i64::MAX)), (None, None, None, None));
    }
}
