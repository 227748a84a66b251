//! Receipts that a text carries itself: git trailers and marker lines.

use std::ops::Range;

/// A receipt that was found in a text. Nobody has verified it: anyone can write one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What it stood in.
    pub carrier: Carrier,
    /// The identifier, as it was written: `rec_…`.
    pub id: String,
    /// Where the identifier stands in the text.
    pub bytes: Range<usize>,
}

/// What a receipt stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A line `Agent-Action: rec_…`, as in the trailers of a git commit message (git-interpret-trailers).
    Trailer,
    /// `marque-record: rec_…` anywhere, such as in a comment of HTML or Markdown.
    Marker,
}

impl Carrier {
    /// The word before the colon.
    pub fn key(self) -> &'static str {
        match self {
            Self::Trailer => "Agent-Action",
            Self::Marker => "marque-record",
        }
    }
}

/// Finds the receipts in a text, in its order; at most 1,000 of them. The caller verifies each.
///
/// A trailer starts its line, which may be indented or quoted as `git log` and mail programs do. Keys are compared
/// without regard to case.
pub fn receipts(text: &str) -> Vec<Receipt> {
    let mut found = Vec::new();
    for (colon, _) in text.match_indices(':') {
        let (before, after) = (text.get(..colon).unwrap_or_default(), text.get(colon + 1..).unwrap_or_default());
        let Some(carrier) = carrier(before) else { continue };
        let value = after.trim_start_matches([' ', '\t']);
        let start = text.len() - value.len();
        let length = value.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(value.len());
        let id = value.get(..length).unwrap_or_default();
        if id.strip_prefix(PREFIX).is_some_and(|rest| !rest.is_empty() && id.len() <= MOST_ID) {
            found.push(Receipt { carrier, id: id.to_owned(), bytes: start..start + length });
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// The carrier whose key a text ends with.
fn carrier(before: &str) -> Option<Carrier> {
    [Carrier::Trailer, Carrier::Marker].into_iter().find(|carrier| {
        let key = carrier.key();
        let at = before.len().wrapping_sub(key.len());
        let Some(written) = before.get(at..) else { return false };
        if !written.eq_ignore_ascii_case(key) {
            return false;
        }
        let line = before.get(..at).unwrap_or_default();
        match carrier {
            Carrier::Trailer => {
                line.trim_end_matches([' ', '\t', '>', '+', '|', '#', '*']).chars().next_back().is_none_or(is_break)
            }
            Carrier::Marker => line.chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '-' && c != '_'),
        }
    })
}

fn is_break(c: char) -> bool {
    c == '\n' || c == '\r'
}

const PREFIX: &str = "rec_";

const MOST: usize = 1000;

/// Longer than any identifier.
const MOST_ID: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "rec_01JZZZZZZZZZZZZZZZZZZZZZZZ";

    fn found(text: &str) -> Vec<(Carrier, String)> {
        receipts(text).into_iter().inspect(|r| assert_eq!(text[r.bytes.clone()], r.id)).map(|r| (r.carrier, r.id)).collect()
    }

    #[test]
    fn trailers_are_found_at_the_start_of_a_line() {
        for text in [
            format!("Fix the report\n\nAgent-Action: {ID}\nSigned-off-by: A <a@b>\n"),
            format!("Agent-Action: {ID}"),
            format!("commit abc\r\n    Agent-action:\t{ID}\r\n"),
            format!("> > agent-action:{ID} # why"),
        ] {
            assert_eq!(found(&text), [(Carrier::Trailer, ID.to_owned())], "{text}");
        }
        assert_eq!(found(&format!("the trailer Agent-Action: {ID}")), []);
    }

    #[test]
    fn markers_are_found_anywhere() {
        for text in [
            format!("<p>x</p><!-- marque-record: {ID} -->"),
            format!("text (marque-record: {ID}) text"),
            format!("[//]: # (Marque-Record: {ID})"),
        ] {
            assert_eq!(found(&text), [(Carrier::Marker, ID.to_owned())], "{text}");
        }
    }

    #[test]
    fn what_is_no_receipt_is_none() {
        for text in
            ["Agent-Action: ", "Agent-Action: rec_", "Agent-Action: task_1", "x-marque-record: rec_1", ": rec_1", "é: rec_1"]
        {
            assert_eq!(found(text), [], "{text}");
        }
        assert_eq!(found(&format!("Agent-Action: rec_{}", "A".repeat(1000))), []);
    }

    #[test]
    fn many_are_bounded() {
        assert_eq!(receipts(&format!("Agent-Action: {ID}\n").repeat(1001)).len(), 1000);
    }
}
