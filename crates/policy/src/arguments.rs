//! A call's arguments as the tags of one Cedar entity: any JSON, flattened to text, within bounds.

use cedar_policy::RestrictedExpression;
use serde_json::Value;

/// The most values that a call's arguments may have.
pub const MAX_ARGUMENTS: usize = 256;

/// The deepest nesting of a call's arguments.
pub const MAX_DEPTH: usize = 32;

/// The tags for `arguments`, or what is wrong with them.
pub(crate) fn tags(arguments: &Value) -> Result<Vec<(String, RestrictedExpression)>, &'static str> {
    let mut out = Vec::new();
    flatten(arguments, String::new(), 0, &mut out)?;
    Ok(out)
}

fn flatten(value: &Value, key: String, depth: usize, out: &mut Vec<(String, RestrictedExpression)>) -> Result<(), &'static str> {
    if depth > MAX_DEPTH {
        return Err("the arguments are nested too deeply");
    }
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    let text = match value {
        Value::Object(map) => return map.iter().try_for_each(|(name, v)| flatten(v, below(name), depth + 1, out)),
        Value::Array(list) => {
            return list.iter().enumerate().try_for_each(|(n, v)| flatten(v, below(&n.to_string()), depth + 1, out));
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if out.len() >= MAX_ARGUMENTS {
        return Err("there are too many arguments");
    }
    // Two ways to write one name, as {"a.b": 1, "a": {"b": 2}}, would let a policy see the wrong one.
    if out.iter().any(|(k, _)| *k == key) {
        return Err("two arguments flatten to one name");
    }
    out.push((key, RestrictedExpression::new_string(text)));
    Ok(())
}
