//! A syslog server: messages of RFC 5424, over TCP with octet counting (RFC 6587 §3.4.1) or over UDP (RFC 5426).
//!
//! Syslog has no acknowledgement, but TCP has: there a batch counts as taken when the server's system has acknowledged all of
//! it and the server has not closed the connection. Otherwise, and where that takes too long, it goes out again on a new one.
//! What a server loses that its system had is lost. Over UDP a batch counts as taken when it was sent. Where nothing may be
//! lost, take another sink.

use std::net::SocketAddr;
use std::str::FromStr;

use marque_core::spiffe::TrustDomain;
use marque_engine::Batch;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use super::SinkError;
use super::acknowledged::{acknowledged, is_closed};

/// Where a syslog server is: `tcp://host:port` or `udp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogAddress {
    udp: bool,
    /// Host and port.
    place: String,
}

impl FromStr for SyslogAddress {
    type Err = SinkError;

    fn from_str(text: &str) -> Result<Self, SinkError> {
        let bad = || {
            SinkError::Invalid(format!("`{text}` is not the address of a syslog server: `tcp://host:port` or `udp://host:port`"))
        };
        let (scheme, place) = text.split_once("://").ok_or_else(bad)?;
        let udp = match scheme {
            "tcp" => false,
            "udp" => true,
            _ => return Err(bad()),
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Self { udp, place: place.to_owned() })
    }
}

pub(super) struct Syslog {
    address: SyslogAddress,
    link: Option<Link>,
}

enum Link {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Syslog {
    pub fn new(address: SyslogAddress) -> Self {
        Self { address, link: None }
    }

    pub async fn write(&mut self, host: &TrustDomain, batch: &Batch) -> Result<(), SinkError> {
        let failed = || SinkError::io(format!("send to `{}`", self.address.place));
        // Put back only when all went well: what was given up halfway must not be gone on with.
        let mut link = match self.link.take() {
            Some(Link::Tcp(stream)) if is_closed(&stream) => self.connect().await?,
            Some(link) => link,
            None => self.connect().await?,
        };
        let messages = batch.pieces.iter().map(|piece| message(host, &piece.at.to_string(), &piece.bytes));
        match &mut link {
            Link::Tcp(stream) => {
                let framed: Vec<u8> = messages.flat_map(|message| octet_counted(&message)).collect();
                stream.write_all(&framed).await.map_err(failed())?;
                acknowledged(stream).await.map_err(failed())?;
            }
            Link::Udp(socket) => {
                for message in messages {
                    socket.send(&message).await.map_err(failed())?;
                }
            }
        }
        self.link = Some(link);
        Ok(())
    }

    async fn connect(&self) -> Result<Link, SinkError> {
        let place = &self.address.place;
        let failed = || SinkError::io(format!("connect to `{place}`"));
        if !self.address.udp {
            return TcpStream::connect(place).await.map(Link::Tcp).map_err(failed());
        }
        let missing = || std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        let server = lookup_host(place).await.map_err(failed())?.next().ok_or_else(missing).map_err(failed())?;
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(failed())?;
        socket.connect(server).await.map_err(failed())?;
        Ok(Link::Udp(socket))
    }
}

/// `<110>1 TIMESTAMP HOSTNAME marque - - - MSG`: facility 13 (log audit), severity 6 (RFC 5424 §6). CEF has its own severity.
fn message(host: &TrustDomain, at: &str, line: &[u8]) -> Vec<u8> {
    let mut message = format!("<110>1 {at} {host} marque - - - ").into_bytes();
    message.extend_from_slice(line);
    message
}

fn octet_counted(message: &[u8]) -> Vec<u8> {
    let mut framed = format!("{} ", message.len()).into_bytes();
    framed.extend_from_slice(message);
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_how_and_where() {
        assert!("tcp://siem.example.com:6514".parse::<SyslogAddress>().is_ok());
        assert!("udp://[::1]:514".parse::<SyslogAddress>().is_ok());
        for bad in ["siem:514", "tls://siem:6514", "tcp://siem", "tcp://:514", "udp://siem:70000"] {
            assert!(bad.parse::<SyslogAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_is_counted_in_octets() {
        let host: TrustDomain = "example.org".parse().unwrap();
        let message = message(&host, "2026-01-02T03:04:05.678Z", "CEF:0|ü".as_bytes());
        let text = "<110>1 2026-01-02T03:04:05.678Z example.org marque - - - CEF:0|ü";
        assert_eq!(message, text.as_bytes());
        assert_eq!(octet_counted(&message), format!("{} {text}", text.len()).into_bytes());
    }
}
