//! A small SPIFFE Workload API client: gRPC over HTTP/2 on a Unix socket, as any agent would have from a library.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use marque_server::pb::workload::{
    JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509svid, X509svidRequest, X509svidResponse,
};
use prost::Message;
use tokio::net::UnixStream;

use crate::failure::{Code, Failure, Result};

/// The first X.509-SVID of the stream.
pub async fn x509_svid(socket: &str) -> Result<X509svid> {
    let response: X509svidResponse = call(socket, "FetchX509SVID", &X509svidRequest {}).await?;
    response.svids.into_iter().next().ok_or_else(|| Failure::failed("the Workload API gave no SVID"))
}

/// A JWT-SVID for an audience.
pub async fn jwt_svid(socket: &str, audience: &str) -> Result<String> {
    let request = JwtsvidRequest { audience: vec![audience.to_owned()], spiffe_id: String::new() };
    let response: JwtsvidResponse = call(socket, "FetchJWTSVID", &request).await?;
    response.svids.into_iter().next().map(|s| s.svid).ok_or_else(|| Failure::failed("the Workload API gave no JWT-SVID"))
}

/// Whose a JWT-SVID is.
pub async fn validate(socket: &str, audience: &str, svid: &str) -> Result<String> {
    let request = ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() };
    let response: ValidateJwtsvidResponse = call(socket, "ValidateJWTSVID", &request).await?;
    Ok(response.spiffe_id)
}

/// Sends one message and takes the first that comes back (gRPC over HTTP/2: a flag byte and a length before each).
async fn call<T: Message + Default>(socket: &str, method: &str, message: &impl Message) -> Result<T> {
    let path = socket.strip_prefix("unix://").ok_or_else(|| Failure::input(format!("`{socket}` is not a `unix://` address")))?;
    let stream = UnixStream::connect(path)
        .await
        .map_err(|e| Failure::failed(format!("cannot reach the Workload API at `{path}`: {e}")))?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len())?);
    message.encode(&mut frame)?;
    let request = Request::post(format!("http://localhost/SpiffeWorkloadAPI/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("workload.spiffe.io", "true")
        .body(Full::new(frame.freeze()))?;
    let response = sender.send_request(request).await?;
    refused(response.status(), response.headers())?;
    let mut body = response.into_body();
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(trailers) = frame.trailers_ref() {
            refused(StatusCode::OK, trailers)?;
        }
        if let Ok(data) = frame.into_data() {
            buffer.extend_from_slice(&data);
        }
        if let Some(message) = whole(&buffer) {
            driver.abort();
            return Ok(T::decode(message)?);
        }
    }
    Err(Failure::failed("the Workload API ended without an answer"))
}

/// `grpc-message` is percent-encoded (gRPC over HTTP/2).
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => bytes.extend_from_slice(format!("%{part}").as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn whole(buffer: &[u8]) -> Option<Bytes> {
    let (header, rest) = buffer.split_at_checked(5)?;
    let length = u32::from_be_bytes(header.get(1..)?.try_into().ok()?);
    rest.get(..length as usize).map(Bytes::copy_from_slice)
}

fn refused(status: StatusCode, headers: &http::HeaderMap) -> Result<()> {
    let field = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match field("grpc-status") {
        "" | "0" if status.is_success() => Ok(()),
        code => {
            let code = match code {
                "3" => "InvalidArgument",
                "7" => "PermissionDenied",
                "14" => "Unavailable",
                other => other,
            };
            Err(Failure::new(Code::Refused, format!("{code}: {}", decoded(field("grpc-message")))))
        }
    }
}
