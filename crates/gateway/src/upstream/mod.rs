//! Upstreams: where a decided request goes on.

mod http;
mod stdio;

use std::collections::HashMap;
use std::sync::Arc;

use ::http::{HeaderMap, Response};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use marque_core::id::{InstanceId, TaskId};
use marque_core::resource::{ResourceId, Upstream};
use marque_engine::Engine;
use tokio::sync::Mutex;

use crate::forward::Right;
use crate::reply::BodyError;

pub use http::HttpClient;
pub use stdio::Process;

/// A response on its way back.
pub type UpstreamResponse = Response<BoxBody<Bytes, BodyError>>;

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The service has no upstream.
    #[error("`{0}` has no upstream")]
    Missing(ResourceId),
    /// Its credential cannot be had.
    #[error("the credential for `{service}` cannot be used: {why}")]
    Credential {
        /// Which service.
        service: ResourceId,
        /// Why.
        why: String,
    },
    /// It could not be reached or did not answer.
    #[error("`{service}` cannot be reached: {why}")]
    Unreachable {
        /// Which service.
        service: ResourceId,
        /// Why.
        why: String,
    },
    /// It answered with something that is not the protocol.
    #[error("`{service}` did not speak the protocol: {why}")]
    Protocol {
        /// Which service.
        service: ResourceId,
        /// What came.
        why: String,
    },
}

/// One message for an upstream. The right to send it is an argument, because there is no sending without one.
pub struct Message<'a> {
    /// Which service.
    pub service: &'a ResourceId,
    /// The HTTP method.
    pub method: ::http::Method,
    /// The caller's headers; the gateway forwards those that it knows to be harmless.
    pub headers: &'a HeaderMap,
    /// The exact bytes.
    pub body: Bytes,
    /// Whose session it belongs to; `None` is the gateway's own.
    pub holder: Option<(InstanceId, TaskId)>,
}

/// All upstreams of a gateway.
#[derive(Debug, Default)]
pub struct Upstreams {
    http: HttpClient,
    processes: Mutex<HashMap<ProcessKey, Arc<Process>>>,
}

/// A started server belongs to one holder: two agents never share its memory.
type ProcessKey = (ResourceId, Option<(InstanceId, TaskId)>);

impl Upstreams {
    /// Sends a message for which there is a right.
    pub async fn send(
        &self,
        engine: &Arc<Engine>,
        message: Message<'_>,
        _right: &Right,
    ) -> Result<UpstreamResponse, UpstreamError> {
        self.dispatch(engine, message).await
    }

    /// Sends a message of the gateway's own: asking a server for its list of tools.
    pub async fn ask(&self, engine: &Arc<Engine>, message: Message<'_>) -> Result<UpstreamResponse, UpstreamError> {
        self.dispatch(engine, message).await
    }

    async fn dispatch(&self, engine: &Arc<Engine>, message: Message<'_>) -> Result<UpstreamResponse, UpstreamError> {
        let service = message.service.clone();
        match engine.upstream(&service) {
            None => Err(UpstreamError::Missing(service)),
            Some(Upstream::Http { url, credential }) => self.http.send(engine, &url, credential.as_ref(), message).await,
            Some(Upstream::Stdio { command, args, secrets }) => {
                let process = self.process(engine, (service, message.holder), &command, &args, &secrets).await?;
                process.exchange(message.body).await
            }
        }
    }

    /// Ends the servers whose holders have ended.
    pub async fn sweep(&self, engine: &Engine) {
        let now = engine.now();
        let lives = |(instance, task)| {
            let state = engine.state();
            state.check_instance(instance).is_ok() && state.check_task(task, now).is_ok()
        };
        self.processes.lock().await.retain(|(_, holder), process| process.running() && holder.is_none_or(lives));
    }

    /// The started server for a key, started if there is none that runs.
    async fn process(
        &self,
        engine: &Engine,
        key: ProcessKey,
        command: &str,
        args: &[String],
        secrets: &[marque_core::resource::InjectedVariable],
    ) -> Result<Arc<Process>, UpstreamError> {
        let mut processes = self.processes.lock().await;
        processes.retain(|_, process| process.running());
        if let Some(process) = processes.get(&key) {
            return Ok(Arc::clone(process));
        }
        let mut variables = Vec::new();
        for injected in secrets {
            let why = |e: marque_engine::EngineError| UpstreamError::Credential { service: key.0.clone(), why: e.to_string() };
            variables.push((injected.variable.clone(), engine.secret(&injected.secret).map_err(why)?));
        }
        let process = Arc::new(Process::start(&key.0, command, args, &variables)?);
        processes.insert(key, Arc::clone(&process));
        Ok(process)
    }
}
