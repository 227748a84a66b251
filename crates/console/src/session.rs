//! Who has signed in. Sessions live in memory and end with the process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use marque_core::time::{Timestamp, Ttl};
use marque_engine::{Caller, Engine};

/// How long a session lives.
const LIFE: Ttl = Ttl::from_minutes(8 * 60);

const NAME: &str = "marque-session";

/// Open sessions by their 256-bit names.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, (Caller, Timestamp)>>);

impl Sessions {
    /// Opens a session, and gives the cookie that names it.
    pub fn open(&self, engine: &Engine, caller: Caller) -> String {
        let name = engine.random_name();
        let now = engine.now();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (_, ends)| now < *ends);
        sessions.insert(name.clone(), (caller, now.plus(LIFE)));
        format!("{NAME}={name}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}", LIFE.seconds())
    }

    /// Whose session a request belongs to.
    pub fn caller(&self, headers: &HeaderMap, now: Timestamp) -> Option<Caller> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, ends) = sessions.get(name(headers)?)?;
        (now < *ends).then(|| caller.clone())
    }

    /// Ends a request's session.
    pub fn close(&self, headers: &HeaderMap) {
        if let Some(name) = name(headers) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }
}

fn name(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|c| c.trim().strip_prefix(NAME)?.strip_prefix('='))
}
