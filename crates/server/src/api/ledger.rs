//! Questions to the log. Reading it is an event: nothing is shown before it is written down who read what.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query as Params, RawQuery, State};
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use marque_core::id::{LeaseId, TaskId};
use marque_core::resource::{Action, ResourceId};
use marque_core::when::When;
use marque_engine::{
    AccessAt, Caller, CredentialHistory, Engine, EngineError, Entry, Follow, Order, Page, Query, Result, TaskCredentials,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Answer, Api, ApiError, Asked, Person, blocking};

/// One page of entries.
pub async fn events(State(api): State<Api>, Person(by): Person, uri: Uri, Asked(query): Asked<Query>) -> Answer<Page> {
    let page = blocking(&api.engine, move |e| e.query(&query)).await?;
    api.engine.record_read(&by, &asked(&uri), page.entries.len() as u64).await?;
    Ok(Json(page))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uses {
    before: Option<u64>,
    limit: Option<u32>,
}

pub async fn credential(
    State(api): State<Api>,
    Person(by): Person,
    uri: Uri,
    Path(id): Path<String>,
    Asked(uses): Asked<Uses>,
) -> Answer<CredentialHistory> {
    let id: LeaseId = id.parse()?;
    let history = blocking(&api.engine, move |e| e.credential_history(id, uses.before, uses.limit)).await?;
    // Its issue is one more entry.
    api.engine.record_read(&by, &asked(&uri), history.records.len() as u64 + 1).await?;
    Ok(Json(history))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Below {
    below: Option<bool>,
}

pub async fn credentials(
    State(api): State<Api>,
    Person(by): Person,
    uri: Uri,
    Path(id): Path<String>,
    Asked(of): Asked<Below>,
) -> Answer<TaskCredentials> {
    let id: TaskId = id.parse()?;
    let held = blocking(&api.engine, move |e| e.credentials_of(id, of.below.unwrap_or(true))).await?;
    api.engine.record_read(&by, &asked(&uri), held.credentials.len() as u64).await?;
    Ok(Json(held))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    action: Action,
    resource: ResourceId,
    at: When,
}

pub async fn access(State(api): State<Api>, Person(by): Person, uri: Uri, Asked(then): Asked<Then>) -> Answer<AccessAt> {
    let moment = then.at.at(api.engine.now());
    let access = blocking(&api.engine, move |e| e.access_at(then.action, &then.resource, moment)).await?;
    api.engine.record_read(&by, &asked(&uri), (access.could.len() + access.had.len()) as u64).await?;
    Ok(Json(access))
}

/// Every entry that matches, a line of JSON each; with `follow=true` those that come, too. An answer that ends by itself has
/// a last line that says how far it covers: one without it was cut off.
pub async fn stream(
    State(api): State<Api>,
    Person(by): Person,
    uri: Uri,
    RawQuery(raw): RawQuery,
) -> std::result::Result<Response, ApiError> {
    let (query, follow) = question(raw.as_deref().unwrap_or_default())?;
    let mut reading = Reading::new(&api.engine, by, asked(&uri), query, follow);
    let page = reading.page().await?;
    if !follow && reading.is_last(&page) {
        reading.record("", reading.rows).await?;
        let whole = [lines(&page.entries)?, lines(&[End::of(&page)])?].concat();
        return Ok(ndjson(whole.into()));
    }
    reading.record(": begins", 0).await?;
    let (send, receive) = mpsc::channel(PAGES_AHEAD);
    tokio::spawn(reading.run(page, send));
    Ok(ndjson(Body::from_stream(ReceiverStream::new(receive))))
}

/// What a query string asks of a stream, and whether it goes on. For fuzzing, too: what is taken here is what is looked for.
pub fn question(raw: &str) -> Result<(Query, bool)> {
    let (own, rest): (Vec<&str>, Vec<&str>) = raw.split('&').partition(|pair| pair.split('=').next() == Some("follow"));
    let follow = match own.as_slice() {
        [] | ["follow=false"] => false,
        ["follow=true"] => true,
        _ => return Err(EngineError::Invalid("`follow` is `true` or `false`".into())),
    };
    let invalid = |what: String| EngineError::Invalid(what);
    let uri: Uri = format!("/?{}", rest.join("&")).parse().map_err(|_| invalid("the question does not parse".into()))?;
    let Params(query): Params<Query> = Params::try_from_uri(&uri).map_err(|e| invalid(e.body_text()))?;
    if query.limit == Some(0) {
        return Err(invalid("`limit` is at least 1".into()));
    }
    if follow && (query.order == Some(Order::Desc) || query.before.is_some() || query.until.is_some()) {
        return Err(invalid(
            "what is followed begins with the oldest and has no end: no `order=desc`, `before` or `until`".into(),
        ));
    }
    Ok((query, follow))
}

/// A stream on its way to a reader.
struct Reading {
    engine: Arc<Engine>,
    by: Caller,
    asked: String,
    query: Query,
    follow: bool,
    /// How many entries the reader still wants; all of them without.
    left: Option<u64>,
    /// How many were shown.
    rows: u64,
}

type Lines = mpsc::Sender<std::io::Result<Bytes>>;

impl Reading {
    fn new(engine: &Arc<Engine>, by: Caller, asked: String, query: Query, follow: bool) -> Self {
        let left = query.limit.map(u64::from);
        let mut query = query.fixed(engine.now());
        if follow {
            query.order = Some(Order::Asc);
            // Without a beginning it begins now.
            let now = query.since.is_none().then(|| engine.log_size());
            query.from = query.from.or(now);
        }
        Self { engine: Arc::clone(engine), by, asked, query, follow, left, rows: 0 }
    }

    /// The next page.
    async fn page(&mut self) -> Result<Page> {
        let limit = self.left.map_or(PAGE, |left| u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let (engine, query) = (Arc::clone(&self.engine), Query { limit: Some(limit), ..self.query.clone() });
        let page = off(move || engine.query(&query)).await?;
        self.count(&page.entries);
        if let Some(next) = page.next {
            self.query = std::mem::take(&mut self.query).page_at(next);
        }
        Ok(page)
    }

    fn count(&mut self, entries: &[Entry]) {
        let more = entries.len() as u64;
        self.rows = self.rows.saturating_add(more);
        self.left = self.left.map(|left| left.saturating_sub(more));
    }

    fn is_last(&self, page: &Page) -> bool {
        page.next.is_none() || self.left == Some(0)
    }

    async fn record(&self, which: &str, rows: u64) -> Result<()> {
        self.engine.record_read(&self.by, &format!("{}{which}", self.asked), rows).await
    }

    /// Sends everything, and writes down how much that was before it says that this was all.
    async fn run(mut self, page: Page, send: Lines) {
        let told = self.tell(page, &send).await;
        let recorded = self.record(": ends", self.rows).await;
        let last = match told.and_then(|last| recorded.map(|()| last)) {
            Ok(Some(end)) => lines(&[end]),
            // Nobody is there to be told.
            Ok(None) => return,
            Err(error) => Err(error),
        };
        // An error cuts the answer off, so that it does not look whole.
        let last = last.map(Bytes::from).map_err(|error| {
            tracing::error!("a reading of the log was cut off: {}", error.chain());
            std::io::Error::other(error.chain())
        });
        let _ = send.send(last).await;
    }

    /// Page after page, as fast as they are taken, then what comes. How it ended, unless the reader went away.
    async fn tell(&mut self, mut page: Page, send: &Lines) -> Result<Option<End>> {
        let first = End::of(&page);
        loop {
            if !shown(&page.entries, send).await? {
                return Ok(None);
            }
            if self.is_last(&page) {
                break;
            }
            page = self.page().await?;
        }
        if self.follow && self.left != Some(0) {
            return self.go_on(page.covers, send).await;
        }
        let last = End { pruned: first.pruned, ..End::of(&page) };
        // From the newest on, nothing that came meanwhile was looked at.
        let newest_first = self.query.order.unwrap_or_default() == Order::Desc;
        Ok(Some(if newest_first { End { covers: first.covers, ..last } } else { last }))
    }

    /// What comes, for as long as the reader stays and is known here.
    async fn go_on(&mut self, from: u64, send: &Lines) -> Result<Option<End>> {
        let (engine, query) = (Arc::clone(&self.engine), self.query.clone());
        let mut follow: Follow = off(move || engine.follow(&query, from)).await?;
        loop {
            let mut entries = tokio::select! {
                () = send.closed() => return Ok(None),
                entries = follow.next() => entries?,
            };
            if let Caller::Person(person) = &self.by
                && !self.engine.is_known(person)
            {
                return Err(EngineError::Unauthenticated("the reader is not known any more".into()));
            }
            entries.truncate(self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX)));
            self.count(&entries);
            if !shown(&entries, send).await? {
                return Ok(None);
            }
            if self.left == Some(0) {
                let (covers, size) = (follow.position(), self.engine.log_size());
                return Ok(Some(End { covers, size, next: Some(covers), pruned: 0 }));
            }
        }
    }
}

/// The last line of a stream.
#[derive(Serialize)]
struct End {
    /// How many entries of the log were looked through, from its first on.
    covers: u64,
    /// How many entries the log has.
    size: u64,
    /// Where it would go on, if there is more than was asked for.
    next: Option<u64>,
    /// How many entries of the range were let go and cannot be shown.
    pruned: u64,
}

impl End {
    fn of(page: &Page) -> Self {
        Self { covers: page.covers, size: page.size, next: page.next, pruned: page.pruned }
    }
}

/// Whether there is still somebody to show them to.
async fn shown(entries: &[Entry], send: &Lines) -> Result<bool> {
    if entries.is_empty() {
        return Ok(!send.is_closed());
    }
    Ok(send.send(Ok(lines(entries)?.into())).await.is_ok())
}

fn lines<T: Serialize>(values: &[T]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for value in values {
        serde_json::to_writer(&mut out, value)?;
        out.push(b'\n');
    }
    Ok(out)
}

fn ndjson(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// Runs what blocks off the async threads.
async fn off<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| EngineError::Invalid("the query ended early".into()))?
}

/// A request, for the log.
pub(super) fn asked(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string)
}

/// How many entries are read at once.
const PAGE: u32 = 256;
/// How many pages wait for a reader.
const PAGES_AHEAD: usize = 2;
