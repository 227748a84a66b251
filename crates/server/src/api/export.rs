//! Exports: how far each is, and a range of the log written out for somebody.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use marque_engine::{Engine, EngineError, ExportFormat, ExportStatus, Framing, Limits, Rendering};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Answer, Api, ApiError, Asked, Person, blocking};

pub async fn exports(State(api): State<Api>, _: Person) -> Answer<Vec<ExportStatus>> {
    Ok(Json(blocking(&api.engine, Engine::export_status).await?))
}

/// Which entries, and as what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    format: ExportFormat,
    #[serde(default)]
    from: u64,
    /// At most so many; without, all that are durable now.
    limit: Option<u64>,
    /// With the names of people in the place of their pseudonyms.
    #[serde(default)]
    names: bool,
    /// With the content that the log keeps back, in the place of commitments to it.
    #[serde(default)]
    contents: bool,
}

/// Lines as they are made, or one Parquet file.
pub async fn export(State(api): State<Api>, Person(by): Person, Asked(range): Asked<Range>) -> Result<Response, ApiError> {
    let framing = if range.format.is_text() { Framing::Lines } else { Framing::Body };
    let mut how = Rendering::new(range.format, framing);
    how.names = range.names;
    how.contents = range.contents;
    let end = api.engine.begin_export(by.by(), &how, range.from, range.limit).await?;
    let content_type = how.content_type();
    let body = if range.format.is_text() {
        let (send, receive) = mpsc::channel(PAGES_AHEAD);
        let engine = Arc::clone(&api.engine);
        tokio::task::spawn_blocking(move || pages(&engine, &how, range.from, end, &send));
        Body::from_stream(ReceiverStream::new(receive))
    } else {
        how.limits = WHOLE_FILE;
        blocking(&api.engine, move |engine| whole(engine, &how, range.from, end)).await?.into()
    };
    Ok(([(CONTENT_TYPE, content_type)], body).into_response())
}

/// Page after page, as fast as they are taken; an error cuts the answer off, so that it does not look whole.
fn pages(engine: &Engine, how: &Rendering, from: u64, end: u64, send: &mpsc::Sender<std::io::Result<Bytes>>) {
    let mut next = from;
    while next < end {
        let page = match engine.export_batch(how, next, end) {
            Ok(Some(batch)) => {
                next = batch.next;
                Ok(Bytes::from(batch.lines()))
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!("an export was cut off: {}", error.chain());
                next = end;
                Err(std::io::Error::other(error.chain()))
            }
        };
        // Whoever asked may have gone away.
        if send.blocking_send(page).is_err() {
            return;
        }
    }
}

fn whole(engine: &Engine, how: &Rendering, from: u64, end: u64) -> Result<Vec<u8>, EngineError> {
    let Some(batch) = engine.export_batch(how, from, end)? else {
        return Err(EngineError::Invalid(format!("the log has no entries from {from} on")));
    };
    if batch.pruned {
        return Err(EngineError::Invalid(format!("what is below entry {} was pruned: begin there", batch.next)));
    }
    if batch.next < end {
        let fits = batch.next.saturating_sub(from);
        return Err(EngineError::Invalid(format!("one file is too small for that: ask for {fits} entries or fewer")));
    }
    Ok(batch.body().to_vec())
}

const PAGES_AHEAD: usize = 2;

/// A Parquet file is built in memory.
const WHOLE_FILE: Limits = Limits { entries: 100_000, bytes: 64 << 20, patience: None };
