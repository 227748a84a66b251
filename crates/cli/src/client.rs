//! The client of the administration API: of a running server, or, when none runs, of the state directory itself.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use marque_core::PersonId;
use marque_engine::{Engine, Options};
use marque_server::api::{Api, router};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_service::Service as _;

use crate::config::Config;
use crate::failure::{Code, Failure, Result};
use crate::place::{At, credential_file, is_there, reach};

/// A connection to the API as one person.
pub struct Client {
    end: End,
    credential: SecretString,
}

enum End {
    Server(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    /// The same routes over the state directory, in this process.
    Directory(Router, Arc<Engine>),
}

impl Client {
    /// Connects as `person`, or as the state directory's first person.
    pub async fn connect(state: &Path, person: Option<&str>) -> Result<Self> {
        let end = match reach(state, || old(state)).await? {
            At::Server(stream) => {
                let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                End::Server(sender)
            }
            At::Here(engine) => End::Directory(router(Api { engine: Arc::clone(&engine), launches: None }, None), engine),
        };
        Ok(Self { credential: credential(state, person)?, end })
    }

    /// Whether a server answers, and not the state directory itself.
    pub fn has_server(&self) -> bool {
        matches!(self.end, End::Server(_))
    }

    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        self.call(Method::GET, path, "application/json", Bytes::new()).await
    }

    pub async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T> {
        self.call(Method::POST, path, "application/json", serde_json::to_vec(body)?.into()).await
    }

    pub async fn send<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<T> {
        self.call(method, path, content_type, body).await
    }

    /// Hands the answer on as it comes, however long it is.
    pub async fn download(&mut self, path: &str, mut write: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<()> {
        let mut credential = HeaderValue::try_from(format!("Bearer {}", self.credential.expose_secret()))?;
        credential.set_sensitive(true);
        let request =
            Request::get(path).header("host", "marque").header(AUTHORIZATION, credential).body(Full::new(Bytes::new()))?;
        let response = match &mut self.end {
            End::Server(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?.map(axum::body::Body::new)
            }
            End::Directory(router, engine) => {
                let response = router.call(request.map(axum::body::Body::new)).await.unwrap_or_else(|never| match never {});
                engine.publish()?;
                response
            }
        };
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            return Err(failure(status, &body.collect().await?.to_bytes()));
        }
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                write(&data)?;
            }
        }
        Ok(())
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<T> {
        let mut credential = HeaderValue::try_from(format!("Bearer {}", self.credential.expose_secret()))?;
        credential.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "marque")
            .header(CONTENT_TYPE, content_type)
            .header(AUTHORIZATION, credential)
            .body(Full::new(body))?;
        let (status, bytes) = match &mut self.end {
            End::Server(sender) => {
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                (response.status(), response.into_body().collect().await?.to_bytes())
            }
            End::Directory(router, engine) => {
                let response = router.call(request.map(axum::body::Body::new)).await.unwrap_or_else(|never| match never {});
                // No server runs that would publish it.
                engine.publish()?;
                (response.status(), response.into_body().collect().await?.to_bytes())
            }
        };
        if status.is_success() {
            return Ok(serde_json::from_slice(&bytes)?);
        }
        Err(failure(status, &bytes))
    }
}

/// The API's error as a command's.
fn failure(status: StatusCode, bytes: &[u8]) -> Failure {
    let body: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let message = match body.get("message").and_then(|m| m.as_str()) {
        Some(message) => message.to_owned(),
        None => format!("the server answered {status}: {}", String::from_utf8_lossy(bytes)),
    };
    let code = match status {
        StatusCode::BAD_REQUEST => Code::Input,
        StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::UNAUTHORIZED => Code::Refused,
        StatusCode::NOT_FOUND => Code::NotFound,
        _ => Code::Failed,
    };
    Failure::new(code, message)
}

/// How a state directory is opened that no server holds; nothing where there is none.
fn old(state: &Path) -> Result<Option<Options>> {
    let options = |config: Config| Options::new(config.trust_domain, config.administrator, format!("https://{}", config.listen));
    Ok(is_there(state)?.then(|| options(Config::default())))
}

/// A person's bootstrap credential, from its private file.
fn credential(state: &Path, person: Option<&str>) -> Result<SecretString> {
    let people = state.join("people");
    let person: PersonId = match person {
        Some(person) => person.parse().map_err(|e| Failure::input(format!("--person: {e}")))?,
        None => {
            let name = std::fs::read_to_string(people.join("default"))
                .map_err(|e| Failure::failed(format!("cannot read `{}`: {e}", people.join("default").display())))?;
            name.trim().parse()?
        }
    };
    let file = credential_file(state, person.name());
    let secret = std::fs::read_to_string(&file).map_err(|e| {
        let add = match e.kind() {
            std::io::ErrorKind::NotFound => format!("; `marque person add {}` makes them known", person.name()),
            _ => String::new(),
        };
        Failure::new(Code::NotFound, format!("cannot read the credential of `{person}` in `{}`: {e}{add}", file.display()))
    })?;
    Ok(SecretString::from(secret.trim().to_owned()))
}
