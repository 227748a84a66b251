//! Leases: issued credentials of every class.

use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, LeaseId, TaskId};
use crate::revocation::Epoch;
use crate::scope::Scope;
use crate::spiffe::SpiffeId;
use crate::time::{Timestamp, Ttl};

/// What sort of credential a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialClass {
    /// An X.509-SVID.
    X509Svid,
    /// A JWT-SVID.
    JwtSvid,
    /// A WIT-SVID, which is bound to a key of its holder.
    WitSvid,
    /// An access token of a task (`at+jwt`, RFC 9068).
    TaskToken,
    /// The socket that a launched instance reaches the gateway through.
    GatewaySession,
}

impl CredentialClass {
    /// The longest that a credential of this class lives, whatever was asked for (I2).
    pub const fn max_ttl(self) -> Ttl {
        match self {
            Self::X509Svid | Self::WitSvid => Ttl::from_minutes(60),
            Self::JwtSvid | Self::TaskToken => Ttl::from_minutes(5),
            Self::GatewaySession => Ttl::from_minutes(24 * 60),
        }
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509Svid => "x509-svid",
            Self::JwtSvid => "jwt-svid",
            Self::WitSvid => "wit-svid",
            Self::TaskToken => "task-token",
            Self::GatewaySession => "gateway-session",
        }
    }
}

/// One issued credential. Its secret is never here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Its identifier.
    pub id: LeaseId,
    /// What sort of credential.
    pub class: CredentialClass,
    /// Whose.
    pub identity: SpiffeId,
    /// Which copy's.
    pub instance: InstanceId,
    /// Which copy has it, where that is another: a broker fetched it (SPIFFE Broker API).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<InstanceId>,
    /// For which task; an SVID on its own has none and carries no authority to act.
    pub task: Option<TaskId>,
    /// What it allows.
    #[serde(default)]
    pub scope: Scope,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// How the credential names itself: a serial number or `jti`.
    #[serde(default)]
    pub handle: String,
    /// The key it is bound to: base64url SHA-256 of the certificate (RFC 8705 `x5t#S256`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// The epoch at which it was issued (I4).
    pub epoch: Epoch,
}
