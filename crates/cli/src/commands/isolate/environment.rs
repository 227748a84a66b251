//! Which variables of the environment hold credentials, by their names.

use std::ffi::OsStr;

/// Whether a variable is kept from an isolated command. A name that is no text is.
pub(super) fn is_credential(name: &OsStr) -> bool {
    let Some(name) = name.to_str().map(str::to_ascii_uppercase) else { return true };
    let name = name.as_str();
    NAMES.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// What leads to an agent, a bus or an engine is one too: who reaches it acts with what it holds.
const NAMES: [&str; 13] = [
    "CONTAINER_HOST",
    "DATABASE_URL",
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GPG_AGENT_INFO",
    "KUBECONFIG",
    "NETRC",
    "REDIS_URL",
    "SPIFFE_ENDPOINT_SOCKET",
    "SSH_AGENT_PID",
    "SSH_AUTH_SOCK",
    "PGPASSFILE",
];

const BEGINNINGS: [&str; 5] = ["AWS_", "AZURE_", "ACTIONS_ID_TOKEN_", "DOCKER_AUTH", "GOOGLE_CREDENTIALS"];

const ENDINGS: [&str; 17] = [
    "ACCESS_KEY",
    "ACCESS_KEY_ID",
    "APIKEY",
    "API_KEY",
    "AUTH",
    "CONNECTION_STRING",
    "CREDENTIAL",
    "CREDENTIALS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PGPASS",
    "PRIVATE_KEY",
    "SECRET",
    "SECRET_KEY",
    "TOKEN",
    "_PAT",
];

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn credentials_are_known_by_their_names() {
        let dropped = [
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "GITHUB_TOKEN",
            "OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SSH_AUTH_SOCK",
            "DB_PASSWORD",
            "CLIENT_SECRET",
            "npm_token",
        ];
        for name in dropped {
            assert!(is_credential(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "LANG", "TOKENIZERS_PARALLELISM", "PYTHONPATH", "MARQUE_GATEWAY", "KEYBOARD", "AUTHOR"] {
            assert!(!is_credential(OsStr::new(name)), "{name}");
        }
        assert!(is_credential(OsStr::from_bytes(b"\xff")));
    }
}
