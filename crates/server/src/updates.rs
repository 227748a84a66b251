//! Streams each message of which is the full state (Workload API §4.3, Broker API §4.4).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use marque_core::time::Timestamp;
use marque_engine::{AuthorityId, Identified, Process};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::{Response, Status};

use crate::source::{Changes, Source};
use crate::workload::chosen;

/// A stream of full states.
pub struct Updates<T>(mpsc::Receiver<Result<T, Status>>);

impl<T> Updates<T> {
    /// Of what a task sends.
    pub(crate) fn of(states: mpsc::Receiver<Result<T, Status>>) -> Self {
        Self(states)
    }
}

impl<T> Stream for Updates<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// A full state of a stream.
pub(crate) struct Current<T> {
    pub(crate) message: T,
    /// When a new one is due by time.
    pub(crate) rotate: Option<Timestamp>,
    /// The authority whose taint makes it due at once.
    pub(crate) signed_by: Option<AuthorityId>,
}

impl<T> Current<T> {
    /// The same state, said otherwise.
    pub(crate) fn map<U>(self, say: impl FnOnce(T) -> U) -> Current<U> {
        Current { message: say(self.message), rotate: self.rotate, signed_by: self.signed_by }
    }
}

/// A kind of stream.
#[tonic::async_trait]
pub(crate) trait Stated: Sized + Send + 'static {
    async fn fresh(source: &dyn Source, copies: &[Identified]) -> Result<Current<Self>, Status>;
}

/// Sends the first state at once and a new one whenever it changes: when an SVID has lived half its life, when a bundle
/// changes, when the authority that signed it is tainted, when the caller's identities are others. Ends the stream when the
/// source says why, as with `PermissionDenied` when the caller has none any more (Workload API §4.3, §5.2.1).
///
/// Whatever comes after the first state goes to a process that is looked at again: one that has become another program gets no more.
///
/// What is `wanted` alone is shown, where anything in particular is: the stream ends with that. The changes are those since
/// before the copies were attested. What has ended is noticed at once; entries are looked at when they have changed, and for
/// that as for bundles not everybody comes at the same moment.
pub(crate) async fn updates<T: Stated>(
    source: Arc<dyn Source>,
    process: Process,
    changes: Changes,
    mut copies: Vec<Identified>,
    wanted: String,
) -> Result<Response<Updates<T>>, Status> {
    let (tx, rx) = mpsc::channel(1);
    let Changes { mut ended, mut entries, mut bundles } = changes;
    let mut state = shown::<T>(&*source, &copies, &wanted).await?;
    tokio::spawn(async move {
        // When entries that have changed are looked at. A message before then does not put that off.
        let mut look: Option<Instant> = None;
        loop {
            let rotate = state.rotate;
            let signed_by = state.signed_by.take();
            if tx.send(Ok(state.message)).await.is_err() {
                return;
            }
            // When bundles that have changed are handed out.
            let mut hand_out: Option<Instant> = None;
            let next = loop {
                match still(&*source, &copies) {
                    Err(status) => break Err(status),
                    Ok(Some(left)) => {
                        copies = left;
                        break again::<T>(&*source, &process, &copies, &wanted).await;
                    }
                    Ok(None) => {}
                }
                let now = Instant::now();
                if look.take_if(|at| *at <= now).is_some() {
                    match moved(&*source, &process, &copies).await {
                        Err(status) => break Err(status),
                        Ok(Some(others)) => {
                            copies = others;
                            break shown::<T>(&*source, &copies, &wanted).await;
                        }
                        Ok(None) => {}
                    }
                }
                if hand_out.is_some_and(|at| at <= now) || rotate.is_some_and(|at| source.now() >= at) {
                    break again::<T>(&*source, &process, &copies, &wanted).await;
                }
                let rotation = now + until(&*source, rotate);
                let wake = [look, hand_out].into_iter().flatten().fold(rotation, Instant::min);
                tokio::select! {
                    () = tx.closed() => return,
                    _ = ended.changed() => {}
                    _ = entries.changed() => sooner(&mut look, jitter(&copies, URGENT)),
                    _ = bundles.changed() => {
                        let urgent = signed_by.as_ref().is_some_and(|id| !is_good(&*source, id));
                        sooner(&mut hand_out, jitter(&copies, if urgent { URGENT } else { CALM }));
                    }
                    () = tokio::time::sleep_until(wake) => {}
                }
            };
            match next {
                Ok(fresh) => state = fresh,
                Err(status) => {
                    let _ = tx.send(Err(status)).await;
                    return;
                }
            }
        }
    });
    Ok(Response::new(Updates(rx)))
}

/// The full state of what is asked for.
async fn shown<T: Stated>(source: &dyn Source, copies: &[Identified], wanted: &str) -> Result<Current<T>, Status> {
    T::fresh(source, &chosen(copies.to_vec(), wanted)?).await
}

/// As [`shown`], to a process that did not ask again: it must be what was seen of it.
async fn again<T: Stated>(
    source: &dyn Source,
    process: &Process,
    copies: &[Identified],
    wanted: &str,
) -> Result<Current<T>, Status> {
    source.check_seen(process, copies).await?;
    shown(source, copies, wanted).await
}

/// The copies that the process is instead of these, for what is still seen of it.
pub(crate) async fn moved(
    source: &dyn Source,
    process: &Process,
    copies: &[Identified],
) -> Result<Option<Vec<Identified>>, Status> {
    source.check_seen(process, copies).await?;
    source.moved(copies).await
}

/// The copies that have not ended, if others have; why, if all have.
fn still(source: &dyn Source, copies: &[Identified]) -> Result<Option<Vec<Identified>>, Status> {
    let Some(status) = source.ended(copies) else { return Ok(None) };
    let counts = |copy: &&Identified| source.ended(std::slice::from_ref(*copy)).is_none();
    let left: Vec<Identified> = copies.iter().filter(counts).cloned().collect();
    if left.is_empty() { Err(status) } else { Ok(Some(left)) }
}

/// Puts a moment no later than after a pause.
fn sooner(at: &mut Option<Instant>, pause: Duration) {
    let then = Instant::now() + pause;
    *at = Some(at.map_or(then, |at| at.min(then)));
}

fn is_good(source: &dyn Source, authority: &AuthorityId) -> bool {
    source.bundles().is_ok_and(|bundles| bundles.good.contains(authority))
}

/// How long to sleep before it is time to rotate, or to look at the time again.
fn until(source: &dyn Source, rotate: Option<Timestamp>) -> Duration {
    let left = |at: Timestamp| at.micros().saturating_sub(source.now().micros()).max(0).unsigned_abs();
    rotate.map_or(IDLE, |at| Duration::from_micros(left(at))).min(IDLE)
}

/// A part of `most` that differs from one copy to the next: when bundles or entries change, not everybody comes at once.
fn jitter(copies: &[Identified], most: Duration) -> Duration {
    let bytes = copies.first().map(|copy| copy.instance.to_bytes()).unwrap_or_default();
    let tail = bytes.last_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b));
    most.mul_f64(f64::from(tail) / f64::from(u16::MAX))
}

/// How long a stream sleeps at most before it looks at the time again.
const IDLE: Duration = Duration::from_secs(60);
/// Over how long new bundles are handed out. They are published well before they are needed.
const CALM: Duration = Duration::from_secs(5);
/// Over how long SVIDs of a tainted authority are issued anew, and callers are looked at whose entries may have changed.
const URGENT: Duration = Duration::from_millis(500);
