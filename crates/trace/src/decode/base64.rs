//! Blocks of base64 (RFC 4648) in a text.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Part, Step, packed};

/// The blocks that decode to something readable: text, or something packed. A block is one long word, or lines of the
/// same length that have nothing else in them.
pub(super) fn blocks(bytes: &[u8]) -> Vec<Part> {
    let (mut out, mut block) = (Vec::new(), Block::default());
    for line in bytes.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if !block.goes_on(line) {
            out.extend(block.take().and_then(|word| decoded(&word)));
        }
        if is_word(line) && line.len() >= LEAST_LINE {
            block.add(line);
        } else if block.lines > 0 && is_word(line) && !line.is_empty() {
            // The last line of a block is shorter.
            block.add(line);
            out.extend(block.take().and_then(|word| decoded(&word)));
        } else {
            out.extend(block.take().and_then(|word| decoded(&word)));
            let words = line.split(|b| !is_sign(*b)).filter(|word| word.len() >= LEAST_WORD);
            out.extend(words.filter_map(decoded));
        }
    }
    out.extend(block.take().and_then(|word| decoded(&word)));
    out
}

#[derive(Default)]
struct Block {
    word: Vec<u8>,
    width: usize,
    lines: usize,
}

impl Block {
    /// Whether a line may belong to the block.
    fn goes_on(&self, line: &[u8]) -> bool {
        self.lines == 0 || line.len() <= self.width
    }

    fn add(&mut self, line: &[u8]) {
        self.width = if self.lines == 0 { line.len() } else { self.width };
        self.lines += 1;
        self.word.extend_from_slice(line);
        if line.len() < self.width {
            // Nothing follows a shorter line.
            self.width = 0;
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let block = std::mem::take(self);
        (block.word.len() >= LEAST_WORD).then_some(block.word)
    }
}

fn decoded(word: &[u8]) -> Option<Part> {
    let end = word.iter().rposition(|b| *b != b'=')? + 1;
    let mut word: Vec<u8> = word.get(..end)?.to_vec();
    for sign in &mut word {
        match sign {
            b'-' => *sign = b'+',
            b'_' => *sign = b'/',
            _ => {}
        }
    }
    // A sign alone at the end of a block that was cut says nothing.
    let whole = word.len() - usize::from(word.len() % 4 == 1);
    let bytes = ENGINE.decode(word.get(..whole)?).ok()?;
    readable(&bytes).then(|| Part::unpacked(Step::Base64, bytes))
}

/// Whether bytes are packed, or text that may be cut in its last character.
fn readable(bytes: &[u8]) -> bool {
    let text = match str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    packed::is_packed(bytes) || (text && !bytes.contains(&0))
}

fn is_word(line: &[u8]) -> bool {
    line.iter().all(|b| is_sign(*b))
}

fn is_sign(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
}

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

const LEAST_WORD: usize = 64;

const LEAST_LINE: usize = 40;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    const TEXT: &str = "A report about foxes — the quick brown fox jumps over the lazy dog, and nobody minds it at all.";

    fn found(text: &str) -> Vec<String> {
        blocks(text.as_bytes()).into_iter().map(|part| String::from_utf8_lossy(&part.bytes).into_owned()).collect()
    }

    #[test]
    fn words_and_lines_are_decoded() {
        let word = STANDARD.encode(TEXT);
        assert_eq!(found(&word), [TEXT]);
        assert_eq!(found(&format!("see data:text/plain;base64,{word} and")), [TEXT]);
        assert_eq!(found(&format!("<{}>", URL_SAFE_NO_PAD.encode(TEXT))), [TEXT]);
        let (first, rest) = word.split_at(60);
        let (second, last) = rest.split_at(60);
        let lines = format!("Content-Transfer-Encoding: base64\r\n\r\n{first}\r\n{second}\r\n{last}\r\n\r\n--x\r\n");
        assert_eq!(found(&lines), [TEXT]);
        let two = format!("{first}\n{second}\n{last}\n{first}\n{second}\n{last}\n");
        assert_eq!(found(&two), [TEXT, TEXT]);
    }

    #[test]
    fn what_does_not_decode_to_something_readable_is_no_block() {
        assert!(found(&"c0ffee".repeat(20)).is_empty());
        assert!(found(&STANDARD.encode([0xff; 90])).is_empty());
        assert!(found("averylongwordthatgoesonandonbutnot64").is_empty());
    }
}
