//! A call's arguments as policies see them.

use marque_core::decision::{Decision, Effect};
use marque_policy::{MAX_ARGUMENTS, MAX_DEPTH};
use serde_json::{Map, Value, json};

use crate::world::{Ask, MAY, policies};

/// Decides under a permit that holds only for arguments that fit.
fn when(condition: &str, arguments: Value) -> Effect {
    let policy = format!(r#"@id("p") permit (principal, action == Marque::Action::"invoke", resource) when {{ {condition} }};"#);
    Ask::with(arguments).of(&policies(&[policy.as_str()])).effect()
}

/// Denied although everything is permitted, in words that hold `says`.
#[track_caller]
fn refused(arguments: Value, says: &str) {
    let decision = Ask::with(arguments).of(&policies(&[MAY]));
    let Decision::Deny { by } = decision else { panic!("{decision:?}") };
    assert_eq!(by.len(), 1);
    assert_eq!(by[0].policy, "request");
    assert!(by[0].text.contains(says), "{by:?}");
}

fn accepted(arguments: Value) -> bool {
    Ask::with(arguments).of(&policies(&[MAY])).effect() == Effect::Allow
}

#[test]
fn nested_arguments_are_flat_tags() {
    let inside = r#"context.call.hasTag("to.0.address") && context.call.getTag("to.0.address") like "*@example.com""#;
    assert_eq!(when(inside, json!({ "to": [{ "address": "bob@example.com" }] })), Effect::Allow);
    assert_eq!(when(inside, json!({ "to": [{ "address": "bob@example.com.evil" }] })), Effect::Deny);
    assert_eq!(when(inside, json!({ "to": { "0": { "address": "bob@example.com" } } })), Effect::Allow);
    for without in
        [json!({ "to": [] }), json!({}), json!(null), json!({ "address": "bob@example.com" }), json!("bob@example.com")]
    {
        assert_eq!(when(inside, without), Effect::Deny);
    }
}

#[test]
fn every_value_is_text() {
    let arguments = json!({ "n": 7, "f": 1.5, "yes": true, "none": null, "text": "7" });
    for (name, text) in [("n", "7"), ("f", "1.5"), ("yes", "true"), ("none", "null"), ("text", "7")] {
        let condition = format!(r#"context.call.hasTag("{name}") && context.call.getTag("{name}") == "{text}""#);
        assert_eq!(when(&condition, arguments.clone()), Effect::Allow, "{name}");
    }
}

#[test]
fn a_forbid_sees_one_of_many_arguments() {
    let forbid = r#"@id("no") @reason("no") forbid (principal, action == Marque::Action::"invoke", resource) when { context.call.hasTag("q") && context.call.getTag("q") like "*DROP*" };"#;
    let ask = |q: &str| Ask::with(json!({ "a": 1, "q": q, "z": [1, 2, 3] })).of(&policies(&[MAY, forbid])).effect();
    assert_eq!(ask("select 1"), Effect::Allow);
    assert_eq!(ask("DROP table"), Effect::Deny);
}

#[test]
fn too_many_arguments_are_refused() {
    let many = |n: usize| (0..n).map(|i| (format!("a{i}"), json!(i))).collect::<Map<String, Value>>();
    assert!(accepted(Value::Object(many(MAX_ARGUMENTS))));
    refused(Value::Object(many(MAX_ARGUMENTS + 1)), "too many");
    assert!(accepted(json!({ "list": vec![0; MAX_ARGUMENTS] })));
    refused(json!({ "list": vec![0; MAX_ARGUMENTS + 1] }), "too many");
}

#[test]
fn arguments_nested_too_deeply_are_refused() {
    let nested = |depth: usize| (0..depth).fold(json!("x"), |inner, _| json!({ "a": inner }));
    let listed = |depth: usize| (0..depth).fold(json!("x"), |inner, _| json!([inner]));
    assert!(accepted(nested(MAX_DEPTH)));
    assert!(accepted(listed(MAX_DEPTH)));
    refused(nested(MAX_DEPTH + 1), "nested too deeply");
    refused(listed(MAX_DEPTH + 1), "nested too deeply");
}

/// Two ways to write one name would let a policy see the wrong one.
#[test]
fn two_arguments_of_one_name_are_refused() {
    refused(json!({ "a.b": "1", "a": { "b": "2" } }), "one name");
    refused(json!({ "a.0": "1", "a": ["2"] }), "one name");
    refused(json!({ "": { "a": "1" }, "a": "2" }), "one name");
}
