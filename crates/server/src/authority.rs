//! gRPC clients on Unix sockets put the socket's path into `:authority`: percent-encoded (gRPC C-core, and so Python) or
//! raw (gRPC Java). Neither is an authority of RFC 3986 §3.2, and the HTTP/2 library resets such a request
//! (hyperium/h2#487). On a Unix socket the field means nothing, so that here, on the way in, each byte of it that an
//! authority cannot have becomes `-`. Lengths stay as they are, and with them frames and the header table.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A server's HTTP/2 stream whose requests may have any `:authority`.
pub struct AnyAuthority<S> {
    inner: S,
    /// Bytes that were read and wait for the rest of their frame.
    raw: Vec<u8>,
    /// Bytes that may be read by the library.
    done: Vec<u8>,
    given: usize,
    /// How many bytes of the connection preface (RFC 9113 §3.4) and of frames without headers still pass unseen.
    pass: usize,
}

impl<S> AnyAuthority<S> {
    /// Wraps a stream that a client has just opened.
    pub fn new(inner: S) -> Self {
        Self { inner, raw: Vec::new(), done: Vec::new(), given: 0, pass: PREFACE }
    }

    /// Moves whole pieces from `raw` to `done`.
    fn sort(&mut self) {
        loop {
            if self.pass > 0 {
                let count = self.pass.min(self.raw.len());
                self.done.extend(self.raw.drain(..count));
                self.pass -= count;
                if self.pass > 0 {
                    return;
                }
            }
            let Some([a, b, c, kind, flags, ..]) = self.raw.first_chunk::<FRAME_HEAD>().copied() else { return };
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind != HEADERS || length > LARGEST {
                self.pass = FRAME_HEAD + length;
                continue;
            }
            if self.raw.len() < FRAME_HEAD + length {
                return;
            }
            let mut frame: Vec<u8> = self.raw.drain(..FRAME_HEAD + length).collect();
            let padded = usize::from(flags & 0x8 != 0);
            let priority = if flags & 0x20 != 0 { 5 } else { 0 };
            if let Some(block) = frame.get_mut(FRAME_HEAD + padded + priority..) {
                mend(block);
            }
            self.done.append(&mut frame);
        }
    }
}

/// Walks a header block (RFC 7541 §6) and mends the value of `:authority`, where it is written out as plain text.
fn mend(block: &mut [u8]) {
    let mut at = 0;
    while let Some(first) = block.get(at).copied() {
        let prefix = match first {
            0x80.. => 7,
            0x40..=0x7f => 6,
            0x20..=0x3f => 5,
            _ => 4,
        };
        let Some((index, next)) = integer(block, at, prefix) else { return };
        at = next;
        if prefix == 7 || prefix == 5 {
            continue;
        }
        let mut is_authority = index == STATIC_AUTHORITY;
        if index == 0 {
            let Some((start, end, huffman)) = string(block, at) else { return };
            is_authority = !huffman && block.get(start..end) == Some(b":authority");
            at = end;
        }
        let Some((start, end, huffman)) = string(block, at) else { return };
        if is_authority && !huffman {
            let bytes = block.get_mut(start..end).into_iter().flatten();
            bytes.filter(|b| !is_host_byte(**b)).for_each(|b| *b = b'-');
        }
        at = end;
    }
}

/// An integer with a prefix of some bits (RFC 7541 §5.1), and where it ends.
fn integer(block: &[u8], at: usize, prefix: u8) -> Option<(usize, usize)> {
    let mask = (1_u8 << prefix) - 1;
    let mut value = usize::from(block.get(at)? & mask);
    let mut at = at + 1;
    if value < usize::from(mask) {
        return Some((value, at));
    }
    for shift in (0..28).step_by(7) {
        let byte = *block.get(at)?;
        at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

/// Where a string begins and ends, and whether it is Huffman-coded (RFC 7541 §5.2).
fn string(block: &[u8], at: usize) -> Option<(usize, usize, bool)> {
    let huffman = block.get(at)? & 0x80 != 0;
    let (length, start) = integer(block, at, 7)?;
    let end = start.checked_add(length).filter(|end| *end <= block.len())?;
    Some((start, end, huffman))
}

fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']')
}

impl<S: AsyncRead + Unpin> AsyncRead for AnyAuthority<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let waiting = self.done.get(self.given..).unwrap_or_default();
            if !waiting.is_empty() {
                let count = waiting.len().min(out.remaining());
                out.put_slice(waiting.get(..count).unwrap_or_default());
                self.given += count;
                return Poll::Ready(Ok(()));
            }
            self.done.clear();
            self.given = 0;
            let mut space = [0; 8192];
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                // The end: what is not a whole frame is the library's to judge.
                let rest = std::mem::take(&mut self.raw);
                if rest.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.done = rest;
                continue;
            }
            self.raw.extend_from_slice(buffer.filled());
            self.sort();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnyAuthority<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const STATIC_AUTHORITY: usize = 1;
/// The largest frame that a peer may send before it is told otherwise (RFC 9113 §4.2).
const LARGEST: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        [&length.to_be_bytes()[1..], &[kind, 0x4, 0, 0, 0, 1], payload].concat()
    }

    /// As gRPC C-core writes it: the name spelled out, the path percent-encoded.
    fn headers(authority: &[u8]) -> Vec<u8> {
        let name = b":authority";
        let mut block = vec![0x83, 0x40, name.len() as u8];
        block.extend_from_slice(name);
        block.push(authority.len() as u8);
        block.extend_from_slice(authority);
        block.extend_from_slice(&[0x41, 2, b'/', b'x', 0x86]);
        block
    }

    async fn through(bytes: Vec<u8>, step: usize) -> Vec<u8> {
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        let writer = tokio::spawn(async move {
            for piece in bytes.chunks(step) {
                tokio::io::AsyncWriteExt::write_all(&mut ours, piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut out = Vec::new();
        AnyAuthority::new(theirs).read_to_end(&mut out).await.unwrap();
        writer.await.unwrap();
        out
    }

    #[tokio::test]
    async fn only_the_authority_changes_however_the_bytes_arrive() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let data = frame(0, b"\x01:authority%2F");
        let sent = [preface.clone(), frame(4, b""), frame(1, &headers(b"tmp%2Fa.sock")), data.clone()].concat();
        let mut expected_block = headers(b"tmp-2Fa.sock");
        let path = expected_block.len() - 3;
        expected_block[path] = b'-';
        let expected = [preface, frame(4, b""), frame(1, &expected_block), data].concat();
        for step in [1, 2, 7, 9, 100, 10_000] {
            assert_eq!(through(sent.clone(), step).await, expected, "in pieces of {step}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_block_passes() {
        for junk in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], b"x", b"", &[0xff; 300]] {
            assert_eq!(through(junk.to_vec(), 5).await, junk);
        }
        let torn = frame(1, &[0x40, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let sent = [vec![b'p'; 24], torn].concat();
        assert_eq!(through(sent.clone(), 3).await, sent);
    }
}
