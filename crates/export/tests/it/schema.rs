//! The schema says exactly what events hold: what it allows occurs, and what occurs it allows.

use std::collections::BTreeSet;

use marque_core::resource::{Action, ResourceKind};
use marque_export::schema::event_schema;
use serde_json::{Value, json};

use crate::{entry_json, sample};

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::draft202012::meta::is_valid(&event_schema()));
}

#[test]
fn every_event_is_valid() {
    let schema = jsonschema::draft202012::new(&event_schema()).unwrap();
    for event in sample::events() {
        let value = entry_json(&event);
        let wrong: Vec<String> = schema.iter_errors(&value).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{value}: {wrong:?}");
    }
}

#[test]
fn the_schema_names_every_key_that_occurs_and_no_other() {
    let schema = event_schema();
    let mut allowed = BTreeSet::new();
    for kind in kinds(&schema) {
        let mut keys = BTreeSet::new();
        keys_of_schema(&schema, &schema["$defs"][&kind], "/what", &mut keys);
        allowed.extend(keys.into_iter().map(|key| format!("{kind} {key}")));
        let mut around = BTreeSet::new();
        keys_of_schema(&schema, &schema, "", &mut around);
        allowed.extend(around.into_iter().filter(|key| !key.starts_with("/what/")).map(|key| format!("{kind} {key}")));
    }
    let mut seen = BTreeSet::new();
    for event in sample::events() {
        let mut keys = BTreeSet::new();
        keys_of_value(&entry_json(&event), "", &mut keys);
        seen.extend(keys.into_iter().map(|key| format!("{} {key}", event.what.kind())));
    }
    let missing: Vec<_> = seen.difference(&allowed).collect();
    let extra: Vec<_> = allowed.difference(&seen).collect();
    assert!(missing.is_empty() && extra.is_empty(), "not in the schema: {missing:?}; in no event: {extra:?}");
}

/// Taking any one key away, adding one anywhere, and changing any value's type is noticed.
#[test]
fn what_is_not_an_event_is_refused() {
    let schema = jsonschema::draft202012::new(&event_schema()).unwrap();
    for event in sample::events() {
        let whole = entry_json(&event);
        for pointer in objects(&whole) {
            let mut more = whole.clone();
            more.pointer_mut(&pointer).unwrap()["surplus"] = json!(1);
            assert!(!schema.is_valid(&more), "{pointer} of {whole}");
        }
        for pointer in leaves(&whole) {
            let mut wrong = whole.clone();
            *wrong.pointer_mut(&pointer).unwrap() = json!({ "unheard": "of" });
            assert!(!schema.is_valid(&wrong), "{pointer} of {whole}");
        }
    }
    let mut event = entry_json(&sample::full("decided"));
    let observer = event.as_object_mut().unwrap().remove("obs").unwrap();
    assert!(!schema.is_valid(&event), "an event of this version has an observer");
    event["obs"] = observer;
    for key in ["record", "identity", "task", "principal", "effect", "policy", "request", "intent", "posture", "consent"] {
        let taken = event["what"].as_object_mut().unwrap().remove(key).unwrap();
        assert!(!schema.is_valid(&event), "{key}");
        event["what"][key] = taken;
    }
    assert!(schema.is_valid(&event));
    event["what"]["request"] = json!("sha256:ABC");
    assert!(!schema.is_valid(&event));
}

/// In the log a commitment stands where the content was.
#[test]
fn an_event_with_commitments_is_valid() {
    let schema = jsonschema::draft202012::new(&event_schema()).unwrap();
    let commitment = json!(format!("commit:{}", "ab".repeat(32)));
    let mut replaced = 0;
    for event in sample::events() {
        let mut value = entry_json(&event);
        for pointer in event.what.private_fields() {
            replaced += replace(&mut value["what"], &pointer.split('/').skip(1).collect::<Vec<_>>(), &commitment);
        }
        assert!(schema.is_valid(&value), "{value}");
        let read = marque_core::event::Event::from_bytes(value.to_string().as_bytes()).unwrap();
        assert_eq!(read.what.kind(), event.what.kind());
    }
    assert!(replaced > 20, "{replaced} values were replaced");
}

fn replace(value: &mut Value, steps: &[&str], with: &Value) -> usize {
    match (steps, value) {
        ([], Value::Null) => 0,
        ([], value) => {
            *value = with.clone();
            1
        }
        ([step, rest @ ..], Value::Array(list)) => {
            let begin = step.strip_suffix('*').unwrap();
            let named = list.iter_mut().filter(|value| begin.is_empty() || value.as_str().unwrap().starts_with(begin));
            named.map(|value| replace(value, rest, with)).sum()
        }
        ([step, rest @ ..], value) => value.get_mut(step).map_or(0, |value| replace(value, rest, with)),
    }
}

#[test]
fn every_object_is_closed() {
    fn closed(value: &Value) {
        if value.get("type") == Some(&json!("object")) {
            assert_eq!(value["additionalProperties"], json!(false), "{value}");
        }
        match value {
            Value::Object(map) => map.values().for_each(closed),
            Value::Array(list) => list.iter().for_each(closed),
            _ => {}
        }
    }
    closed(&event_schema());
}

#[test]
fn the_lists_of_words_are_whole() {
    let schema = event_schema();
    let words = |name: &str| -> BTreeSet<String> { serde_json::from_value(schema["$defs"][name]["enum"].clone()).unwrap() };
    assert_eq!(words("action"), Action::ALL.map(|a| a.to_string()).into());
    for kind in ResourceKind::ALL {
        let pattern = schema["$defs"]["resource_id"]["pattern"].as_str().unwrap();
        assert!(pattern.contains(kind.as_str()));
    }
    let all = |kinds: &[Value]| -> BTreeSet<String> { kinds.iter().map(|v| v.as_str().unwrap().to_owned()).collect() };
    use marque_core::{decision::Effect, identity, lease::CredentialClass as Class, record, resource};
    let json = |value: &dyn erased::Json| value.json();
    assert_eq!(words("effect"), all(&[json(&Effect::Allow), json(&Effect::Deny), json(&Effect::Hold)]));
    use record::{Consent, Ending};
    assert_eq!(
        words("consent"),
        all(&[json(&Consent::NotNeeded), json(&Consent::Pending), json(&Consent::Approved), json(&Consent::Refused)])
    );
    let endings = [Ending::Answered, Ending::Truncated, Ending::Cut, Ending::Failed, Ending::Abandoned];
    assert_eq!(words("ending"), all(&endings.map(|e| json(&e))));
    use identity::{Kind, Lifecycle};
    let kinds = [Kind::Agent, Kind::Model, Kind::PipelineStep, Kind::Service, Kind::Connector];
    assert_eq!(words("identity_kind"), all(&kinds.map(|k| json(&k))));
    let steps = [Lifecycle::Proposed, Lifecycle::Active, Lifecycle::Suspended, Lifecycle::Retired];
    assert_eq!(words("lifecycle"), all(&steps.map(|s| json(&s))));
    let classes = [Class::X509Svid, Class::JwtSvid, Class::WitSvid, Class::TaskToken, Class::GatewaySession];
    assert_eq!(words("credential_class"), all(&classes.map(|c| json(&c))));
    use marque_core::{event::AuthorityStep as Step, node::Admission};
    assert_eq!(words("admission"), all(&[Admission::JoinToken, Admission::X509Pop, Admission::Renewal].map(|a| json(&a))));
    let steps = [Step::Prepared, Step::Activated, Step::Tainted, Step::Revoked, Step::Forgotten];
    assert_eq!(words("authority_step"), all(&steps.map(|s| json(&s))));
    use resource::{Risk, Sensitivity};
    assert_eq!(words("risk"), all(&[Risk::Low, Risk::Medium, Risk::High].map(|r| json(&r))));
    let levels = [Sensitivity::Public, Sensitivity::Internal, Sensitivity::Confidential, Sensitivity::Restricted];
    assert_eq!(words("sensitivity"), all(&levels.map(|l| json(&l))));
}

mod erased {
    /// Whatever serde can write.
    pub trait Json {
        fn json(&self) -> serde_json::Value;
    }
    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}

fn kinds(schema: &Value) -> Vec<String> {
    let each = schema["$defs"]["what"]["oneOf"].as_array().unwrap();
    each.iter().map(|one| one["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}

fn keys_of_schema(root: &Value, schema: &Value, at: &str, keys: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        keys_of_schema(root, root.pointer(reference.trim_start_matches('#')).unwrap(), at, keys);
    }
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        keys_of_schema(root, one, at, keys);
    }
    if schema["items"].is_object() {
        keys_of_schema(root, &schema["items"], &format!("{at}/*"), keys);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        keys.insert(at.clone());
        keys_of_schema(root, property, &at, keys);
    }
}

fn keys_of_value(value: &Value, at: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let at = format!("{at}/{name}");
                keys.insert(at.clone());
                keys_of_value(value, &at, keys);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys_of_value(value, &format!("{at}/*"), keys)),
        _ => {}
    }
}

fn pointers(value: &Value, at: &str, found: &mut Vec<(String, bool)>) {
    match value {
        Value::Object(map) => {
            found.push((at.to_owned(), true));
            map.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), found));
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| pointers(value, &format!("{at}/{i}"), found)),
        _ => found.push((at.to_owned(), false)),
    }
}

fn objects(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    pointers(value, "", &mut found);
    found.into_iter().filter(|(_, object)| *object).map(|(at, _)| at).collect()
}

fn leaves(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    pointers(value, "", &mut found);
    found.into_iter().filter(|(_, object)| !*object).map(|(at, _)| at).collect()
}
