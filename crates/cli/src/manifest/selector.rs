//! Selectors as manifests may say them: a slip is an error here, and not an identity that nobody ever is.

use std::str::FromStr;

use marque_core::ParseError;
use marque_core::attestation::Selector;

/// A selector that some process can have.
pub(super) struct Possible(pub(super) Selector);

impl FromStr for Possible {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let selector: Selector = text.parse()?;
        let expected = match text.split_once(':').and_then(|(attestor, rest)| Some((attestor, rest.split_once(':')?))) {
            Some((attestor, (key, value))) => fault(attestor, key, value),
            None => None,
        };
        match expected {
            Some(expected) => Err(ParseError::new(expected, text)),
            None => Ok(Self(selector)),
        }
    }
}

/// What a selector would have to be.
fn fault(attestor: &str, key: &str, value: &str) -> Option<&'static str> {
    let is_number = || value.parse::<u32>().is_ok_and(|number| number.to_string() == value);
    let is_digest = || value.len() == 64 && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match (attestor, key) {
        ("unix", "uid" | "gid" | "supplementary_gid") | ("launched", "launcher_uid") => {
            (!is_number()).then_some("a number as `unix:uid:1000`; names are `unix:user:…` and `unix:group:…`")
        }
        ("unix", "sha256") | ("launched", "argv_sha256" | "artifact_sha256") => {
            (!is_digest()).then_some("a SHA-256 of 64 lower-case hex digits")
        }
        ("unix", "path") => (!value.starts_with('/')).then_some("an absolute path as `unix:path:/usr/bin/agent`"),
        ("unix", "user" | "group" | "cgroup")
        | ("systemd", "unit" | "user_unit")
        | ("launched", "identity" | "task")
        | ("node", "name") => None,
        ("oidc" | "join_token" | "x509pop", _) => None,
        ("unix", _) => Some("a key of `unix`: uid, user, gid, group, supplementary_gid, path, sha256, cgroup"),
        ("launched", _) => Some("a key of `launched`: identity, task, launcher_uid, argv_sha256, artifact_sha256"),
        ("systemd" | "node", _) => Some("`systemd:unit:…`, `systemd:user_unit:…` or `node:name:…`"),
        _ => Some("an attestor: unix, systemd, launched, oidc, node, join_token, x509pop"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_an_error() {
        let digest = "0f".repeat(32);
        for good in [
            "unix:uid:1000",
            "unix:user:agent",
            "unix:path:/usr/bin/agent",
            &format!("unix:sha256:{digest}"),
            "systemd:unit:agent.service",
            "launched:identity:agent/a",
            &format!("launched:artifact_sha256:{digest}"),
            "oidc:claim_repository:acme/site",
            "oidc:claim:kubernetes.io.namespace:prod",
            "node:name:web",
        ] {
            assert!(good.parse::<Possible>().is_ok(), "{good}");
        }
        for bad in [
            "uid",
            "unix:exe:/usr/bin/agent",
            "unix:uid:agent",
            "unix:uid:007",
            "unix:path:agent",
            "unix:sha256:abc",
            &format!("unix:sha256:{}", digest.to_uppercase()),
            "launched:by:me",
            "unx:uid:1000",
        ] {
            assert!(bad.parse::<Possible>().is_err(), "{bad}");
        }
    }
}
