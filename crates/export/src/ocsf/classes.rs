//! The event classes that Marque's events are of, and the words of their status.

/// An event class.
pub(super) struct Class {
    pub(super) uid: u64,
    pub(super) name: &'static str,
    pub(super) category: (u64, &'static str),
}

/// An API call: a decision about it, its end, and reading the log.
pub(super) const API_ACTIVITY: Class = Class { uid: 6003, name: "API Activity", category: APPLICATION };

/// Marque itself starting a log.
pub(super) const APPLICATION_LIFECYCLE: Class = Class { uid: 6002, name: "Application Lifecycle", category: APPLICATION };

/// Something that must not be: missing events.
pub(super) const APPLICATION_ERROR: Class = Class { uid: 6008, name: "Application Error", category: APPLICATION };

/// A process becoming an instance, or ending.
pub(super) const AUTHENTICATION: Class = Class { uid: 3002, name: "Authentication", category: IAM };

/// A credential.
pub(super) const AUTHORIZE_SESSION: Class = Class { uid: 3003, name: "Authorize Session", category: IAM };

/// A change of the inventory.
pub(super) const ENTITY_MANAGEMENT: Class = Class { uid: 3004, name: "Entity Management", category: IAM };

/// A task: authority that somebody is given.
pub(super) const USER_ACCESS: Class = Class { uid: 3005, name: "User Access Management", category: IAM };

const IAM: (u64, &str) = (3, "Identity & Access Management");
const APPLICATION: (u64, &str) = (6, "Application Activity");

/// How the activity ended.
pub(super) enum Status {
    /// Not known, or not yet.
    Unknown,
    /// It was done.
    Success,
    /// It was not.
    Failure,
    /// In our own word.
    Other(&'static str),
}

impl Status {
    pub(super) const fn id(&self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Success => 1,
            Self::Failure => 2,
            Self::Other(_) => 99,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Success => "Success",
            Self::Failure => "Failure",
            Self::Other(word) => word,
        }
    }
}
