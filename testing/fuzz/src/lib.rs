//! Fuzz targets: every parser of bytes that come from outside, and of files that are not to be believed unseen, as a plain
//! function that panics when a property breaks.
//!
//! A target never panics on any input, and what it takes, it prints and reads back the same. `marque-fuzz TARGET` looks
//! for an input that breaks one; the files under `corpus/` replay as ordinary tests.

mod asked;
mod authority;
mod batch;
mod documents;
mod found;
mod gateway;
mod host;
mod index;
mod ledger;
mod manifest;
mod model;
mod mutate;
mod nodes;
mod policy;
mod query;
mod sds;
mod sealed;
mod svid;
mod vault;
mod witness;

use std::io;
use std::path::{Path, PathBuf};

pub use asked::{server_exchange, server_reference};
pub use authority::{svid_authorities, svid_upstream};
pub use batch::store_batch;
pub use documents::{
    svid_bundle, svid_bundle_map, svid_discovery, svid_oidc, svid_pop, svid_relationship, svid_selectors, svid_url,
};
pub use found::{requests, store_record, trace_receipts, trace_variants, when};
pub use gateway::gateway_message;
pub use host::{host_cgroup, host_names, host_stat, host_status, host_tcp};
pub use index::{index_block, index_manifest, index_run};
pub use ledger::{
    ledger_bundle, ledger_checkpoint, ledger_note, ledger_path, ledger_proof, ledger_tile, ledger_verifier, ledger_verify_log,
};
pub use manifest::{configuration, manifest};
pub use model::{digest, event, grant, id, person_id, resource_id, scope, selector, spiffe_id, target, trust_domain, ttl};
pub use mutate::{Mutator, Random};
pub use nodes::{CHALLENGE, NODE_ROOT, node_joined, node_received, svid_node};
pub use policy::policy_load;
pub use query::server_query;
pub use sds::server_sds;
pub use sealed::{store_seal, store_sealed};
pub use svid::{KEY, NOW, OIDC_KEY, WIT_KEY, svid_jwt, svid_typed, svid_wit, svid_x509};
pub use vault::{store_entry, store_parts, store_subject, store_veil};
pub use witness::{ledger_add_checkpoint, ledger_cose, ledger_cosignatures, ledger_policy};

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, on the command line and under `corpus/`.
    pub name: &'static str,
    /// What takes the bytes.
    pub run: fn(&[u8]),
    /// How many mutated inputs the ordinary tests try: fewer where one takes long.
    pub tries: u32,
}

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().find(|target| target.name == name).copied()
    }

    /// Where its inputs are kept.
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// Its kept inputs with their files, sorted by name.
    ///
    /// # Errors
    ///
    /// When the folder or a file in it cannot be read.
    pub fn corpus(&self) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let entries = std::fs::read_dir(self.folder())?.collect::<io::Result<Vec<_>>>()?;
        let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        files.sort();
        files.into_iter().map(|file| std::fs::read(&file).map(|bytes| (file, bytes))).collect()
    }
}

const fn named(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, tries: 2_000 }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    named("spiffe_id", spiffe_id),
    named("trust_domain", trust_domain),
    named("selector", selector),
    named("grant", grant),
    named("scope", scope),
    named("resource_id", resource_id),
    named("id", id),
    named("target", target),
    named("person_id", person_id),
    named("digest", digest),
    named("ttl", ttl),
    named("event", event),
    named("ledger_note", ledger_note),
    named("ledger_verifier", ledger_verifier),
    named("ledger_checkpoint", ledger_checkpoint),
    named("ledger_proof", ledger_proof),
    named("ledger_bundle", ledger_bundle),
    named("ledger_tile", ledger_tile),
    named("ledger_path", ledger_path),
    named("ledger_verify_log", ledger_verify_log),
    named("ledger_policy", ledger_policy),
    named("ledger_cosignatures", ledger_cosignatures),
    named("ledger_add_checkpoint", ledger_add_checkpoint),
    named("ledger_cose", ledger_cose),
    named("gateway_message", gateway_message),
    named("svid_jwt", svid_jwt),
    named("svid_wit", svid_wit),
    named("svid_typed", svid_typed),
    named("svid_x509", svid_x509),
    named("svid_bundle", svid_bundle),
    named("svid_bundle_map", svid_bundle_map),
    named("svid_url", svid_url),
    named("svid_discovery", svid_discovery),
    named("svid_oidc", svid_oidc),
    named("svid_selectors", svid_selectors),
    named("svid_relationship", svid_relationship),
    named("svid_pop", svid_pop),
    named("svid_node", svid_node),
    Target { name: "svid_authorities", run: svid_authorities, tries: 500 },
    Target { name: "svid_upstream", run: svid_upstream, tries: 500 },
    named("node_received", node_received),
    named("host_stat", host_stat),
    named("host_status", host_status),
    named("host_cgroup", host_cgroup),
    named("host_names", host_names),
    named("host_tcp", host_tcp),
    named("trace_receipts", trace_receipts),
    Target { name: "trace_variants", run: trace_variants, tries: 500 },
    named("when", when),
    named("requests", requests),
    named("server_sds", server_sds),
    named("server_query", server_query),
    named("server_exchange", server_exchange),
    named("server_reference", server_reference),
    named("store_record", store_record),
    named("store_entry", store_entry),
    named("store_parts", store_parts),
    named("store_batch", store_batch),
    // What is in files takes files.
    Target { name: "store_subject", run: store_subject, tries: 500 },
    Target { name: "store_veil", run: store_veil, tries: 200 },
    Target { name: "store_seal", run: store_seal, tries: 200 },
    Target { name: "store_sealed", run: store_sealed, tries: 200 },
    Target { name: "node_joined", run: node_joined, tries: 200 },
    Target { name: "configuration", run: configuration, tries: 300 },
    Target { name: "index_manifest", run: index_manifest, tries: 300 },
    Target { name: "index_run", run: index_run, tries: 300 },
    Target { name: "index_block", run: index_block, tries: 300 },
    Target { name: "manifest", run: manifest, tries: 300 },
    // Cedar reads its schema anew each time, which takes a good part of a second without optimisation.
    Target { name: "policy_load", run: policy_load, tries: 25 },
];
