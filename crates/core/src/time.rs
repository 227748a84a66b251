//! Time and fresh identifiers as values: clocks and randomness live at the edge, in the engine's `Env`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use ulid::Ulid;

/// A moment, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From seconds since the Unix epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `ttl` after it; saturates at the end of time.
    pub const fn plus(self, ttl: Ttl) -> Self {
        Self(self.0.saturating_add((ttl.0 as i64).saturating_mul(1_000_000)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000) {
            Ok(t) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second(),
                t.millisecond()
            ),
            Err(_) => write!(f, "{}µs", self.0),
        }
    }
}

/// A length of time, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Ttl(u64);

/// As from seconds: what is read is a century at most too, so that no moment behind it is before it.
impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_seconds)
    }
}

impl Ttl {
    /// From seconds; anything above a century is a century.
    pub const fn from_seconds(seconds: u64) -> Self {
        const CENTURY: u64 = 100 * 366 * 86_400;
        Self(if seconds > CENTURY { CENTURY } else { seconds })
    }

    /// From minutes.
    pub const fn from_minutes(minutes: u64) -> Self {
        Self::from_seconds(minutes.saturating_mul(60))
    }

    /// Seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s >= 3600 && s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s >= 60 && s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl std::str::FromStr for Ttl {
    type Err = crate::ParseError;

    /// `90s`, `15m`, `2h`, `1d`; a bare number is seconds.
    fn from_str(text: &str) -> Result<Self, crate::ParseError> {
        let error = || crate::ParseError::new("a duration such as `90s`, `15m`, `2h`", text);
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..).ok_or_else(error)? {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(error()),
        };
        let number: u64 = digits.parse().map_err(|_| error())?;
        Ok(Self::from_seconds(number.saturating_mul(unit)))
    }
}

/// The context of one change: the moment it happens, and a source of fresh 128-bit values for identifiers.
pub struct Cx<'a> {
    /// The moment of the change.
    pub now: Timestamp,
    entropy: &'a mut dyn FnMut() -> u128,
}

impl<'a> Cx<'a> {
    /// A context at `now` that draws randomness from `entropy`.
    pub fn new(now: Timestamp, entropy: &'a mut dyn FnMut() -> u128) -> Self {
        Self { now, entropy }
    }

    /// A fresh ULID of this moment.
    pub fn fresh(&mut self) -> Ulid {
        let millis = u64::try_from(self.now.micros() / 1000).unwrap_or(0);
        Ulid::from_parts(millis, (self.entropy)())
    }
}
