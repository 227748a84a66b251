//! `openssl` on this program's own X.509-SVID: the chain, the certificate's fields, and mutual TLS with the server.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use crate::fault::{Fault, Heard, Result, need};
use crate::process::{Ended, finish};
use crate::workload::{OWN, x509_context};
use crate::world::World;

/// Runs the judge.
pub fn judge(world: &World) -> Result<Heard> {
    let version = openssl(&["version"], &[], "")?.well("`openssl version`")?.output;
    let files = Files::write(world)?;
    files.chain("sslclient")?;
    files.chain("sslserver")?;
    files.fields()?;
    files.key()?;
    let host = world.site.addresses.issuer.trim_start_matches("https://").to_owned();
    for protocol in ["-tls1_2", "-tls1_3"] {
        files.handshake(&host, protocol)?;
    }
    let seen = json!({ "chain": "verified for client and server", "id": OWN, "mutual_tls": ["1.2", "1.3"] });
    Ok(Heard::by(version.split_whitespace().nth(1).map(str::to_owned), seen))
}

/// The SVID as `openssl` takes it.
struct Files {
    leaf: PathBuf,
    rest: PathBuf,
    key: PathBuf,
    bundle: PathBuf,
}

impl Files {
    fn write(world: &World) -> Result<Self> {
        let context = x509_context(world)?;
        let svid = context.default_svid().ok_or_else(|| Fault::new("there is no X.509-SVID"))?;
        let bundle = context.bundle_set().get(svid.spiffe_id().trust_domain()).ok_or_else(|| Fault::new("there is no bundle"))?;
        let dir = world.dir().join("x509");
        std::fs::create_dir_all(&dir)?;
        let roots: String = bundle.authorities().iter().map(|root| pem("CERTIFICATE", root.as_bytes())).collect();
        // What stands between the leaf and the root; with none, the leaf itself, since the file must not be empty.
        let between = svid.cert_chain().get(1..).filter(|rest| !rest.is_empty()).unwrap_or(svid.cert_chain());
        let rest: String = between.iter().map(|one| pem("CERTIFICATE", one.as_bytes())).collect();
        Ok(Self {
            leaf: written(&dir, "leaf.pem", &pem("CERTIFICATE", svid.leaf().as_bytes()))?,
            rest: written(&dir, "rest.pem", &rest)?,
            key: written(&dir, "key.pem", &pem("PRIVATE KEY", svid.private_key().as_bytes()))?,
            bundle: written(&dir, "bundle.pem", &roots)?,
        })
    }

    /// RFC 5280, as strictly as `openssl` can.
    fn chain(&self, purpose: &str) -> Result<()> {
        let (bundle, rest) = (self.bundle.as_path(), self.rest.as_path());
        let paths = [Path::new("-CAfile"), bundle, Path::new("-untrusted"), rest, self.leaf.as_path()];
        let ended = openssl(&["verify", "-x509_strict", "-purpose", purpose], &paths, "")?.well("`openssl verify`")?;
        need(ended.output.trim_end().ends_with(": OK"), format!("`openssl verify` said: {}", ended.output))
    }

    /// X509-SVID section 2 (one URI), 4.1 (no CA), 4.3 (key usage).
    fn fields(&self) -> Result<()> {
        let ended = openssl(&["x509", "-noout", "-text", "-in"], &[&self.leaf], "")?.well("`openssl x509`")?;
        let after = |heading: &str| {
            let mut lines = ended.output.lines().skip_while(|line| !line.contains(heading));
            (lines.next().unwrap_or_default().trim().to_owned(), lines.next().unwrap_or_default().trim().to_owned())
        };
        let (_, names) = after("X509v3 Subject Alternative Name");
        need(names == format!("URI:{OWN}"), format!("the names are `{names}`"))?;
        let (usage, bits) = after("X509v3 Key Usage");
        need(usage.ends_with("critical"), "the key usage is not critical")?;
        need(bits.contains("Digital Signature"), format!("the key usage is `{bits}`"))?;
        need(!bits.contains("Certificate Sign") && !bits.contains("CRL Sign"), format!("the key usage is `{bits}`"))?;
        let (_, constraints) = after("X509v3 Basic Constraints");
        need(constraints == "CA:FALSE", format!("the basic constraints are `{constraints}`"))
    }

    /// The key is the certificate's.
    fn key(&self) -> Result<()> {
        let certified = openssl(&["x509", "-noout", "-pubkey", "-in"], &[&self.leaf], "")?.well("`openssl x509`")?;
        let own = openssl(&["pkey", "-pubout", "-in"], &[&self.key], "")?.well("`openssl pkey`")?;
        need(certified.output == own.output, "the private key is not the certificate's")
    }

    /// With the certificate the token endpoint knows its client, and without it does not (RFC 8705 section 2).
    fn handshake(&self, host: &str, protocol: &str) -> Result<()> {
        let body = "grant_type=none";
        let head = "Connection: close\r\nContent-Type: application/x-www-form-urlencoded";
        let request =
            format!("POST /oauth/token HTTP/1.1\r\nHost: {host}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let client = ["s_client", "-ign_eof", "-verify_return_error", "-verify_ip", "127.0.0.1", "-connect", host, protocol];
        let trust = [Path::new("-CAfile"), self.bundle.as_path()];
        let mut known = trust.to_vec();
        known.extend([Path::new("-cert"), self.leaf.as_path(), Path::new("-key"), self.key.as_path()]);
        for (paths, error) in [(known.as_slice(), "unsupported_grant_type"), (trust.as_slice(), "invalid_client")] {
            let ended = openssl(&client, paths, &request)?;
            need(ended.output.contains("Verify return code: 0 (ok)"), ended.fault("`openssl s_client`").to_string())?;
            need(ended.output.contains(error), format!("no `{error}`: {}", ended.fault("`openssl s_client`")))?;
        }
        Ok(())
    }
}

fn openssl(words: &[&str], paths: &[&Path], input: &str) -> Result<Ended> {
    finish(Command::new("openssl").args(words).args(paths), input)
}

fn written(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

/// DER as PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_lines_of_64() {
        let text = pem("CERTIFICATE", &[0; 60]);
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [27, 64, 16, 25]);
    }
}
