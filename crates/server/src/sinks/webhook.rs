//! Signed requests, as the Standard Webhooks specification has them: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Bytes;
use marque_engine::{Batch, Engine};

use super::SinkError;
use super::http::Poster;

pub(super) struct Webhook {
    poster: Poster,
    /// The name of the stored secret.
    secret: String,
}

impl Webhook {
    pub fn new(url: &str, secret: String) -> Result<Self, SinkError> {
        Ok(Self { poster: Poster::new(url)?, secret })
    }

    pub async fn write(&mut self, engine: &Engine, batch: &Batch) -> Result<(), SinkError> {
        // The same for the same batch, so that a receiver that has taken it sees that it comes again.
        let id = format!("msg_{}_{}", batch.first, batch.next);
        let timestamp = engine.now().seconds().to_string();
        let key = key(&self.secret, engine.secret(&self.secret)?.expose())?;
        let signature = format!("v1,{}", signature(&key, &id, &timestamp, batch.body()));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(batch.content_type));
        for (name, text) in [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)] {
            let value = HeaderValue::try_from(text).map_err(|_| SinkError::Invalid(format!("`{name}` does not fit a header")))?;
            headers.insert(name, value);
        }
        self.poster.post(headers, Bytes::copy_from_slice(batch.body())).await.map(drop)
    }
}

/// The key in a secret: base64 of 24 to 64 bytes, after `whsec_` (Standard Webhooks, "Signature scheme").
fn key(name: &str, secret: &str) -> Result<hmac::Key, SinkError> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret);
    match BASE64_STANDARD.decode(text) {
        Ok(bytes) if (24..=64).contains(&bytes.len()) => Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        _ => Err(SinkError::Invalid(format!("secret `{name}` is no key for a webhook: `whsec_` and 24 to 64 bytes in base64"))),
    }
}

/// HMAC-SHA-256 over `id.timestamp.body`, in base64.
fn signature(key: &hmac::Key, id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    BASE64_STANDARD.encode(context.sign())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference libraries' own tests.
    #[test]
    fn a_signature_is_the_one_that_the_libraries_make() {
        let key = key("k", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let made = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(made, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_weak_secret_is_none() {
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "not base64 !", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"] {
            assert!(key("k", bad).is_err(), "{bad}");
        }
    }
}
