//! What workloads ask of the token endpoint, and brokers of the Broker API.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use marque_core::id::{InstanceId, LeaseId};
use marque_engine::{Exchange, Workload};
use marque_server::broker::process;
use marque_server::pb::broker::WorkloadReference;
use marque_server::{TokenError, exchange_of};
use prost::Message as _;
use tonic::Code;

use crate::svid::WORKLOAD;

/// [`exchange_of`]: what is taken is of the workload that asks, and for the gateway alone; no parameter comes twice. What is
/// refused is refused by a code of the standard, in characters that a description may have (RFC 6749 §5.2).
pub fn server_exchange(data: &[u8]) {
    match exchange(data.to_vec()) {
        Ok(exchange) => {
            assert_eq!(exchange.client, *CLIENT);
            assert!(!exchange.subject.0.is_empty(), "nobody's token is exchanged");
            for more in ["resource=https%3A%2F%2Fother.example%2F", "grant_type=password", "subject_token=another"] {
                let both = exchange_with(data, more);
                assert!(both.is_err(), "`{more}` is passed over");
            }
        }
        Err(error) => {
            let (code, text) = (error.code(), error.description());
            assert!(CODES.contains(&code), "{code}: {text}");
            let may_be = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
            assert!(!text.is_empty() && text.chars().all(may_be), "{text}");
        }
    }
}

/// [`process`]: whatever a broker refers to is a process number, or is refused by the standard's reason, in a few words.
pub fn server_reference(data: &[u8]) {
    let Ok(reference) = WorkloadReference::decode(data) else { return };
    let is_pid = reference.reference.as_ref().is_some_and(|any| any.type_url == PID_REFERENCE);
    match process(Some(reference)) {
        Ok(pid) => assert!(is_pid && i32::try_from(pid).is_ok_and(|pid| pid > 0), "{pid}"),
        Err(refusal) => {
            assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
            assert!(refusal.message().chars().count() < 400, "{refusal}");
            let reason = "WORKLOAD_REFERENCE_INVALID".as_bytes();
            assert!(refusal.details().windows(reason.len()).any(|window| window == reason), "{refusal}");
        }
    }
}

fn exchange_with(form: &[u8], more: &str) -> Result<Exchange, TokenError> {
    exchange([form, b"&", more.as_bytes()].concat())
}

/// What a form asks for. It waits for nothing, so that the first look finds it.
#[expect(clippy::expect_used, reason = "a target panics when a property breaks")]
fn exchange(form: Vec<u8>) -> Result<Exchange, TokenError> {
    let mut asked = pin!(exchange_of(form, GATEWAY, CLIENT.clone()));
    let found = match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) => Some(found),
        Poll::Pending => None,
    };
    found.expect("a form that is there is read at once")
}

static CLIENT: LazyLock<Workload> = LazyLock::new(client);

#[expect(clippy::expect_used, reason = "the name stands in another file")]
fn client() -> Workload {
    Workload {
        lease: LeaseId::from_bytes([1; 16]),
        instance: InstanceId::from_bytes([2; 16]),
        identity: WORKLOAD.parse().expect("a SPIFFE ID"),
        thumbprint: "A".repeat(43),
    }
}

const GATEWAY: &str = "https://127.0.0.1:8444";
/// RFC 6749 §5.2, RFC 8693 §2.2.2.
const CODES: [&str; 4] = ["invalid_request", "invalid_scope", "invalid_target", "unsupported_grant_type"];
const PID_REFERENCE: &str = "type.googleapis.com/spiffe.broker.WorkloadPIDReference";
