//! The closed schema of the log's entries as JSON Schema 2020-12.
//!
//! It is generated from tables (`types`, `texts`, `bodies`) that stand beside the types of `marque-core`; tests hold every key
//! of every kind of event against it, in both directions.

mod bodies;
mod texts;
mod types;

use marque_core::event::SCHEMA;
use serde_json::{Map, Value, json};

use types::{Field, Object, Type};

/// The JSON Schema (draft 2020-12) of an entry: an event of the version that is written now ([`SCHEMA`]).
///
/// Nothing is allowed that is not named: `additionalProperties` is false in every object.
pub fn event_schema() -> Value {
    let mut defs: Map<String, Value> = texts::TEXTS.iter().map(|text| (text.name.to_owned(), text.schema())).collect();
    defs.extend(texts::WORDS.iter().map(|(name, says, words)| {
        let schema = json!({ "description": says, "enum": words });
        ((*name).to_owned(), schema)
    }));
    defs.extend(types::OBJECTS.iter().map(|object| (object.name.to_owned(), object.schema(None))));
    defs.extend(types::CHOICES.iter().map(|(name, says, objects)| {
        let each: Vec<Value> = objects.iter().map(|object| object.schema(None)).collect();
        ((*name).to_owned(), json!({ "description": says, "oneOf": each }))
    }));
    let mut kinds = Vec::new();
    for body in bodies::BODIES {
        kinds.push(json!({ "$ref": reference(body.name) }));
        defs.insert(body.name.to_owned(), body.schema(Some(("kind", body.name))));
    }
    let mut schema = types::EVENT.schema(None);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("$id".to_owned(), json!(format!("https://marque.dev/schema/event/v{SCHEMA}")));
        root.insert("title".to_owned(), json!("An entry of a Marque ledger"));
        defs.insert("what".to_owned(), json!({ "description": "What happened.", "oneOf": kinds }));
        root.insert("$defs".to_owned(), Value::Object(defs));
    }
    schema
}

impl Object {
    fn schema(&self, tag: Option<(&str, &str)>) -> Value {
        let tag = tag.map(|(key, word)| (key.to_owned(), json!({ "const": word })));
        let properties: Map<String, Value> =
            tag.iter().cloned().chain(self.fields.iter().map(|f| (f.name.to_owned(), f.schema()))).collect();
        let tag = tag.iter().map(|(key, _)| key.as_str());
        let required: Vec<&str> = tag.chain(self.fields.iter().filter(|f| f.required).map(|f| f.name)).collect();
        json!({
            "description": self.says,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

impl Field {
    fn schema(&self) -> Value {
        let mut schema = self.holds.schema();
        if let Some(schema) = schema.as_object_mut().filter(|_| !self.says.is_empty()) {
            schema.insert("description".to_owned(), json!(self.says));
        }
        schema
    }
}

impl Type {
    fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Bool => json!({ "type": "boolean" }),
            Self::Unsigned(bits) => json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX >> (64 - bits) }),
            Self::Moment => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
            Self::Version => json!({ "const": SCHEMA }),
            Self::Word(word) => json!({ "const": word }),
            Self::Is(name) => json!({ "$ref": reference(name) }),
            Self::Many(item) => json!({ "type": "array", "items": item.schema() }),
            Self::Set(item) => json!({ "type": "array", "items": item.schema(), "uniqueItems": true }),
            Self::OrNull(item) => json!({ "oneOf": [item.schema(), { "type": "null" }] }),
        }
    }
}

impl texts::Text {
    fn schema(&self) -> Value {
        json!({ "description": self.says, "type": "string", "pattern": self.pattern, "maxLength": self.longest })
    }
}

fn reference(name: &str) -> String {
    format!("#/$defs/{name}")
}
