//! Marque: govern what software agents do. The binary's own code, as a library so that what reads people's files can be fuzzed.

mod args;
mod beat;
mod client;
mod commands;
mod config;
mod demo;
mod device;
mod experimental;
mod exports;
mod failure;
mod files;
pub mod manifest;
mod nodes;
mod output;
mod place;
mod retention;
mod serve;
mod trust;
mod web;
mod witnesses;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

pub use config::Config;

/// The program: reads the command line, runs the command, and says how it ended.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let output = output::Output::new(args.json);
    match commands::run(args, &output) {
        Ok(code) => code,
        Err(failure) => output.failure(&failure),
    }
}

/// The configuration by which `marque serve --config FILE` would go; or why it would not.
pub fn configuration(file: &Path) -> Result<Config, String> {
    let args = args::ServeArgs { config: Some(file.to_owned()), ..args::ServeArgs::default() };
    Config::read(&args).map_err(|failure| failure.message)
}
