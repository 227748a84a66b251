//! Generated code: `cargo xtask gen`.

#[path = "spiffe.broker.rs"]
pub mod broker;
#[path = "envoy.service.secret.v3.rs"]
pub mod sds;
pub mod workload;

/// The protocol files of the Workload API's socket and all that they import, as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");
