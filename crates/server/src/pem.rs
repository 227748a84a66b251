//! PEM, as programs outside of SPIFFE read certificates and keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// PEM (RFC 7468) of each. That of a private key is the caller's to wipe.
pub fn pem(label: &str, ders: &[impl AsRef<[u8]>]) -> String {
    let mut text = String::new();
    for der in ders {
        text.push_str(&format!("-----BEGIN {label}-----\n"));
        let encoded = Zeroizing::new(STANDARD.encode(der));
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str(&format!("-----END {label}-----\n"));
    }
    text
}
