//! Moments as people write them.

use std::str::FromStr;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::Deserialize;

use crate::ParseError;
use crate::time::{Timestamp, Ttl};

/// A moment, or how long ago it was: `2026-03-01T09:30:00Z` (RFC 3339), `2026-03-01` for the start of that day in UTC, or
/// `2h`, `7d` before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum When {
    /// At this moment.
    At(Timestamp),
    /// So long before now.
    Ago(Ttl),
}

impl When {
    /// The moment that is meant, at `now`.
    pub const fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            // A length of time is a century at most.
            Self::Ago(ago) => Timestamp::from_micros(now.micros().saturating_sub(ago.seconds() as i64 * 1_000_000)),
        }
    }
}

impl FromStr for When {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // A bare number would be seconds ago to one reader and seconds since 1970 to another.
        if text.ends_with(|c: char| c.is_ascii_lowercase())
            && let Ok(ago) = text.parse()
        {
            return Ok(Self::Ago(ago));
        }
        let error =
            || ParseError::new("a moment as `2026-03-01T09:30:00Z` or `2026-03-01`, or how long ago, as `2h` or `7d`", text);
        let whole = if text.len() == DATE { format!("{text}T00:00:00Z") } else { text.to_owned() };
        let moment = OffsetDateTime::parse(&whole, &Rfc3339).map_err(|_| error())?;
        let micros = moment.unix_timestamp_nanos().div_euclid(1000);
        i64::try_from(micros).map(|micros| Self::At(Timestamp::from_micros(micros))).map_err(|_| error())
    }
}

impl TryFrom<String> for When {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

/// The length of `2026-03-01`.
const DATE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_760_000_000);

    fn at(text: &str) -> i64 {
        text.parse::<When>().unwrap().at(NOW).micros()
    }

    #[test]
    fn moments_are_read_in_any_offset() {
        assert_eq!(at("1970-01-01T00:00:00Z"), 0);
        assert_eq!(at("1970-01-02"), 86_400_000_000);
        assert_eq!(at("2025-10-09T08:53:20Z"), NOW.micros());
        assert_eq!(at("2025-10-09T10:53:20.000001+02:00"), NOW.micros() + 1);
        assert_eq!(at("1969-12-31T23:59:59.9999999Z"), -1, "rounded down, as everywhere");
        // What is printed reads back.
        assert_eq!(at(&Timestamp::from_micros(1_760_000_000_123_000).to_string()), 1_760_000_000_123_000);
    }

    #[test]
    fn how_long_ago_is_before_now() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(at(text), NOW.micros() - seconds * 1_000_000, "{text}");
        }
        let long_ago = format!("{}d", u64::MAX);
        assert!(at(&long_ago) < 0, "a century at most, and no overflow");
        assert_eq!(When::Ago(Ttl::from_seconds(1)).at(Timestamp::from_micros(i64::MIN)).micros(), i64::MIN);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in
            ["", "now", "2", "1760000000", "-2h", "2 h", "2w", "2026-13-01", "2026-03-01T09:30:00", "09:30", "2026-3-1Z", "ä"]
        {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
    }
}
