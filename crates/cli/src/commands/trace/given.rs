//! A file as it is traced: its bytes, or of a long one its digest.

use std::io::Read;

use http::Method;
use marque_core::Digest;
use marque_engine::Trace;

use super::look;
use crate::client::Client;
use crate::commands::encoded;
use crate::failure::Result;
use crate::files;

/// What was read of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// All of it.
    Whole(Vec<u8>),
    /// It has more than the API takes: its digest, and how many lines it has.
    Long { digest: Digest, lines: usize },
}

impl Given {
    /// Reads to the end, and keeps no more than the API takes.
    pub(super) fn read(from: impl Read) -> std::io::Result<Self> {
        Self::read_up_to(MOST_BYTES, from)
    }

    fn read_up_to(most: usize, mut from: impl Read) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        from.by_ref().take(most as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() <= most {
            return Ok(Self::Whole(bytes));
        }
        let mut all = Counted { from: bytes.as_slice().chain(from), ends: 0, last: b'\n' };
        let (digest, _) = files::digest(&mut all)?;
        Ok(Self::Long { digest, lines: all.lines() })
    }

    /// How many lines it has.
    pub(super) fn lines(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.split_inclusive(|b| *b == b'\n').count(),
            Self::Long { lines, .. } => *lines,
        }
    }

    /// Where it came from.
    pub(super) async fn look(self, client: &mut Client) -> Result<Trace> {
        let digest = match self {
            Self::Whole(bytes) => return look(client, bytes).await,
            Self::Long { digest, .. } => digest,
        };
        let path = format!("/v1/trace?digest={}", encoded(&digest.to_string()));
        client.send(Method::POST, &path, "application/octet-stream", Vec::<u8>::new().into()).await
    }
}

/// Counts lines while it is read.
struct Counted<R> {
    from: R,
    /// How many ends of lines there were.
    ends: usize,
    last: u8,
}

impl<R> Counted<R> {
    fn lines(&self) -> usize {
        self.ends + usize::from(self.last != b'\n')
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        let part = buffer.get(..count).unwrap_or_default();
        self.ends += part.iter().filter(|b| **b == b'\n').count();
        self.last = part.last().copied().unwrap_or(self.last);
        Ok(count)
    }
}

/// What the API takes of one file.
const MOST_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    #[test]
    fn of_what_is_long_only_the_digest_is_kept() {
        for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2), ("a long line\nand one\nmore", 3)] {
            let whole = Given::read_up_to(text.len(), text.as_bytes()).unwrap();
            assert_eq!((&whole, whole.lines()), (&Given::Whole(text.as_bytes().to_vec()), lines), "{text:?}");
            let Some(less) = text.len().checked_sub(1) else { continue };
            let digest = Digest::from_bytes(sha2::Sha256::digest(text).into());
            assert_eq!(Given::read_up_to(less, text.as_bytes()).unwrap(), Given::Long { digest, lines }, "{text:?}");
        }
    }
}
