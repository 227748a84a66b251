//! The texts of a call and of its answer: what files and messages are found by again.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use marque_core::Digest;
use marque_core::record::Content;
use marque_engine::{content_within, sha256};
use serde_json::{Map, Value};

/// A request's arguments, the digest of its bytes, and its texts. What is long is worked through off the async threads.
pub async fn requested(arguments: Value, at: &'static str, body: Bytes) -> (Value, Digest, Vec<Content>) {
    if body.len() <= AT_ONCE {
        let contents = texts(&arguments, at);
        return (arguments, sha256(&body), contents);
    }
    let arguments = Arc::new(arguments);
    let work = {
        let (arguments, body) = (Arc::clone(&arguments), body.clone());
        tokio::task::spawn_blocking(move || (sha256(&body), texts(&arguments, at)))
    };
    let (digest, contents) = work.await.unwrap_or_else(|_| (sha256(&body), Vec::new()));
    (Arc::unwrap_or_clone(arguments), digest, contents)
}

/// A copy of a response's body as it passes, as far as its texts are wanted and known to be.
#[derive(Debug, Default)]
pub struct Kept {
    headers: HeaderMap,
    /// Nothing where there is nothing to be found in it, or too much.
    bytes: Option<Vec<u8>>,
}

impl Kept {
    /// For a response with these headers: JSON and event streams, not compressed.
    pub fn of(headers: &HeaderMap) -> Self {
        let plain = headers.get(CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        if !plain || !(is_json(headers) || is_stream(headers)) {
            return Self::default();
        }
        let kind = headers.get(CONTENT_TYPE).map(|value| (CONTENT_TYPE, value.clone()));
        Self { headers: kind.into_iter().collect(), bytes: Some(Vec::new()) }
    }

    /// Takes the next piece. A body that grows beyond the bound is let go whole: parts of JSON cannot be read.
    pub fn push(&mut self, piece: &[u8]) {
        if let Some(bytes) = &mut self.bytes {
            if bytes.len().saturating_add(piece.len()) > MOST_KEPT {
                self.bytes = None;
            } else {
                bytes.extend_from_slice(piece);
            }
        }
    }

    /// The texts of the results in it.
    pub async fn contents(self) -> Vec<Content> {
        let Some(bytes) = self.bytes else { return Vec::new() };
        if bytes.len() <= AT_ONCE {
            return returned(&self.headers, &bytes);
        }
        tokio::task::spawn_blocking(move || returned(&self.headers, &bytes)).await.unwrap_or_default()
    }
}

/// The JSON-RPC messages of a response, whether it came as JSON or as an event stream (WHATWG HTML §9.2).
pub fn messages(headers: &HeaderMap, bytes: &[u8]) -> Vec<Value> {
    if !is_stream(headers) {
        return serde_json::from_slice(bytes).into_iter().collect();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let events = text.split("\n\n").map(|event| {
        let data = event.lines().filter_map(|l| l.strip_prefix("data:")).map(|d| d.strip_prefix(' ').unwrap_or(d));
        data.collect::<Vec<_>>().join("\n")
    });
    events.filter_map(|data| serde_json::from_str(&data).ok()).collect()
}

fn returned(headers: &HeaderMap, bytes: &[u8]) -> Vec<Content> {
    let mut results: Vec<Value> =
        messages(headers, bytes).iter_mut().filter_map(|message| Some(message.get_mut("result")?.take())).collect();
    match results.pop() {
        Some(only) if results.is_empty() => texts(&only, "/result"),
        Some(last) => {
            results.push(last);
            texts(&Value::Array(results), "/result")
        }
        None => Vec::new(),
    }
}

/// The digests of the texts of a value: of each string long enough to tell one output from another, and of what stands in
/// it as base64. Where there are very many, of the longest; together they have no more fingerprints than one record may.
fn texts(value: &Value, at: &str) -> Vec<Content> {
    let mut found = Vec::new();
    gather(value, at, &mut found);
    longest(&mut found);
    let mut seen = HashSet::new();
    found.retain(|text| seen.insert(text.bytes.clone()));
    let shares = shares(&found);
    found.iter().zip(shares).map(|(text, most)| content_within(&text.at, &text.bytes, most)).collect()
}

/// A text and where it stands.
struct Text<'a> {
    at: String,
    bytes: Cow<'a, [u8]>,
}

fn gather<'a>(value: &'a Value, at: &str, out: &mut Vec<Text<'a>>) {
    match value {
        Value::String(text) if text.len() >= MIN_TEXT => {
            out.push(Text { at: at.to_owned(), bytes: Cow::Borrowed(text.as_bytes()) });
            if out.len() >= 16 * MAX_TEXTS {
                longest(out);
            }
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(n, v)| gather(v, &below(at, &n.to_string()), out)),
        Value::Object(map) => {
            let packed = packed(map);
            for (key, value) in map {
                let at = below(at, &key.replace('~', "~0").replace('/', "~1"));
                match packed.as_ref().filter(|(name, _)| name == key) {
                    Some((_, bytes)) => out.push(Text { at, bytes: Cow::Owned(bytes.clone()) }),
                    None => gather(value, &at, out),
                }
            }
        }
        _ => {}
    }
}

/// Images, sounds and other files stand in MCP's contents as base64 (`data`, `blob`), beside their media type: whoever saves
/// one has the bytes that it stands for.
fn packed(map: &Map<String, Value>) -> Option<(&'static str, Vec<u8>)> {
    map.get("mimeType")?;
    let name = ["data", "blob"].into_iter().find(|name| map.get(*name).is_some_and(Value::is_string))?;
    let bytes = BASE64_STANDARD.decode(map.get(name)?.as_str()?).ok()?;
    (bytes.len() >= MIN_TEXT).then_some((name, bytes))
}

/// The pointer of a member. One that would grow too long for an entry of the log stays that of what it is in.
fn below(at: &str, name: &str) -> String {
    if at.len() + 1 + name.len() > MAX_POINTER { at.to_owned() } else { format!("{at}/{name}") }
}

/// Leaves the longest, in their order.
fn longest(texts: &mut Vec<Text<'_>>) {
    if texts.len() <= MAX_TEXTS {
        return;
    }
    let mut order: Vec<(usize, usize)> = texts.iter().enumerate().map(|(n, text)| (text.bytes.len(), n)).collect();
    order.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let stays: HashSet<usize> = order.iter().take(MAX_TEXTS).map(|(_, n)| *n).collect();
    let mut n = 0;
    texts.retain(|_| {
        n += 1;
        stays.contains(&(n - 1))
    });
}

/// How many fingerprints each text may have: as many as it has by its length, as long as what is left suffices for all that
/// are longer.
fn shares(texts: &[Text<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|n| texts.get(*n).map_or(0, |text| text.bytes.len()));
    let mut shares = vec![1; texts.len()];
    let (mut left, mut waiting) = (MAX_PRINTS, texts.len());
    for n in order {
        let length = texts.get(n).map_or(0, |text| text.bytes.len());
        let share = (length / BYTES_A_PRINT + 1).min(left / waiting.max(1)).max(1);
        left = left.saturating_sub(share);
        waiting -= 1;
        if let Some(slot) = shares.get_mut(n) {
            *slot = share;
        }
    }
    shares
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind == "application/json" || kind.ends_with("+json")
}

/// Whether a response is an event stream.
pub fn is_stream(headers: &HeaderMap) -> bool {
    media_type(headers) == "text/event-stream"
}

/// The media type, without its parameters.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Shorter texts are everywhere.
const MIN_TEXT: usize = 16;
/// The most texts of one record.
const MAX_TEXTS: usize = 64;
/// The most fingerprints of one record, over all of its texts.
const MAX_PRINTS: usize = 512;
/// There is at least so much text to a fingerprint, on the average.
const BYTES_A_PRINT: usize = 8;
/// 64 pointers must fit beside one entry, with the rest of what is kept back of it.
const MAX_POINTER: usize = 200;
/// The most that is kept of a response until it has ended.
const MOST_KEPT: usize = 256 << 10;
/// What takes two milliseconds at most.
const AT_ONCE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    fn places(contents: &[Content]) -> Vec<&str> {
        contents.iter().map(|content| content.at.as_str()).collect()
    }

    #[test]
    fn texts_are_told_by_their_places() {
        let value = json!({ "a/b": ["short", "a text of sixteen and more"], "c~": { "d": "another one that is long enough" } });
        let found = texts(&value, "/x");
        assert_eq!(places(&found), ["/x/a~1b/1", "/x/c~0/d"]);
        assert_eq!(found[0].exact, sha256(b"a text of sixteen and more"));
        // The same text again says nothing new.
        assert_eq!(places(&texts(&json!(["one and the same text", "one and the same text"]), "")), ["/0"]);
    }

    #[test]
    fn files_in_base64_are_their_bytes() {
        let bytes = [0_u8, 159, 146, 150, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
        let image = json!({ "type": "image", "mimeType": "image/png", "data": BASE64_STANDARD.encode(bytes) });
        let found = texts(&json!({ "content": [image] }), "/result");
        assert_eq!((places(&found), found[0].bytes), (vec!["/result/content/0/data"], bytes.len() as u64));
        assert_eq!(found[0].exact, sha256(&bytes));
        // What only looks so stays a text.
        let text = json!({ "mimeType": "text/plain", "data": "this is no base64 at all" });
        assert_eq!(texts(&text, "")[0].exact, sha256(b"this is no base64 at all"));
    }

    #[test]
    fn count_fingerprints_and_pointers_are_bounded() {
        let words = |n: usize, count: usize| (0..count).map(|w| format!("word{n}x{} ", w * 7919)).collect::<String>();
        let many: Vec<String> = (0..2000).map(|n| words(n, if n % 10 == 0 { 60 } else { 3 })).collect();
        let found = texts(&json!(many), "");
        assert_eq!(found.len(), 64);
        assert!(found.iter().all(|content| content.bytes > 300), "the longest stay");
        let prints: usize = found.iter().map(|content| content.prints.as_slice().len()).sum();
        assert!((64..=512).contains(&prints), "{prints}");
        let two = texts(&json!([words(1, 2000), words(2, 5), words(3, 2000)]), "");
        let prints: Vec<usize> = two.iter().map(|content| content.prints.as_slice().len()).collect();
        assert!(prints[0] > 100 && prints[2] > 100 && prints[1] >= 1 && prints.iter().sum::<usize>() <= 512, "{prints:?}");
        let deep = (0..300).fold(json!("a text at the bottom of it all"), |inner, _| json!({ "a long name": inner }));
        let found = texts(&deep, "/params");
        assert!(found.len() == 1 && found[0].at.len() <= MAX_POINTER && found[0].at.starts_with("/params/a long name/"));
    }

    #[tokio::test]
    async fn results_are_read_from_json_and_from_events() {
        let message = |text: &str| json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [{ "text": text }] } }).to_string();
        let mut json = Kept::of(&headers("application/json; charset=utf-8"));
        let body = message("the first answer of the server");
        body.as_bytes().chunks(7).for_each(|piece| json.push(piece));
        assert_eq!(places(&json.contents().await), ["/result/content/0/text"]);
        let notice = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"nobody's result, but long"}}"#;
        let two = format!(
            ": hi\r\n\r\ndata: {notice}\r\n\r\nid: 1\r\ndata: {}\r\n\r\ndata:{}\n\n",
            message("the first answer of the server"),
            message("the second answer of the server")
        );
        let mut stream = Kept::of(&headers("text/event-stream"));
        stream.push(two.as_bytes());
        assert_eq!(places(&stream.contents().await), ["/result/0/content/0/text", "/result/1/content/0/text"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_is_too_long_has_no_texts() {
        let message = json!({ "result": { "text": "x".repeat(100) } }).to_string();
        let long = json!({ "result": { "text": "long text ".repeat(30_000) } }).to_string();
        let mut coded = headers("application/json");
        coded.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        for (headers, body) in [
            (headers("text/html"), message.as_str()),
            (HeaderMap::new(), &message),
            (coded, &message),
            (headers("application/json"), &message[..message.len() - 1]),
            (headers("application/json"), &long),
            (headers("application/json"), r#"{"error":{"message":"an error is no result of anything"}}"#),
        ] {
            let mut kept = Kept::of(&headers);
            kept.push(body.as_bytes());
            assert_eq!(kept.contents().await, [], "{headers:?}");
        }
    }

    #[tokio::test]
    async fn long_requests_are_the_same_off_the_async_threads() {
        let arguments = json!({ "body": "a sentence of some report. ".repeat(10_000) });
        let body = Bytes::from(arguments.to_string());
        let (back, digest, contents) = requested(arguments.clone(), "/params/arguments", body.clone()).await;
        assert_eq!((&back, digest), (&arguments, sha256(&body)));
        assert_eq!(contents, texts(&arguments, "/params/arguments"));
    }
}
