//! Why nothing is given for a reference, in the way that clients can read (Broker API §4.8).

use std::collections::HashMap;

use hyper::body::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use crate::pb::sds::Status as RpcStatus;

/// The reasons of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no reference, or none that is understood.
    Invalid,
    /// There is no such workload.
    NotFound,
    /// There is, and it has no identity.
    NotEntitled,
}

impl Refusal {
    const fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::NotEntitled => Code::PermissionDenied,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "WORKLOAD_REFERENCE_INVALID",
            Self::NotFound => "WORKLOAD_NOT_FOUND",
            Self::NotEntitled => "WORKLOAD_NOT_ENTITLED",
        }
    }

    /// Gives a status of this code its reason.
    pub(super) fn explain(self) -> impl Fn(Status) -> Status {
        move |status: Status| if status.code() == self.code() { refused(self, status.message(), None) } else { status }
    }
}

/// The status of a refusal, with its `google.rpc.ErrorInfo`.
pub(super) fn refused(refusal: Refusal, why: &str, pid: Option<u32>) -> Status {
    let metadata = pid.map(|pid| ("pid".to_owned(), pid.to_string())).into_iter().collect();
    let info = ErrorInfo { reason: refusal.reason().to_owned(), domain: DOMAIN.to_owned(), metadata };
    let details = vec![prost_types::Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() }];
    let status = RpcStatus { code: refusal.code() as i32, message: why.to_owned(), details };
    Status::with_details(refusal.code(), why, Bytes::from(status.encode_to_vec()))
}

/// `google.rpc.ErrorInfo` (google/rpc/error_details.proto).
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

const DOMAIN: &str = "spiffe.io";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
