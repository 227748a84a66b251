//! `marque demo`: the whole story with real parts and separate processes.
//!
//! The control plane is `marque serve`; the tool server and the agents are processes of their own; people act through
//! the same API as the CLI. Nothing here is known to the rest of Marque.

mod agent;
mod ending;
mod link;
mod manifest;
mod mcp;
mod processes;
mod story;
mod tools;

use std::path::{Path, PathBuf};

use secrecy::SecretString;

pub use agent::agent;
pub use story::story;

use crate::failure::{Failure, Result};

/// The tool server's process: prints its address when it is ready.
#[expect(clippy::print_stdout, reason = "the address is this process's answer to its parent")]
pub async fn tool_server(dir: PathBuf, key_file: &Path) -> Result<()> {
    let key =
        std::fs::read_to_string(key_file).map_err(|e| Failure::input(format!("cannot read `{}`: {e}", key_file.display())))?;
    let options =
        tools::ToolServerOptions { dir, listen: ([127, 0, 0, 1], 0).into(), api_key: SecretString::from(key.trim().to_owned()) };
    tools::serve(options, |address| println!("{address}")).await?;
    Ok(())
}
