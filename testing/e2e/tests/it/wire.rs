//! HTTP/1.1 by hand, over anything that reads and writes.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::world::ALICE;

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Link<S>(BufReader<S>);

impl<S: Read + Write> Link<S> {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    /// Reads one response, whatever it answers.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).ok_or_else(|| wrong(&line))?;
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                None => break,
                Some(("content-length", value)) => length = Some(value.parse::<usize>().map_err(|_| wrong(value))?),
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => {}
            }
        }
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                self.0.read_exact(&mut body)?;
            }
            None if chunked => self.chunks(&mut body)?,
            None => {
                self.0.read_to_end(&mut body)?;
            }
        }
        Ok(Reply { status, body })
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| wrong(&line))?;
            let mut chunk = vec![0; size];
            self.0.read_exact(&mut chunk)?;
            body.extend(chunk);
            self.line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{text}` is not HTTP"))
}

impl Link<TcpStream> {
    /// Connects to `http://…`.
    pub fn tcp(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address.strip_prefix("http://").unwrap_or(address))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }
}

/// The administration API of a running server, as its first person.
#[derive(Debug)]
pub struct Api {
    link: Link<UnixStream>,
    credential: String,
}

impl Api {
    /// A kept connection.
    pub fn connect(state: &Path) -> io::Result<Self> {
        let credential = std::fs::read_to_string(state.join(format!("people/{ALICE}.token")))?.trim().to_owned();
        let stream = UnixStream::connect(state.join("marque.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { link: Link(BufReader::new(stream)), credential })
    }

    pub fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.ask("GET", path, "")
    }

    pub fn post(&mut self, path: &str, body: &Value) -> io::Result<Reply> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Reply> {
        let (credential, length) = (&self.credential, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: marque\r\nauthorization: Bearer {credential}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.link.send(request.as_bytes())?;
        self.link.reply()
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
