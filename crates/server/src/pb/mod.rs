//! Generated code: `cargo xtask gen`.

pub mod workload;
