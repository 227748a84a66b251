//! `marque svid`: what the Workload API gives to this very process, as any SPIFFE library would fetch it.

use std::path::{Path, PathBuf};

use marque_server::pb::workload::X509svid;
use marque_server::pem;
use serde_json::json;

use super::Context;
use crate::args::{SvidCommand, SvidFrom};
use crate::failure::{Failure, Result};
use crate::files::write_private;
use crate::workload;

pub async fn run(context: &Context<'_>, command: SvidCommand) -> Result<()> {
    match command {
        SvidCommand::X509 { from, out } => x509(context, &socket(context, from), out.as_deref()).await,
        SvidCommand::Jwt { from, audience } => {
            let token = workload::jwt_svid(&socket(context, from), &audience).await?;
            context.output.show(&json!({ "svid": token }), || context.output.line(&token));
            Ok(())
        }
    }
}

/// Where the Workload API is: as it was said, as SPIFFE says it, or on this host's own server.
fn socket(context: &Context<'_>, from: SvidFrom) -> String {
    from.socket.unwrap_or_else(|| format!("unix://{}", absolute(&context.state.join("workload.sock")).display()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

async fn x509(context: &Context<'_>, socket: &str, out: Option<&Path>) -> Result<()> {
    let svid = workload::x509_svid(socket).await?;
    let (chain, roots) = (certificates(&svid.x509_svid)?, certificates(&svid.bundle)?);
    if let Some(out) = out {
        write(out, &svid, &chain, &roots)?;
    }
    let shown = json!({
        "spiffe_id": svid.spiffe_id,
        "hint": svid.hint,
        "certificates": chain.len(),
        "authorities": roots.len(),
        "out": out,
    });
    context.output.show(&shown, || {
        context.output.line(&svid.spiffe_id);
        if let Some(out) = out {
            context.output.line(format!("`{}`: svid.pem, key.pem, bundle.pem", out.display()));
        }
    });
    Ok(())
}

/// The certificates and the key, which nobody else may read.
fn write(out: &Path, svid: &X509svid, chain: &[&[u8]], roots: &[&[u8]]) -> Result<()> {
    let failed = |e| Failure::failed(format!("cannot write to `{}`: {e}", out.display()));
    std::fs::create_dir_all(out).map_err(failed)?;
    let key = zeroize::Zeroizing::new(pem("PRIVATE KEY", &[&svid.x509_svid_key]));
    write_private(&out.join("key.pem"), key.as_bytes())?;
    std::fs::write(out.join("svid.pem"), pem("CERTIFICATE", chain)).map_err(failed)?;
    std::fs::write(out.join("bundle.pem"), pem("CERTIFICATE", roots)).map_err(failed)
}

/// Certificates that stand one after the other (Workload API §5.2.1): each says its length (X.690 §8.1.3).
fn certificates(mut ders: &[u8]) -> Result<Vec<&[u8]>> {
    let mut all = Vec::new();
    while !ders.is_empty() {
        let (one, rest) = length(ders).and_then(|length| ders.split_at_checked(length)).ok_or_else(unreadable)?;
        all.push(one);
        ders = rest;
    }
    if all.is_empty() { Err(unreadable()) } else { Ok(all) }
}

/// How long a SEQUENCE is, with its header.
fn length(der: &[u8]) -> Option<usize> {
    let [0x30, first, rest @ ..] = der else { return None };
    let bytes = match first {
        short @ 0..=0x7f => return Some(2 + usize::from(*short)),
        long => usize::from(long & 0x7f),
    };
    let length = rest.get(..bytes).filter(|bytes| (1..=3).contains(&bytes.len()))?;
    Some(length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) + 2 + bytes)
}

fn unreadable() -> Failure {
    Failure::failed("the Workload API gave certificates that cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_apart_by_their_lengths() {
        let long = [&[0x30, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        let both = [&long[..], &[0x30, 0x01, 0x05]].concat();
        assert_eq!(certificates(&both).unwrap(), [&long[..], &[0x30, 0x01, 0x05]]);
        for bad in [&b""[..], &[0x30], &[0x31, 0x00], &[0x30, 0x80], &[0x30, 0x05, 1], &both[..both.len() - 1]] {
            assert!(certificates(bad).is_err(), "{bad:?}");
        }
    }
}
