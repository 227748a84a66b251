//! SPIFFE bundle documents as others publish them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use marque_core::spiffe::TrustDomain;
use serde_json::{Map, Value};

use super::{Bundle, JWT_SVID, WIT_SVID, X509_SVID};
use crate::error::{Result, SvidError};
use crate::jwk::{Jwk, JwtKey};
use crate::{json, x509};

/// Reads the bundle of `trust_domain` (SPIFFE Trust Domain and Bundle §4).
pub(super) fn read(trust_domain: TrustDomain, document: &[u8]) -> Result<Bundle> {
    read_object(trust_domain, &json::object(document, MAX_DOCUMENT_BYTES)?)
}

/// As [`read`], of an object that stands in another document.
pub(super) fn read_object(trust_domain: TrustDomain, document: &Map<String, Value>) -> Result<Bundle> {
    let mut bundle = Bundle::empty(trust_domain, number(document, "spiffe_sequence")?.unwrap_or(0));
    if let Some(hint) = number(document, "spiffe_refresh_hint")? {
        bundle.refresh_hint_seconds = hint;
    }
    let Some(Value::Array(keys)) = document.get("keys") else {
        return Err(SvidError::Document("it has no list of keys"));
    };
    for key in keys {
        // §4.1.3: what is not understood does not count; the rest does.
        let Some(key) = key.as_object() else { continue };
        match key.get("use").and_then(Value::as_str) {
            Some(X509_SVID) => add_unlike(&mut bundle.x509_authorities, x509_authority(key)),
            Some(JWT_SVID) => add_unlike(&mut bundle.jwt_keys, token_key(key)),
            Some(WIT_SVID) => add_unlike(&mut bundle.wit_keys, token_key(key)),
            _ => {}
        }
    }
    check_names(&bundle)?;
    Ok(bundle)
}

/// X509-SVID §6.2: the first value of `x5c` and no other. Its own key must be one that can be written too, whatever the entry
/// says beside it: else the bundle could be read and never handed on.
fn x509_authority(key: &Map<String, Value>) -> Option<Vec<u8>> {
    Jwk::read(key)?;
    let der = STANDARD.decode(key.get("x5c")?.as_array()?.first()?.as_str()?).ok()?;
    x509::public_jwk(&der).is_ok_and(|key| key.is_whole()).then_some(der)
}

/// JWT-SVID §6.1, WIT-SVID §6.1: a key with a name.
fn token_key(key: &Map<String, Value>) -> Option<JwtKey> {
    let kid = key.get("kid")?.as_str().filter(|kid| !kid.is_empty())?;
    Some(JwtKey { kid: kid.to_owned(), jwk: Jwk::read(key)? })
}

fn add_unlike<T: PartialEq>(found: &mut Vec<T>, new: Option<T>) {
    if let Some(new) = new.filter(|new| !found.contains(new)) {
        found.push(new);
    }
}

/// WIT-SVID §6.1: a name stands for one key, whichever tokens it signs.
fn check_names(bundle: &Bundle) -> Result<()> {
    let mut names: Vec<&str> = bundle.jwt_keys.iter().chain(&bundle.wit_keys).map(|key| key.kid.as_str()).collect();
    names.sort_unstable();
    if names.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    Err(SvidError::Document("two of its keys have one name"))
}

/// §4.1.1 and §4.1.2: an integer of at most 64 bits.
fn number(document: &Map<String, Value>, name: &str) -> Result<Option<u64>> {
    match document.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(SvidError::Document("its sequence or refresh hint is not an integer")),
    }
}

/// Room for a thousand certificates.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use marque_core::time::{Timestamp, Ttl};
    use serde_json::json;

    use super::*;
    use crate::authority::Authority;

    fn authority() -> Authority {
        let now = Timestamp::from_seconds(1_800_000_000);
        Authority::generate(&"example.org".parse().unwrap(), now, Ttl::from_seconds(3600)).unwrap()
    }

    fn parse(document: &Value) -> Result<Bundle> {
        read("example.org".parse().unwrap(), document.to_string().as_bytes())
    }

    /// A document of our own with its first two entries: an X.509 and a JWT key.
    fn sample() -> (Bundle, Value) {
        let bundle = Bundle::of(&[&authority()], 7).unwrap();
        let document = serde_json::from_str(&bundle.to_spiffe_json().unwrap()).unwrap();
        (bundle, document)
    }

    #[test]
    fn what_we_write_we_read() {
        let (mut bundle, _) = sample();
        bundle.wit_keys.push(authority().jwt_key());
        bundle.refresh_hint_seconds = 60;
        let json = bundle.to_spiffe_json().unwrap();
        assert_eq!(Bundle::from_spiffe_json(bundle.trust_domain.clone(), json.as_bytes()).unwrap(), bundle);
    }

    /// X509-SVID §6.2, SPIFFE Trust Domain and Bundle §4.1.3, §4.2.
    #[test]
    fn entries_that_are_not_understood_do_not_count() {
        let (bundle, document) = sample();
        let ignored: [fn(&mut Value); 11] = [
            |key| key["kty"] = json!("OKP"),
            |key| key["kty"] = Value::Null,
            |key| key["use"] = json!("sig"),
            |key| key["use"] = json!("X509-SVID"),
            |key| key["use"] = Value::Null,
            |key| *key = json!("key"),
            |key| key["x5c"] = json!([]),
            |key| key["x5c"] = json!("MIIB"),
            |key| key["x5c"][0] = json!("AAAA"),
            |key| key["x5c"][0] = json!("?"),
            |key| key["x"] = json!("AA"),
        ];
        for change in ignored {
            let mut changed = document.clone();
            change(&mut changed["keys"][0]);
            let read = parse(&changed).unwrap();
            assert!(read.x509_authorities.is_empty(), "{}", changed["keys"][0]);
            assert_eq!(read.jwt_keys, bundle.jwt_keys);
        }
        let mut more = document.clone();
        more["keys"][0]["x5c"].as_array_mut().unwrap().push(json!("what stands behind"));
        more["keys"][0]["kid"] = json!("no reason to refuse it");
        assert_eq!(parse(&more).unwrap(), bundle);
        let mut nameless = document;
        nameless["keys"][1].as_object_mut().unwrap().remove("kid");
        assert!(parse(&nameless).unwrap().jwt_keys.is_empty());
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let key = json!({ "use": "jwt-svid", "kid": "a", "kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43) });
        let mut other = key.clone();
        other["y"] = json!("B".repeat(42) + "A");
        let mut wit = key.clone();
        wit["use"] = json!("wit-svid");
        for bad in [
            json!({}),
            json!([]),
            json!({ "keys": {} }),
            json!({ "keys": [], "spiffe_sequence": -1 }),
            json!({ "keys": [], "spiffe_sequence": "1" }),
            json!({ "keys": [], "spiffe_refresh_hint": 1.5 }),
            json!({ "keys": [key, other] }),
            json!({ "keys": [key, wit] }),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
        assert_eq!(parse(&json!({ "keys": [key, key] })).unwrap().jwt_keys.len(), 1);
        let td: TrustDomain = "example.org".parse().unwrap();
        assert!(read(td.clone(), br#"{"keys":[],"keys":[]}"#).is_err());
        assert!(read(td.clone(), br#"{"keys":[{"use":"jwt-svid","use":"x509-svid"}]}"#).is_err());
        assert!(read(td, br#"{"keys":[],"spiffe_sequence":18446744073709551616}"#).is_err());
    }
}
