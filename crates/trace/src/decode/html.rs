//! The text of HTML and XML.

use super::map::Mapped;
use super::{Part, Step};

/// The text between the tags, with character references decoded. A block element starts a line; comments, scripts and
/// styles are left out.
pub(super) fn text(bytes: &[u8]) -> Vec<Part> {
    if !is_markup(bytes) {
        return Vec::new();
    }
    let mut reader = Reader { bytes, out: Mapped::default(), quotes: true, tags: true };
    reader.read();
    vec![Part::text(Step::Html, reader.out)]
}

/// Whether there is an end tag, an empty element, a declaration or a character reference.
fn is_markup(bytes: &[u8]) -> bool {
    bytes.windows(2).enumerate().any(|(at, pair)| match pair {
        [b'<', b'!'] | [b'/', b'>'] => true,
        [b'<', b'/'] => bytes.get(at + 2).is_some_and(u8::is_ascii_alphabetic),
        [b'<', b'b' | b'B' | b'p' | b'P'] => true,
        [b'&', _] => reference(bytes, at).is_some(),
        _ => false,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    out: Mapped,
    /// Whether a tag's quotes are heeded: not any more once one was never closed.
    quotes: bool,
    /// Whether any tag may still end.
    tags: bool,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        while let Some(next) = self.find(at, |b| b == b'<' || b == b'&') {
            self.out.copy(self.bytes, at..next);
            at = match self.bytes.get(next) {
                Some(b'&') => self.reference(next),
                _ => self.tag(next),
            };
        }
        self.out.copy(self.bytes, at..self.bytes.len());
    }

    fn reference(&mut self, at: usize) -> usize {
        match reference(self.bytes, at) {
            Some((text, end)) => {
                self.out.put(text.as_bytes(), at);
                end
            }
            None => self.literal(at),
        }
    }

    /// Takes the character as it stands, and goes on after it.
    fn literal(&mut self, at: usize) -> usize {
        self.out.copy(self.bytes, at..at + 1);
        at + 1
    }

    /// Passes over a tag, and gives the place after it.
    fn tag(&mut self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"<!--") {
            return self.after(at + 4, b"-->").unwrap_or(self.bytes.len());
        }
        let starts = rest.get(1).is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'/' | b'!' | b'?'));
        let Some(end) = starts.then(|| self.end(at + 1)).flatten() else { return self.literal(at) };
        let name = name(rest);
        if BLOCKS.contains(&name.as_str()) && self.out.bytes().last().is_some_and(|b| *b != b'\n') {
            self.out.put(b"\n", at);
        }
        if matches!(name.as_str(), "script" | "style") && rest.get(1) != Some(&b'/') {
            // What is in it is no text.
            return self.after(end, b"</").map_or(self.bytes.len(), |n| n - 2);
        }
        end
    }

    /// The place after the `>` that ends a tag.
    fn end(&mut self, from: usize) -> Option<usize> {
        if self.quotes {
            let mut quote = None;
            for (n, byte) in self.bytes.get(from..)?.iter().enumerate() {
                match (quote, byte) {
                    (None, b'>') => return Some(from + n + 1),
                    (None, b'"' | b'\'') => quote = Some(byte),
                    (Some(open), _) if open == byte => quote = None,
                    _ => {}
                }
            }
            self.quotes = false;
        }
        let end = self.tags.then(|| self.find(from, |b| b == b'>')).flatten();
        self.tags = end.is_some();
        Some(end? + 1)
    }

    fn find(&self, from: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
        self.bytes.get(from..)?.iter().position(|b| wanted(*b)).map(|n| from + n)
    }

    fn after(&self, from: usize, mark: &[u8]) -> Option<usize> {
        let rest = self.bytes.get(from..)?;
        rest.windows(mark.len()).position(|window| window == mark).map(|n| from + n + mark.len())
    }
}

/// The local name of the tag at the start, in lower case.
fn name(tag: &[u8]) -> String {
    let tag = tag.iter().skip(1).skip_while(|b| **b == b'/').take(MOST_NAME);
    let name: Vec<u8> = tag.take_while(|b| b.is_ascii_alphanumeric() || **b == b':').map(u8::to_ascii_lowercase).collect();
    let local = name.rsplit(|b| *b == b':').next().unwrap_or_default();
    String::from_utf8_lossy(local).into_owned()
}

/// What the character reference at a place stands for, and the place after it.
fn reference(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let rest = bytes.get(at..bytes.len().min(at + MOST_REFERENCE))?;
    let length = rest.iter().position(|b| *b == b';')? + 1;
    let written = str::from_utf8(rest.get(..length)?).ok()?;
    let plain = written.chars().skip(1).all(|c| c.is_ascii_alphanumeric() || matches!(c, '#' | ';'));
    let text = plain.then(|| html_escape::decode_html_entities(written))?;
    (text != written).then(|| (text.into_owned(), at + length))
}

const BLOCKS: [&str; 26] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "p",
    "pre",
    "section",
    "table",
    "tr",
];

const MOST_NAME: usize = 32;

/// The longest name is `CounterClockwiseContourIntegral`.
const MOST_REFERENCE: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(html: &str) -> Option<String> {
        text(html.as_bytes()).pop().map(|part| String::from_utf8(part.bytes).unwrap())
    }

    #[test]
    fn tags_go_and_references_are_decoded() {
        let html = "<!DOCTYPE html><p class=\"a>b\">Fish <b>&amp;</b> ch<i>ips</i>&#33;<br/>&eacute;&nbsp;x</p><p>y</p>";
        assert_eq!(read(html).unwrap(), "Fish & chips!\né\u{a0}x\ny\n");
    }

    #[test]
    fn what_is_not_shown_is_left_out() {
        let html = "a<!-- b --><script>if (a < b) { c }</script>d<STYLE>p > e</STYLE>f<!-- never closed";
        assert_eq!(read(html).unwrap(), "adf");
    }

    #[test]
    fn office_xml_has_lines() {
        let xml = "<w:p><w:r><w:t>One</w:t></w:r></w:p><w:p><w:t>Two</w:t></w:p>";
        assert_eq!(read(xml).unwrap(), "One\nTwo\n");
    }

    #[test]
    fn what_is_no_tag_stays() {
        assert_eq!(read("if a < b && c > d").as_deref(), None);
        assert_eq!(read("1 < 2 &amp; 3 <4 &unknown; &").unwrap(), "1 < 2 & 3 <4 &unknown; &");
        assert_eq!(read("<p>x <a href=\"never closed> y</p> z").unwrap(), "x  y\n z");
        assert_eq!(read("</p><p").unwrap(), "<p");
    }
}
