//! JSON objects that grow.

use serde_json::Value;

/// Adds to a JSON object.
pub(crate) trait Put {
    /// Sets a key; what is not an object stays as it is.
    fn put(&mut self, key: &str, value: Value);
}

impl Put for Value {
    fn put(&mut self, key: &str, value: Value) {
        if let Self::Object(map) = self {
            map.insert(key.to_owned(), value);
        }
    }
}
