//! The window: server-rendered pages over the engine, for people who would rather look than read.
//!
//! One router, on loopback. A person signs in with the bootstrap credential that the CLI uses too; a page shows only
//! what the API would tell that person. Pictures are SVG, laid out here.
//!
//! Reading the log is an event: no page with entries on it is shown before it is written down who is shown how many of them.
//! No page refreshes itself, so that each reading is somebody's.

mod pages;
pub mod picture;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use marque_core::id::{ElevationId, RecordId};
use marque_engine::{Caller, Engine, EngineError};
use serde::Deserialize;

use pages::Page;
use session::Sessions;

/// What every page works with.
#[derive(Clone, Debug)]
pub struct Console {
    engine: Arc<Engine>,
    sessions: Arc<Sessions>,
}

/// The console's routes.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/sign-in", get(sign_in_page).post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/records/{id}", get(record))
        .route("/elevations/{id}/{vote}", post(vote))
        .layer(axum::extract::DefaultBodyLimit::max(16 << 10))
        .layer(axum::middleware::map_response(hardened))
        .with_state(Console { engine, sessions: Arc::default() })
}

/// Nothing but this page's own styles and pictures; no frames, no scripts.
async fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

impl Console {
    /// Who looks, or the way to the sign-in page.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Redirect> {
        self.sessions.caller(headers, self.engine.now()).ok_or_else(|| Redirect::to("/sign-in"))
    }

    /// What may be shown of a page: all of it once the reading is in the log, and nothing where that fails.
    async fn recorded(&self, by: &Caller, page: Page) -> Result<maud::Markup, EngineError> {
        self.engine.record_read(by, &format!("console {}", page.path), page.rows).await?;
        Ok(page.markup)
    }
}

async fn sign_in_page(State(console): State<Console>) -> Html<String> {
    Html(pages::sign_in(&console.engine, None).into_string())
}

#[derive(Deserialize)]
struct SignIn {
    credential: String,
}

async fn sign_in(State(console): State<Console>, headers: HeaderMap, Form(form): Form<SignIn>) -> Response {
    if !same_origin(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    match console.engine.authenticate_person(form.credential.trim()) {
        Ok(caller) => {
            let cookie = console.sessions.open(&console.engine, caller);
            let mut response = Redirect::to("/").into_response();
            if let Ok(value) = HeaderValue::try_from(cookie) {
                response.headers_mut().insert(SET_COOKIE, value);
            }
            response
        }
        Err(error) => (StatusCode::UNAUTHORIZED, Html(pages::sign_in(&console.engine, Some(&error.to_string())).into_string()))
            .into_response(),
    }
}

async fn sign_out(State(console): State<Console>, headers: HeaderMap) -> Redirect {
    console.sessions.close(&headers);
    Redirect::to("/sign-in")
}

async fn overview(State(console): State<Console>, headers: HeaderMap) -> Response {
    match console.caller(&headers) {
        Ok(caller) => page(&console, caller, pages::overview).await,
        Err(redirect) => redirect.into_response(),
    }
}

async fn record(State(console): State<Console>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let caller = match console.caller(&headers) {
        Ok(caller) => caller,
        Err(redirect) => return redirect.into_response(),
    };
    page(&console, caller, move |engine, _| {
        let id: RecordId = id.parse()?;
        Ok(pages::record(id, &engine.trace_record(id)?))
    })
    .await
}

/// A person approves or refuses a held request.
async fn vote(State(console): State<Console>, headers: HeaderMap, Path((id, vote)): Path<(String, String)>) -> Response {
    let caller = match console.caller(&headers) {
        Ok(caller) => caller,
        Err(redirect) => return redirect.into_response(),
    };
    if !same_origin(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let voted = async {
        let id: ElevationId = id.parse()?;
        match vote.as_str() {
            "approve" => console.engine.approve(&caller, id).await,
            "refuse" => console.engine.refuse(&caller, id, "refused in the console").await,
            _ => Err(EngineError::Invalid("a vote is `approve` or `refuse`".into())),
        }
    };
    match voted.await {
        Ok(_) => Redirect::to("/").into_response(),
        Err(error) => failed(&error),
    }
}

/// Makes a page off the async threads, for its questions read SQLite and tiles, and shows it to somebody.
async fn page(
    console: &Console,
    by: Caller,
    make: impl FnOnce(&Engine, &Caller) -> Result<Page, EngineError> + Send + 'static,
) -> Response {
    let (engine, reader) = (Arc::clone(&console.engine), by.clone());
    let shown = match tokio::task::spawn_blocking(move || make(&engine, &reader)).await {
        Ok(Ok(page)) => console.recorded(&by, page).await,
        Ok(Err(error)) => Err(error),
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    match shown {
        Ok(markup) => Html(markup.into_string()).into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &EngineError) -> Response {
    let status = match error {
        EngineError::NotFound { .. } => StatusCode::NOT_FOUND,
        EngineError::Parse(_) | EngineError::Invalid(_) => StatusCode::BAD_REQUEST,
        EngineError::Elevation(_) | EngineError::Forbidden(_) | EngineError::Dead(_) => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Html(pages::failure(&error.to_string()).into_string())).into_response()
}

/// Whether a form was sent by this site's own page. Browsers say where a form comes from; a form of another site does
/// not get past this, whatever cookies come with it.
fn same_origin(headers: &HeaderMap) -> bool {
    let host = headers.get(axum::http::header::HOST).and_then(|h| h.to_str().ok());
    let origin = headers.get(ORIGIN).and_then(|o| o.to_str().ok());
    match (origin, host) {
        (Some(origin), Some(host)) => origin.strip_prefix("http://").is_some_and(|o| o == host),
        _ => false,
    }
}
