//! Generated code: `cargo xtask gen`.

#[path = "envoy.service.secret.v3.rs"]
pub mod sds;
pub mod workload;
