//! The JSON Schema of a manifest file, for editors: completion and errors while typing.
//!
//! It is derived from the shapes in [`super::file`], so that it names what is read and nothing else. What one file alone
//! cannot show (duplicates, undeclared datasets) only [`super::read()`] finds.

use schemars::generate::SchemaSettings;

use super::file::RawFile;

/// The JSON Schema (2020-12) of one manifest file.
pub fn json_schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawFile>().to_value()
}

/// An identity's name.
pub(super) const NAME: &str = r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$";

/// A node.
pub(super) const NODE: &str = r"^[a-z0-9][a-z0-9.-]{0,62}$";

/// A person.
pub(super) const PERSON: &str = r"^(user:)?[A-Za-z0-9@_+-][A-Za-z0-9@._+-]*$";

/// A selector.
pub(super) const SELECTOR: &str = r"^[a-z0-9_-]+:[a-z0-9_-]+:.+$";

/// A grant: actions, resources and a bound.
pub(super) const GRANT: &str = concat!(
    r"^(read|write|export|invoke|infer|retrain|publish|delegate|issue)",
    r"(,(read|write|export|invoke|infer|retrain|publish|delegate|issue))*",
    r":(dataset|tool|model|service|output|identity|credential)",
    r":(\*|[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*(/\*)?)",
    r"(;sensitivity=(public|internal|confidential|restricted))?$",
);

/// A resource that a manifest declares: a tool's name begins with its service.
pub(super) const RESOURCE: &str = concat!(
    r"^((dataset|model|service|output|credential):[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*",
    r"|tool:[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+)$",
);

/// A dataset.
pub(super) const DATASET: &str = r"^dataset:[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$";

/// The name of a stored secret.
pub(super) const SECRET: &str = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$";

/// The name of an environment variable.
pub(super) const VARIABLE: &str = r"^[A-Za-z_][A-Za-z0-9_]*$";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::manifest::example::EXAMPLE;

    /// The names that `pick` finds in an object, over all objects within `value`.
    fn names(value: &Value, pick: &dyn Fn(&serde_json::Map<String, Value>) -> Vec<String>) -> BTreeSet<String> {
        match value {
            Value::Object(map) => pick(map).into_iter().chain(map.values().flat_map(|v| names(v, pick))).collect(),
            Value::Array(list) => list.iter().flat_map(|v| names(v, pick)).collect(),
            _ => BTreeSet::new(),
        }
    }

    fn properties(schema: &Value) -> BTreeSet<String> {
        names(schema, &|map| {
            map.get("properties").and_then(Value::as_object).map(|p| p.keys().cloned().collect()).unwrap_or_default()
        })
    }

    #[test]
    fn every_field_of_the_example_is_in_the_schema() {
        let known = properties(&json_schema());
        for (name, text) in EXAMPLE.iter().filter(|(name, _)| name.ends_with(".yaml")) {
            let value: Value = serde_saphyr::from_str(text).unwrap();
            let used = names(&value, &|map| map.keys().cloned().collect());
            assert!(used.len() > 5, "{name}");
            assert_eq!(used.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
        }
    }

    #[test]
    fn it_is_closed_and_says_what_is_required() {
        let schema = json_schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["title"], "Marque manifest");
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema.get("required").is_none(), "both lists are optional");
        let shapes = schema["$defs"].as_object().unwrap();
        assert!(shapes.values().all(|shape| shape["additionalProperties"] == false), "{schema:#}");
        assert_eq!(shapes["Identity"]["required"], serde_json::json!(["name", "kind", "owner", "purpose"]));
        assert_eq!(shapes["Resource"]["required"], serde_json::json!(["id"]));
        assert_eq!(shapes["Identity"]["properties"]["ceiling"]["items"]["pattern"], GRANT);
        assert_eq!(shapes["Identity"]["properties"]["kind"]["enum"][2], "pipeline-step");
        let states = serde_json::json!(["proposed", "active", "suspended", "retired", null]);
        assert_eq!(shapes["Identity"]["properties"]["state"]["enum"], states);
    }
}
