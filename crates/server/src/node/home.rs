//! What a node keeps between two starts: who it is, its SVID with its key, and the bundle by which it knows the server.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use marque_core::node::NodeName;
use marque_core::spiffe::TrustDomain;
use marque_core::time::Timestamp;
use marque_engine::{Bundle, BundleSet, EngineError, SecretText};
use serde::{Deserialize, Serialize};

/// A node's directory. Only its owner reads it.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// Why a node's directory is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It cannot be read or written.
    #[error("cannot use `{path}`")]
    Io {
        /// Which file or directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it holds is not what a node left there.
    #[error("`{0}` is not what a node left there: remove it and join again")]
    Damaged(String),
}

/// A node that has joined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// The server, as `https://host:port`.
    pub server: String,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// The node's name there.
    pub name: NodeName,
    /// The node's X.509-SVID: base64 of DER, leaf first.
    pub(super) chain: Vec<String>,
    /// Its key: base64 of PKCS#8.
    pub(super) key: SecretText,
    /// When the next one is due, and when this one ends.
    pub(super) due: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
    /// The trust domain's bundle as it was last seen (SPIFFE Trust Domain and Bundle §4).
    pub(super) bundle: String,
}

impl Joined {
    /// The bundle by which it knows the server.
    pub(super) fn bundles(&self) -> Result<BundleSet, EngineError> {
        let bundle = Bundle::from_spiffe_json(self.trust_domain.clone(), self.bundle.as_bytes())?;
        Ok([bundle].into_iter().collect())
    }
}

impl Home {
    /// The directory, made where it is not there.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        let failed = |source| HomeError::Io { path: dir.display().to_string(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        Ok(Self(dir.to_owned()))
    }

    /// What was left by the last start, if there was one.
    pub fn load(&self) -> Result<Option<Joined>, HomeError> {
        let path = self.0.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let joined = serde_json::from_slice(&bytes);
                joined.map(Some).map_err(|_| HomeError::Damaged(path.display().to_string()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HomeError::Io { path: path.display().to_string(), source }),
        }
    }

    /// Leaves it for the next start, whole or not at all.
    pub fn save(&self, joined: &Joined) -> Result<(), HomeError> {
        let path = self.0.join(FILE);
        let failed = |source| HomeError::Io { path: path.display().to_string(), source };
        let text = zeroize::Zeroizing::new(serde_json::to_vec(joined).map_err(|e| failed(e.into()))?);
        let fresh = self.0.join(format!("{FILE}.new"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&fresh, &path).map_err(failed)
    }
}

const FILE: &str = "node.json";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_a_node_leaves_is_private_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("node")).unwrap();
        assert!(home.load().unwrap().is_none());
        let joined = Joined {
            server: "https://a:1".into(),
            trust_domain: "example.org".parse().unwrap(),
            name: "web-1".parse().unwrap(),
            chain: vec!["AA==".into()],
            key: SecretText::new("AQ==".into()),
            due: Timestamp::from_seconds(1),
            ends: Timestamp::from_seconds(2),
            bundle: r#"{"keys":[]}"#.into(),
        };
        home.save(&joined).unwrap();
        home.save(&joined).unwrap();
        let back = home.load().unwrap().unwrap();
        assert_eq!((&back.name, &back.key, back.ends), (&joined.name, &joined.key, joined.ends));
        let file = dir.path().join("node").join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "{").unwrap();
        assert!(matches!(home.load(), Err(HomeError::Damaged(_))));
    }
}
