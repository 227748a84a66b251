//! Typed identifiers: a prefix that says what it names, and a ULID.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::ParseError;
use crate::time::Cx;
use crate::words::as_text;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Ulid);

        impl $name {
            /// A fresh identifier.
            pub fn fresh(cx: &mut Cx<'_>) -> Self {
                Self(cx.fresh())
            }

            /// The 16 bytes of the ULID; as a certificate's serial number they are positive for the next 3,000 years.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }

            /// From the 16 bytes of a ULID.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Ulid::from_bytes(bytes))
            }

            /// The word before the underscore.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                let error = || ParseError::new(concat!("an identifier as `", $prefix, "_` and a ULID"), text);
                let ulid = text.strip_prefix(concat!($prefix, "_")).ok_or_else(error)?;
                let parsed = Ulid::from_string(ulid).map_err(|_| error())?;
                // One spelling for one identifier: what does not print as it was written is refused.
                if parsed.to_string() == ulid { Ok(Self(parsed)) } else { Err(error()) }
            }
        }

        as_text!($name);
    )+};
}

id! {
    /// Names a task.
    TaskId = "task";
    /// Names one running copy of an identity.
    InstanceId = "inst";
    /// Names one issued credential.
    LeaseId = "lease";
    /// Names a held request.
    ElevationId = "elev";
    /// Names one writer of events, which numbers them without gaps.
    ObserverId = "obs";
    /// Names one credentialed action.
    RecordId = "rec";
    /// Names one event of the log.
    EventId = "ev";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn identifiers_round_trip_and_keep_their_kind() {
        let mut entropy = || 7_u128;
        let mut cx = Cx::new(Timestamp::from_seconds(1_700_000_000), &mut entropy);
        let task = TaskId::fresh(&mut cx);
        assert_eq!(task.to_string().parse(), Ok(task));
        assert!(task.to_string().parse::<LeaseId>().is_err());
        assert!(task.to_string().to_lowercase().parse::<TaskId>().is_err());
    }
}
