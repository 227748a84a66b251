//! The door: every tool call of an agent passes here, is decided and recorded, and only then goes on.
//!
//! One request: `authn` finds the credential, `mcp` parses what is asked, the engine decides and records, `forward`
//! carries it out with the permit in hand and settles it. Original bytes are forwarded; the upstream's credential is
//! put in here, and whatever the agent sent as one is taken out.

mod authn;
mod contents;
mod forward;
mod json;
mod mcp;
mod reply;
mod serve;
mod upstream;

pub use authn::Peer;
pub use serve::Gateway;

/// Reads a request's body and headers as the gateway does and says which method it asks for; nothing for what is
/// refused. For fuzzing: what is taken here is what is decided on.
pub fn method_of(body: &[u8], headers: &http::HeaderMap) -> Option<String> {
    mcp::Parsed::read(body, headers).ok().map(|parsed| parsed.method)
}
