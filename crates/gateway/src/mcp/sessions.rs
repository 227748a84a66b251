//! Which caller opened which MCP session: a session identifier is not a credential, and works for its opener only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use marque_core::id::{InstanceId, TaskId};
use marque_core::resource::ResourceId;

/// The sessions that upstreams opened through this gateway.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<(ResourceId, String), (InstanceId, TaskId)>>);

impl Sessions {
    /// Whether the session that a request names, if it names one, is the holder's own.
    pub fn allows(&self, service: &ResourceId, headers: &HeaderMap, holder: (InstanceId, TaskId)) -> bool {
        let Some(id) = headers.get(HEADER) else { return true };
        let Ok(id) = id.to_str() else { return false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(service.clone(), id.to_owned())) == Some(&holder)
    }

    /// Takes note of a session that an upstream's answer opens.
    pub fn opened(&self, service: &ResourceId, headers: &HeaderMap, holder: (InstanceId, TaskId)) {
        if let Some(id) = headers.get(HEADER).and_then(|id| id.to_str().ok()) {
            let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if sessions.len() >= MOST {
                sessions.clear();
            }
            sessions.entry((service.clone(), id.to_owned())).or_insert(holder);
        }
    }
}

const HEADER: &str = "mcp-session-id";

/// Past this many, all sessions are forgotten: clients open a new one when theirs is not found.
const MOST: usize = 100_000;
