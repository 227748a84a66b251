//! Generated code: `cargo xtask gen`.

#[path = "spiffe.broker.rs"]
pub mod broker;
#[path = "envoy.service.secret.v3.rs"]
pub mod sds;
pub mod workload;
