//! An OpenTelemetry collector: OTLP/HTTP, JSON encoding.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::body::Bytes;
use marque_engine::{Batch, Engine};
use serde::Deserialize;

use super::SinkError;
use super::http::Poster;

pub(super) struct Otlp {
    poster: Poster,
    /// A stored secret's name and the header for it.
    secret: Option<(String, HeaderName)>,
}

impl Otlp {
    pub fn new(url: &str, secret: Option<(String, String)>) -> Result<Self, SinkError> {
        let named = |(secret, header): (String, String)| match header.parse::<HeaderName>() {
            Ok(name) => Ok((secret, name)),
            Err(_) => Err(SinkError::Invalid(format!("`{header}` is not a header"))),
        };
        Ok(Self { poster: Poster::new(url)?, secret: secret.map(named).transpose()? })
    }

    pub async fn write(&mut self, engine: &Engine, batch: &Batch) -> Result<(), SinkError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(batch.content_type));
        if let Some((name, header)) = &self.secret {
            let text = engine.secret(name)?;
            let value = HeaderValue::try_from(text.expose());
            let mut value = value.map_err(|_| SinkError::Invalid(format!("secret `{name}` does not fit into a header")))?;
            value.set_sensitive(true);
            headers.insert(header.clone(), value);
        }
        let answer = self.poster.post(headers, Bytes::copy_from_slice(batch.body())).await?;
        if let Some(rejected) = rejected(&answer) {
            // The protocol forbids to send such a request again (OTLP, "Partial Success").
            tracing::warn!(first = batch.first, "the collector took all but {rejected}");
        }
        Ok(())
    }
}

/// What a collector says that it did not take, if anything.
fn rejected(answer: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let partial = answer.partial_success?;
    let count = match partial.rejected_log_records {
        serde_json::Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    };
    (count > 0).then(|| format!("{count} records: {}", partial.error_message))
}

/// `ExportLogsServiceResponse` in Protobuf's JSON.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: Option<PartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PartialSuccess {
    rejected_log_records: serde_json::Value,
    error_message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_told() {
        assert_eq!(rejected(b"{}"), None);
        assert_eq!(rejected(b""), None);
        assert_eq!(rejected(br#"{"partialSuccess":{}}"#), None);
        let some = rejected(br#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}"#);
        assert_eq!(some.as_deref(), Some("3 records: too old"));
        assert!(rejected(br#"{"partialSuccess":{"rejectedLogRecords":1}}"#).is_some());
    }
}
