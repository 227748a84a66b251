//! Configuration of nodes: other hosts on which the Workload API is served.

use std::path::PathBuf;
use std::sync::Arc;

use marque_core::time::Ttl;
use marque_engine::{Options, PopVerifier};
use serde::Deserialize;

use crate::failure::{Failure, Result};
use crate::files::text;

/// `[node]`: what holds for every node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// How long a node may show what it has without hearing from this server, as `60s`. Default: 60 seconds.
    #[serde(deserialize_with = "crate::trust::ttl")]
    pub max_staleness: Option<Ttl>,
    /// Nodes that join by a certificate of their own.
    pub x509pop: Option<PopConfig>,
}

/// `[node.x509pop]`: the CAs whose certificates admit nodes. A certificate's common name is the node's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopConfig {
    /// A file with their certificates, PEM.
    pub roots: PathBuf,
}

impl NodeConfig {
    /// Puts it into the engine's options.
    pub fn set(&self, options: &mut Options) -> Result<()> {
        if let Some(ttl) = self.max_staleness {
            if ttl.seconds() == 0 {
                return Err(Failure::input("[node] max_staleness: at least `1s`"));
            }
            options.max_staleness = ttl;
        }
        if let Some(PopConfig { roots }) = &self.x509pop {
            let setting = "[node.x509pop] roots";
            let text = text(roots).map_err(|e| e.of(setting))?;
            let refused = |e| Failure::input(format!("`{}`: {e}", roots.display())).of(setting);
            let verifier = PopVerifier::from_pem(&text).map_err(refused)?;
            options.node_roots = Some(Arc::new(verifier));
        }
        Ok(())
    }
}
