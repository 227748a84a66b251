//! A sealed file: three lines, of a mark with the version and the sealing key's name, a salt, and AES-256-GCM's output, both in
//! lower-case hexadecimal. The key of the cipher is made from the sealing key and the salt, which is fresh each time: it seals
//! one content only. What is authenticated besides is the first line and the file's name.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce};
use zeroize::Zeroizing;

use super::{SealKey, cipher, random, seal_error};
use crate::error::Result;

/// Whether a file is sealed. Nothing that is kept in clear begins so: keys are 32 random bytes or JSON, secrets one line.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK.as_bytes())
}

/// The content of the file `name`, sealed.
pub(super) fn seal(key: &SealKey, name: &str, plain: &[u8]) -> Result<Vec<u8>> {
    let head = format!("{MARK}{VERSION} {}", key.name());
    let salt: [u8; 32] = random()?;
    // With room for the tag, or the content would be left behind when it grows.
    let mut data = Vec::with_capacity(plain.len().saturating_add(AES_256_GCM.tag_len()));
    data.extend_from_slice(plain);
    cipher(&key.derived(PURPOSE, &salt))?
        .seal_in_place_append_tag(nonce(), Aad::from(bound(&head, name)), &mut data)
        .map_err(|_| seal_error(format!("`{name}` could not be sealed")))?;
    Ok(format!("{head}\n{}\n{}\n", hex::encode(salt), hex::encode(data)).into_bytes())
}

/// What [`seal`] was given.
pub(super) fn open(key: &SealKey, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let damaged = || seal_error(format!("`{name}` does not open: it is damaged, or another file under this name"));
    let text = std::str::from_utf8(sealed).map_err(|_| damaged())?;
    let lines: Vec<&str> = text.split('\n').collect();
    let &[head, salt, data, ""] = lines.as_slice() else { return Err(damaged()) };
    let (version, owner) = head.strip_prefix(MARK).and_then(|rest| rest.split_once(' ')).ok_or_else(damaged)?;
    if version != VERSION {
        return Err(seal_error(format!("`{name}` is sealed in a way that is not known here: version `{version}`")));
    }
    if owner != key.name() {
        return Err(seal_error(format!(
            "`{name}` is sealed under another key, `{owner}`, than `seal.json` has, `{}`",
            key.name()
        )));
    }
    let bytes = |text: &str| {
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        lower.then(|| hex::decode(text).ok()).flatten().ok_or_else(damaged)
    };
    let mut data = Zeroizing::new(bytes(data)?);
    let length = cipher(&key.derived(PURPOSE, &bytes(salt)?))?
        .open_in_place(nonce(), Aad::from(bound(head, name)), data.as_mut_slice())
        .map_err(|_| damaged())?
        .len();
    data.truncate(length);
    Ok(data)
}

/// One nonce is enough: the key is used once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn bound(head: &str, name: &str) -> String {
    format!("{head}\n{name}")
}

const MARK: &str = "marque sealed ";
const VERSION: &str = "1";
const PURPOSE: &[u8] = b"marque sealed file";
