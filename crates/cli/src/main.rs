//! Marque: govern what software agents do.

mod args;
mod client;
mod commands;
mod config;
mod demo;
mod failure;
mod manifest;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let output = output::Output::new(args.json);
    match commands::run(args, &output) {
        Ok(code) => code,
        Err(failure) => output.failure(&failure),
    }
}
