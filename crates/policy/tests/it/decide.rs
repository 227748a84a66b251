//! One request, one answer: allow, deny or hold, and why.

use marque_core::decision::{Decision, Effect, Needs, Reason};
use marque_core::resource::{Action, Resource, Sensitivity};
use marque_core::time::Ttl;
use marque_policy::BASELINE;

use crate::world::{Ask, MAY, identity, policies, resource};

const NEVER: &str = r#"@id("never") @reason("mail is never sent") forbid (principal, action, resource);"#;
const PII: &str = r#"@id("pii-rule") @elevation("pii") @approvals("2") @ttl("30m") @reason("personal data") forbid (principal, action, resource) unless { context.approved.contains("pii") };"#;
const NIGHT: &str = r#"@id("night-rule") @elevation("after-hours") @ttl("10m") @reason("nobody watches") forbid (principal, action, resource) unless { context.approved.contains("after-hours") };"#;
/// Errs in every task but a root one: the sum is more than a Long holds.
const ERRS: &str = r#"@id("errs") forbid (principal, action, resource) when { context.task.depth + 9223372036854775807 < 0 };"#;

fn reason(policy: &str, text: &str, at: &str) -> Reason {
    Reason { policy: policy.into(), text: text.into(), at: Some(at.into()) }
}

/// Denied by this rule alone.
#[track_caller]
fn denied_by(decision: &Decision, rule: &str) {
    assert_eq!(decision.effect(), Effect::Deny, "{decision:?}");
    let rules: Vec<&str> = decision.reasons().iter().map(|r| r.policy.as_str()).collect();
    assert_eq!(rules, [rule], "{decision:?}");
}

#[test]
fn without_a_permit_it_is_denied() {
    denied_by(&Ask::invoke().of(&policies(&[])), "no-permit");
}

#[test]
fn a_permit_allows_and_says_so() {
    let by = vec![reason("may", "it may happen", "a.cedar:1")];
    assert_eq!(Ask::invoke().of(&policies(&[MAY])), Decision::Allow { by });
}

#[test]
fn a_policy_without_a_reason_has_one_all_the_same() {
    let decision = Ask::invoke().of(&policies(&[r#"@id("plain") permit (principal, action, resource);"#]));
    assert_eq!(decision.reasons(), [reason("plain", "permitted by `plain`", "a.cedar:1")]);
}

#[test]
fn a_hard_forbid_denies_with_its_name_its_reason_and_its_place() {
    let by = vec![reason("never", "mail is never sent", "a.cedar:2")];
    assert_eq!(Ask::invoke().of(&policies(&[MAY, NEVER])), Decision::Deny { by });
}

#[test]
fn soft_forbids_hold_and_their_needs_are_merged() {
    let decision = Ask::invoke().of(&policies(&[MAY, PII, NIGHT]));
    let by = vec![reason("night-rule", "nobody watches", "a.cedar:3"), reason("pii-rule", "personal data", "a.cedar:2")];
    let elevations = vec!["after-hours".to_owned(), "pii".to_owned()];
    assert_eq!(decision, Decision::Hold { by, needs: Needs { elevations, approvals: 2, ttl: Ttl::from_minutes(10) } });
}

#[test]
fn one_approval_and_a_quarter_of_an_hour_are_the_default() {
    let soft = r#"@id("soft") @elevation("x") forbid (principal, action, resource) unless { context.approved.contains("x") };"#;
    let Decision::Hold { needs, .. } = Ask::invoke().of(&policies(&[MAY, soft])) else { panic!("it is not held") };
    assert_eq!(needs, Needs { elevations: vec!["x".into()], approvals: 1, ttl: Ttl::from_minutes(15) });
}

/// Nobody is asked to approve what nobody granted.
#[test]
fn a_soft_forbid_without_a_permit_denies() {
    denied_by(&Ask::invoke().of(&policies(&[PII])), "no-permit");
    let elsewhere = r#"@id("read") permit (principal, action == Marque::Action::"read", resource);"#;
    denied_by(&Ask::invoke().of(&policies(&[PII, NIGHT, elsewhere])), "no-permit");
}

#[test]
fn a_hard_forbid_wins_over_a_soft_one() {
    let decision = Ask::invoke().of(&policies(&[MAY, PII, NEVER]));
    assert_eq!(decision.effect(), Effect::Deny);
    assert!(decision.reasons().contains(&reason("never", "mail is never sent", "a.cedar:3")), "{decision:?}");
    // An approval discharges the soft one only.
    denied_by(&Ask::approving(&["pii"]).of(&policies(&[MAY, PII, NEVER])), "never");
}

#[test]
fn an_approval_discharges_what_it_names() {
    let policies = policies(&[MAY, PII, NIGHT]);
    let Decision::Hold { by, needs } = Ask::approving(&["pii"]).of(&policies) else { panic!("it is not held") };
    assert_eq!(by, [reason("night-rule", "nobody watches", "a.cedar:3")]);
    assert_eq!(needs, Needs { elevations: vec!["after-hours".into()], approvals: 1, ttl: Ttl::from_minutes(10) });
    assert_eq!(Ask::approving(&["other"]).of(&policies).effect(), Effect::Hold);
    assert_eq!(Ask::approving(&["pii", "after-hours"]).of(&policies).effect(), Effect::Allow);
}

/// Cedar skips a policy that errs: were that a forbid, the call would be allowed.
#[test]
fn a_policy_that_errs_denies() {
    let deeper = |mut ask: Ask| {
        ask.task.depth = 1;
        ask
    };
    assert_eq!(Ask::invoke().of(&policies(&[MAY, ERRS])).effect(), Effect::Allow);
    denied_by(&deeper(Ask::invoke()).of(&policies(&[MAY, ERRS])), "policy-error");
    denied_by(&deeper(Ask::invoke()).of(&policies(&[MAY, PII, ERRS])), "policy-error");
    denied_by(&deeper(Ask::approving(&["pii"])).of(&policies(&[MAY, PII, ERRS])), "policy-error");
    let permit = ERRS.replace("forbid", "permit");
    denied_by(&deeper(Ask::invoke()).of(&policies(&[MAY, permit.as_str()])), "policy-error");
}

#[test]
fn a_changed_tool_waits_for_a_person() {
    let changed = |names: &[&str]| Ask { changed: true, ..Ask::approving(names) };
    let Decision::Hold { by, needs } = changed(&[]).of(&policies(&[MAY])) else { panic!("it is not held") };
    assert_eq!(by.iter().map(|r| r.policy.as_str()).collect::<Vec<_>>(), ["tool-changed"]);
    assert_eq!(needs.elevations, ["tool-changed"]);
    assert_eq!(changed(&["tool-changed"]).of(&policies(&[MAY])).effect(), Effect::Allow);
    denied_by(&changed(&[]).of(&policies(&[])), "no-permit");
}

#[test]
fn restricted_data_does_not_leave() {
    let export = |sensitivity: Sensitivity, egress: bool| {
        let dataset = Resource { sensitivity, egress, ..resource("dataset:crm") };
        Ask::new(identity("agent/a", "export:dataset:*"), Action::Export, dataset).of(&policies(&[MAY]))
    };
    let decision = export(Sensitivity::Restricted, true);
    denied_by(&decision, "restricted-egress");
    let line = BASELINE.lines().position(|l| l.contains("@id(\"restricted-egress\")")).unwrap() + 1;
    assert_eq!(decision.reasons()[0].at, Some(format!("baseline.cedar:{line}")));
    assert_eq!(export(Sensitivity::Confidential, true).effect(), Effect::Allow);
    assert_eq!(export(Sensitivity::Restricted, false).effect(), Effect::Allow);
}

#[test]
fn no_policy_permits_what_the_task_does_not_grant() {
    let under = |scope: &str, change: &dyn Fn(&mut Ask)| {
        let mut ask = Ask::invoke();
        ask.task.scope = scope.parse().unwrap();
        change(&mut ask);
        ask.of(&policies(&[MAY]))
    };
    let as_is = |_: &mut Ask| {};
    assert_eq!(under("invoke:tool:mail/send", &as_is).effect(), Effect::Allow);
    for scope in ["", "invoke:tool:crm/*", "read:tool:*", "invoke:service:*", "invoke:tool:mail/send2"] {
        denied_by(&under(scope, &as_is), "task-scope");
    }
    let secret = |ask: &mut Ask| ask.resource.sensitivity = Sensitivity::Confidential;
    denied_by(&under("invoke:tool:*;sensitivity=internal", &secret), "task-scope");
    assert_eq!(under("invoke:tool:*;sensitivity=confidential", &secret).effect(), Effect::Allow);
}

#[test]
fn no_policy_permits_what_is_above_the_ceiling() {
    let mut ask = Ask::invoke();
    ask.identity.ceiling = "invoke:tool:crm/*".parse().unwrap();
    denied_by(&ask.of(&policies(&[MAY])), "ceiling");
}

#[test]
fn no_policy_permits_an_unclassified_tool() {
    let mut ask = Ask::invoke();
    ask.resource.risk = None;
    denied_by(&ask.of(&policies(&[MAY])), "unclassified");
}

#[test]
fn no_policy_permits_more_calls_than_the_budget() {
    let with = |calls_left| Ask { calls_left, ..Ask::invoke() }.of(&policies(&[MAY]));
    denied_by(&with(Some(0)), "budget");
    assert_eq!(with(Some(1)).effect(), Effect::Allow);
    assert_eq!(with(None).effect(), Effect::Allow);
}

#[test]
fn policies_see_who_acts_for_whom_and_through_whom() {
    let allowed = |when: &str| {
        let policy = format!(
            r#"@id("p") permit (principal, action == Marque::Action::"invoke", resource is Marque::Tool) when {{ {when} }};"#
        );
        Ask::invoke().of(&policies(&[policy.as_str()])).effect() == Effect::Allow
    };
    for fact in [
        r#"principal.name == "agent/a" && principal.kind == "agent""#,
        r#"principal == Marque::Identity::"agent/a""#,
        r#"principal has owner && principal.owner == Marque::Person::"owner@example.com""#,
        r#"context.task.principal == Marque::Person::"alice@example.com" && context.task.purpose == "test""#,
        r#"context.task.chain.contains(Marque::Identity::"agent/a") && context.task.depth == 0"#,
        r#"resource.name == "mail/send" && resource.sensitivity == 0 && resource.risk == 0 && !resource.egress"#,
        r#"!(resource has owner) && !resource.personal && !resource.changed && context.approved.isEmpty()"#,
    ] {
        assert!(allowed(fact), "{fact}");
    }
    assert!(!allowed(r#"context.task.chain.contains(Marque::Identity::"agent/b")"#));
}

/// Of two copies of one agent, the one that was started with another model is refused.
#[test]
fn policies_see_which_copy_acts_and_what_it_was_started_with() {
    let (good, bad) = ("ab".repeat(32), "cd".repeat(32));
    let refused = format!(
        r#"@id("model") @reason("this model is recalled") forbid (principal, action, resource) when {{ context.instance.artifacts.contains("{bad}") }};"#
    );
    let required = format!(
        r#"@id("model") forbid (principal, action, resource) unless {{ context.instance.artifacts.contains("{good}") }};"#
    );
    let decide = |selectors: &[&str], policy: &str| {
        let seen = selectors.iter().map(|s| s.parse().unwrap()).collect();
        Ask { seen, ..Ask::invoke() }.of(&policies(&[MAY, policy]))
    };
    let (with_good, with_bad) = (format!("launched:artifact_sha256:{good}"), format!("launched:artifact_sha256:{bad}"));
    assert_eq!(decide(&["unix:uid:1", &with_good], &refused).effect(), Effect::Allow);
    denied_by(&decide(&["unix:uid:1", &with_good, &with_bad], &refused), "model");
    assert_eq!(decide(&[&with_good], &required).effect(), Effect::Allow);
    // What was not measured is not there.
    denied_by(&decide(&["unix:uid:1"], &required), "model");
    denied_by(&decide(&[&format!("unix:sha256:{good}")], &required), "model");

    let host = r#"@id("unit") forbid (principal, action, resource) unless { context.instance.selectors.contains("systemd:unit:reports.service") };"#;
    assert_eq!(decide(&["systemd:unit:reports.service"], host).effect(), Effect::Allow);
    denied_by(&decide(&["systemd:unit:other.service"], host), "unit");
}
