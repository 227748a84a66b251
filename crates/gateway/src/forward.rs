//! Carrying a response back: digested on the way, never held up, cut when its authority ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use marque_core::Digest;
use marque_core::id::RecordId;
use marque_core::record::{Ending, Outcome};
use marque_engine::{Engine, Passage, Permit};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};

use crate::contents::Kept;
use crate::reply::{Answer, BodyError, RECEIPT_HEADER, RECORD_HEADER, mark};
use crate::upstream::UpstreamResponse;

/// By what right a response is carried.
pub enum Right {
    /// One decided action, to be settled.
    Permit(Permit),
    /// A protocol's own messages.
    Passage(Passage),
}

impl Right {
    /// The record that it hangs from, where there is one.
    pub fn record(&self) -> Option<RecordId> {
        match self {
            Self::Permit(permit) => Some(permit.record()),
            Self::Passage(_) => None,
        }
    }

    fn alive(&self, engine: &Engine) -> bool {
        match self {
            Self::Permit(permit) => permit.alive(),
            Self::Passage(passage) => passage.alive(engine),
        }
    }

    /// Waits until it no longer holds.
    pub async fn ended(&self, engine: &Engine) {
        let mut changes = engine.watch_ended();
        while self.alive(engine) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Records the end, where there is something to record.
    pub fn settle(self, outcome: Outcome) {
        if let Self::Permit(permit) = self {
            let record = permit.record();
            if let Err(error) = permit.settle(outcome) {
                tracing::error!(%record, "the outcome was not recorded: {}", error.chain());
            }
        }
    }
}

/// Streams a response to the caller and settles the right when it ends, however it ends.
pub fn carry(engine: &Arc<Engine>, response: UpstreamResponse, right: Right) -> Answer {
    let (mut parts, body) = response.into_parts();
    // Which record it is, and that it is in the log, only the gateway says.
    parts.headers.remove(RECORD_HEADER);
    parts.headers.remove(RECEIPT_HEADER);
    let record = right.record();
    let kept = if record.is_some() { Kept::of(&parts.headers) } else { Kept::default() };
    let (tx, rx) = mpsc::channel(CHUNKS);
    // Subscribed before the first check, so that no revocation falls between the two.
    let ended = engine.watch_ended();
    let (engine, status) = (Arc::clone(engine), parts.status.as_u16());
    let carrier = Carrier { engine, ended, status, hasher: Sha256::new(), bytes: 0, kept };
    tokio::spawn(carrier.run(body, tx, right));
    let answer = Response::from_parts(parts, Carried(rx).boxed());
    match record {
        Some(record) => mark(answer, record),
        None => answer,
    }
}

type FrameResult = Result<Frame<Bytes>, BodyError>;

/// The body that the caller sees: what the carrier lets through.
struct Carried(mpsc::Receiver<FrameResult>);

impl Body for Carried {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        self.0.poll_recv(cx)
    }
}

struct Carrier {
    engine: Arc<Engine>,
    ended: watch::Receiver<u64>,
    status: u16,
    hasher: Sha256,
    bytes: u64,
    kept: Kept,
}

impl Carrier {
    async fn run(mut self, mut body: BoxBody<Bytes, BodyError>, tx: mpsc::Sender<FrameResult>, right: Right) {
        let mut waiting: Option<Frame<Bytes>> = None;
        let ending = loop {
            if !right.alive(&self.engine) {
                // A caller that does not read is not waited for.
                let _ = tx.try_send(Err(BodyError("the authority for this stream was revoked".into())));
                break Ending::Cut;
            }
            tokio::select! {
                frame = body.frame(), if waiting.is_none() => match frame {
                    None => break Ending::Answered,
                    Some(Err(error)) => {
                        let _ = tx.try_send(Err(error));
                        break Ending::Truncated;
                    }
                    Some(Ok(frame)) => waiting = Some(frame),
                },
                place = tx.reserve(), if waiting.is_some() => match (place, waiting.take()) {
                    (Ok(place), Some(frame)) => {
                        self.count(&frame);
                        place.send(Ok(frame));
                    }
                    _ => break Ending::Truncated,
                },
                changed = self.ended.changed() => if changed.is_err() { break Ending::Cut },
                () = tx.closed() => break Ending::Truncated,
            }
        };
        // The caller has its end at once; its texts are looked at after that. Of what did not come whole there are none.
        drop(tx);
        let contents = if ending == Ending::Answered { self.kept.contents().await } else { Vec::new() };
        let response = Some(Digest::from_bytes(self.hasher.finalize().into()).into());
        right.settle(Outcome { ending, status: self.status, response, bytes: self.bytes, contents });
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.hasher.update(data);
            self.kept.push(data);
            self.bytes = self.bytes.saturating_add(data.len() as u64);
        }
    }
}

const CHUNKS: usize = 16;
