//! The gateway in process: a real engine behind it, an MCP server of the test behind that, and agents before it.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod client;
#[cfg(test)]
mod elevations;
#[cfg(test)]
mod list;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod stdio;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod texts;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
