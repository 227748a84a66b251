//! A certificate of a public CA, for those who know no SPIFFE: relying parties that read the issuer's keys, and trust domains
//! that federate by `https_web`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// A certificate in files, for some host names. Who asks for one of these is shown it.
pub struct Web {
    files: Files,
    shown: RwLock<Arc<CertifiedKey>>,
    last: Mutex<Last>,
}

/// Why a certificate is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key that others can read is no key.
    #[error("`{}` can be read by others: chmod 600 it", .0.display())]
    Open(PathBuf),
    /// The file has no certificate, or something else in its place.
    #[error("`{}` has no certificates in PEM", .0.display())]
    Certificate(PathBuf),
    /// The file has no private key.
    #[error("`{}` has no private key in PEM", .0.display())]
    Key(PathBuf),
    /// They do not belong together, or the library does not take them.
    #[error("the certificate and its key cannot be used")]
    Rustls(#[from] rustls::Error),
    /// No client asks for an address by its name.
    #[error("`{0}` is no host name")]
    NoName(String),
    /// The certificate is another's.
    #[error("the certificate is not for `{0}`")]
    Name(String),
}

impl Web {
    /// A certificate and those above it, its own first, and its key, in files in PEM; for host names that it is good for.
    pub fn open(certificate: &Path, key: &Path, names: &[String]) -> Result<Self, WebError> {
        let files = Files { certificate: certificate.into(), key: key.into(), names: names.into() };
        let last = Last { read: files.stamps(), complaint: None };
        let shown = files.read()?;
        Ok(Self { files, shown: RwLock::new(Arc::new(shown)), last: Mutex::new(last) })
    }

    /// Reads the files again if they have changed: who renews a certificate replaces them. While they are of no use, the
    /// certificate goes on that was there.
    pub fn refresh(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.files.stamps();
        if found == last.read && last.complaint.is_none() {
            return;
        }
        last.read = found;
        match self.files.read() {
            Ok(fresh) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                last.complaint = None;
                tracing::info!("the web certificate was read again");
            }
            // It is tried again until it is good, and told once.
            Err(error) => {
                let complaint = marque_engine::describe(&error);
                if last.complaint.as_ref() != Some(&complaint) {
                    tracing::error!("the web certificate was not read again, and the one before it goes on: {complaint}");
                }
                last.complaint = Some(complaint);
            }
        }
    }

    /// What a client is shown that asks for this name.
    pub(crate) fn shown(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let is_ours = self.files.names.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        is_ours.then(|| Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Web({})", self.files.names.join(", "))
    }
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    names: Vec<String>,
}

/// How the files were when they were last read, and what was wrong with them.
struct Last {
    read: [Option<Stamp>; 2],
    complaint: Option<String>,
}

/// What tells a version of a file apart: its inode, its length, and when it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    written: (i64, i64),
}

impl Files {
    fn stamps(&self) -> [Option<Stamp>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some(Stamp { inode: meta.ino(), length: meta.len(), written: (meta.mtime(), meta.mtime_nsec()) })
        })
    }

    fn read(&self) -> Result<CertifiedKey, WebError> {
        let text = std::fs::read(&self.certificate).map_err(|source| unreadable(&self.certificate, source))?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<CertificateDer<'static>>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| WebError::Certificate(self.certificate.clone()))?;
        let text = self.private_text()?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| WebError::Key(self.key.clone()))?;
        let certified = CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())?;
        self.check_names(&certified)?;
        Ok(certified)
    }

    fn private_text(&self) -> Result<Zeroizing<Vec<u8>>, WebError> {
        let mut file = File::open(&self.key).map_err(|source| unreadable(&self.key, source))?;
        let meta = file.metadata().map_err(|source| unreadable(&self.key, source))?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(WebError::Open(self.key.clone()));
        }
        let mut text = Zeroizing::new(Vec::new());
        file.read_to_end(&mut text).map_err(|source| unreadable(&self.key, source))?;
        Ok(text)
    }

    fn check_names(&self, certified: &CertifiedKey) -> Result<(), WebError> {
        let leaf = ParsedCertificate::try_from(certified.end_entity_cert()?)?;
        for name in &self.names {
            match ServerName::try_from(name.as_str()) {
                Ok(asked @ ServerName::DnsName(_)) => {
                    verify_server_name(&leaf, &asked).map_err(|_| WebError::Name(name.clone()))?;
                }
                _ => return Err(WebError::NoName(name.clone())),
            }
        }
        Ok(())
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> WebError {
    WebError::File { path: path.to_owned(), source }
}
