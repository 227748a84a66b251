//! The surfaces: thin. Parse, one engine call, render.
//!
//! [`workload`] is the SPIFFE Workload API on a Unix socket, `oauth` the token endpoint and the public keys on TLS,
//! [`broker`] the SPIFFE Broker API on mutual TLS, [`api`] the administration API on a Unix socket, [`launch`] the sockets of one
//! `marque run`, [`node`] both ends of the API by which the Workload API is served on other hosts.

pub mod agent;
pub mod api;
mod authority;
pub mod broker;
mod ci;
pub mod federation;
pub mod fetch;
pub mod launch;
pub mod ledger;
pub mod node;
mod oauth;
pub mod pb;
mod pem;
mod reflection;
pub mod sds;
mod serve;
pub mod sinks;
pub mod source;
pub mod tls;
mod tls_client;
pub mod updates;
pub mod web;
pub mod witness;
pub mod witnessing;
pub mod workload;

pub use authority::AnyAuthority;
pub use oauth::{TokenError, exchange_of, router as oauth_router};
pub use pem::pem;
pub use serve::{Peer, bind_unix, http, peer_of, tcp_connections, unix_connections};
