//! The mail: an outbox of `.eml` files, and a stream that watches it.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use hyper::body::{Bytes, Frame};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::Interval;

use super::ToolServerError;

/// The outbox; nothing leaves it.
pub struct Mail {
    outbox: PathBuf,
    last: AtomicU64,
    clock: fn() -> OffsetDateTime,
}

/// The arguments of `send_mail`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendMail {
    to: HeaderText,
    subject: HeaderText,
    body: String,
}

/// The arguments of `watch_mail`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchMail {
    seconds: u64,
}

/// A stream to be: what to watch, and for how long.
pub struct Watch {
    outbox: PathBuf,
    seconds: u64,
}

impl Mail {
    /// Takes the folder of the outbox, which must be there.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn open(outbox: PathBuf, clock: fn() -> OffsetDateTime) -> Result<Self, ToolServerError> {
        let last = AtomicU64::new(count(&outbox)?);
        Ok(Self { outbox, last, clock })
    }

    /// Puts one mail into the outbox.
    ///
    /// # Errors
    ///
    /// When the mail cannot be written.
    pub fn send(&self, mail: SendMail) -> Result<Value, ToolServerError> {
        let date = (self.clock)().format(&Rfc2822)?;
        loop {
            let number = self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let path = self.outbox.join(format!("{number:05}.eml"));
            let text = mail.render(number, &date);
            let made = OpenOptions::new().write(true).create_new(true).open(&path);
            match made.and_then(|mut file| file.write_all(text.as_bytes())) {
                Ok(()) => return Ok(json!({ "path": path.to_string_lossy(), "to": mail.to.0 })),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(ToolServerError::File { path, source }),
            }
        }
    }

    /// Plans a watch over the outbox, at most [`LONGEST_WATCH`] seconds of it.
    ///
    /// # Errors
    ///
    /// When asked to watch for no time.
    pub fn watch(&self, watch: WatchMail) -> Result<Watch, ToolServerError> {
        if watch.seconds == 0 {
            return Err(ToolServerError::Empty("seconds"));
        }
        let seconds = watch.seconds.min(LONGEST_WATCH);
        Ok(Watch { outbox: self.outbox.clone(), seconds })
    }
}

impl SendMail {
    fn render(&self, number: u64, date: &str) -> String {
        let body = self.body.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
        format!(
            "Date: {date}\r\nFrom: {SENDER}\r\nTo: {}\r\nSubject: {}\r\n\
             Message-ID: <{number}@tools.example.com>\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\
             \r\n{body}\r\n",
            self.to.0, self.subject.0,
        )
    }
}

impl Watch {
    /// What the stream tells at its end.
    pub fn summary(&self) -> Value {
        json!({ "watched_seconds": self.seconds })
    }

    /// Starts the stream, which ends with `response`; must be called inside the runtime.
    pub fn start(self, response: Value) -> MailWatch {
        let ticks = tokio::time::interval(Duration::from_secs(1));
        MailWatch { watch: self, ticks, sent: 0, response: Some(response) }
    }
}

/// The body of a watch: one event a second, then the response. Dropping it ends the watch.
pub struct MailWatch {
    watch: Watch,
    ticks: Interval,
    sent: u64,
    response: Option<Value>,
}

impl MailWatch {
    fn notification(&self) -> Value {
        let data = json!({
            "second": self.sent,
            "of": self.watch.seconds,
            "mails_in_outbox": count(&self.watch.outbox).ok(),
        });
        let params = json!({ "level": "info", "logger": "watch_mail", "data": data });
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params })
    }
}

impl HttpBody for MailWatch {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.response.is_none() {
            return Poll::Ready(None);
        }
        ready!(this.ticks.poll_tick(cx));
        let message = if this.sent < this.watch.seconds {
            this.sent = this.sent.saturating_add(1);
            Some(this.notification())
        } else {
            this.response.take()
        };
        Poll::Ready(message.map(|message| {
            let event = format!("event: message\ndata: {message}\n\n");
            Ok(Frame::data(Bytes::from(event)))
        }))
    }
}

/// One line of text for a mail header.
///
/// Invariant: not empty and without control characters, so it cannot begin another header.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct HeaderText(String);

impl TryFrom<String> for HeaderText {
    type Error = ToolServerError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(ToolServerError::HeaderField(text));
        }
        Ok(Self(text))
    }
}

/// The definitions of `send_mail` and `watch_mail`.
pub fn definitions() -> Vec<Value> {
    let send = json!({
        "name": "send_mail",
        "title": "Send a mail",
        "description": "Sends a plain-text mail to one address.",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "to": { "type": "string", "minLength": 1, "description": "The address of the receiver." },
                "subject": { "type": "string", "minLength": 1, "description": "One line." },
                "body": { "type": "string", "description": "The text of the mail." },
            },
            "required": ["to", "subject", "body"],
            "additionalProperties": false,
        },
        "annotations": {
            "readOnlyHint": false,
            "destructiveHint": false,
            "idempotentHint": false,
            "openWorldHint": true,
        },
    });
    let watch = json!({
        "name": "watch_mail",
        "title": "Watch the outbox",
        "description": "Streams the number of mails in the outbox once a second; more than 60 seconds count as 60.",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "seconds": { "type": "integer", "minimum": 1, "description": "How long to watch." },
            },
            "required": ["seconds"],
            "additionalProperties": false,
        },
        "annotations": {
            "readOnlyHint": true,
            "destructiveHint": false,
            "idempotentHint": true,
            "openWorldHint": false,
        },
    });
    vec![send, watch]
}

fn count(folder: &Path) -> Result<u64, ToolServerError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.fold(0, |sum: u64, _| sum.saturating_add(1))),
        Err(source) => Err(ToolServerError::File { path: folder.to_owned(), source }),
    }
}

const SENDER: &str = "assistant@example.com";
const LONGEST_WATCH: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_field_cannot_begin_another() {
        for bad in ["", " ", "a\r\nBcc: b@example.com", "a\nb", "a\rb", "a\0"] {
            assert!(HeaderText::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        let unknown = json!({ "to": "a@example.com", "subject": "s", "body": "b", "bcc": "c" });
        assert!(serde_json::from_value::<SendMail>(unknown).is_err());
    }

    #[test]
    fn a_mail_has_crlf_lines_throughout() {
        let arguments = json!({ "to": "a@example.com", "subject": "s", "body": "one\ntwo\r\nthree" });
        let mail: SendMail = serde_json::from_value(arguments).unwrap();
        let text = mail.render(7, "today");
        assert!(text.ends_with("\r\n\r\none\r\ntwo\r\nthree\r\n"));
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }
}
