//! `marque trace`: from what somebody found back to the records, the tasks and the person.

mod git;
mod given;
mod patch;
mod print;
mod receipts;
mod tree;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use given::Given;
use http::Method;
use marque_engine::{Chain, Trace, TraceClass};

use super::Context;
use super::attest::stated;
use crate::client::Client;
use crate::failure::{Code, Failure, Result};
use crate::files::unreadable;
use crate::output::Tone;

/// What is traced, and what is written of it besides.
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    /// The file or folder; `-` is standard input. With --git, which commits, as main~5..main or HEAD^!; without it, all that
    /// lead to HEAD.
    #[arg(value_name = "FILE", required_unless_present = "git")]
    what: Option<OsString>,
    /// Trace the commits of a git repository: their messages, with the trailers `Agent-Action`, and what they add.
    #[arg(long, value_name = "REPOSITORY")]
    git: Option<PathBuf>,
    /// Write a picture of it too (SVG).
    #[arg(long, value_name = "FILE", conflicts_with = "git")]
    svg: Option<PathBuf>,
    /// Write its lineage too (W3C PROV-JSON).
    #[arg(long, value_name = "FILE", conflicts_with = "git")]
    prov: Option<PathBuf>,
    /// Write a signed statement of where the file came from too (in-toto, DSSE).
    #[arg(long, value_name = "FILE", conflicts_with = "git")]
    intoto: Option<PathBuf>,
}

pub async fn trace(context: &Context<'_>, args: &TraceArgs) -> Result<ExitCode> {
    if let Some(repository) = &args.git {
        return git::trace(context, repository, args.what.as_deref()).await;
    }
    let what = args.what.as_deref().ok_or_else(|| Failure::input("name a file, or a repository with --git"))?;
    let path = Path::new(what);
    if !path.is_dir() {
        return one(context, path, args).await;
    }
    if args.svg.is_some() || args.prov.is_some() || args.intoto.is_some() {
        let text = format!("a picture, a lineage or a statement is of one file, and `{}` is a folder", path.display());
        return Err(Failure::input(text));
    }
    tree::trace(context, path).await
}

/// One file, or standard input.
async fn one(context: &Context<'_>, path: &Path, args: &TraceArgs) -> Result<ExitCode> {
    let piped = path == Path::new("-");
    let read = if piped { Given::read(std::io::stdin().lock()) } else { File::open(path).and_then(Given::read) };
    let given = read.map_err(|e| unreadable(path, &e))?;
    let name = path.file_name().filter(|_| !piped).map(|name| name.to_string_lossy().into_owned());
    let lines = given.lines();
    let mut client = context.client().await?;
    let found = given.look(&mut client).await?;
    context.output.show(&found, || print::found(context.output, &found));
    if let Some(file) = &args.svg {
        let title = name.as_deref().unwrap_or("standard input");
        let picture = marque_console::picture::trace::trace(&found, title, lines).into_string();
        written(context, file, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{picture}\n").as_bytes())?;
    }
    if let Some(file) = &args.prov {
        written(context, file, &serde_json::to_vec_pretty(&found.prov(name.as_deref()))?)?;
    }
    if let Some(file) = &args.intoto {
        written(context, file, &statement(&mut client, &found, name.as_deref()).await?)?;
    }
    Ok(exit_code(attributed(&found)))
}

async fn look(client: &mut Client, bytes: Vec<u8>) -> Result<Trace> {
    client.send(Method::POST, "/v1/trace", "application/octet-stream", bytes.into()).await
}

/// The server states it: it has the log's key, and finds out by itself.
async fn statement(client: &mut Client, found: &Trace, name: Option<&str>) -> Result<Vec<u8>> {
    let whole =
        |chain: &Chain| chain.found.as_ref().is_some_and(|found| found.class == TraceClass::Exact && found.decoded.is_empty());
    if !found.chains.iter().any(whole) {
        let text = if found.input_of.is_empty() {
            "no record has exactly these bytes: of parts, nobody can state where the whole came from"
        } else {
            "no record has exactly these bytes: of what others were made from, nothing is stated"
        };
        return Err(Failure::new(Code::NotFound, text));
    }
    Ok(serde_json::to_vec(&stated(client, name, found.digest).await?)?)
}

fn written(context: &Context<'_>, file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).map_err(|e| Failure::failed(format!("cannot write `{}`: {e}", file.display())))?;
    if !context.output.json {
        context.output.line(format!("{} {}", context.output.paint(Tone::Good, "wrote"), file.display()));
    }
    Ok(())
}

/// Whether it was found, and not only something like it.
fn attributed(found: &Trace) -> bool {
    found.class >= TraceClass::Strong
}

fn exit_code(attributed: bool) -> ExitCode {
    if attributed { ExitCode::SUCCESS } else { ExitCode::from(Code::NotFound as u8) }
}

/// Names that others gave, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
