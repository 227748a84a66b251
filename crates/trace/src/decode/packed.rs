//! What is packed: gzip, zip and UTF-16.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use rawzip::{CompressionMethod, ZipArchive};

use super::{MOST_PARTS, Part, Step};

/// What is packed in the bytes, inflated to no more than `room`, and whether that is all.
pub(super) fn parts(bytes: &[u8], room: usize) -> (Vec<Part>, bool) {
    if bytes.starts_with(GZIP) {
        let (inflated, complete) = inflate(MultiGzDecoder::new(bytes), room);
        let part = (!inflated.is_empty()).then(|| Part::unpacked(Step::Gzip, inflated));
        return (part.into_iter().collect(), complete);
    }
    if bytes.starts_with(ZIP) {
        return members(bytes, room);
    }
    (utf16(bytes).into_iter().collect(), true)
}

/// Whether bytes start as something packed does.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(GZIP) || bytes.starts_with(ZIP)
}

/// What can be inflated; of a damaged stream, what comes before the damage.
fn inflate(mut reader: impl Read, room: usize) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let most = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
    let result = reader.by_ref().take(most).read_to_end(&mut out);
    let complete = result.is_ok() && out.len() <= room;
    out.truncate(room);
    (out, complete)
}

/// The members of a zip archive (APPNOTE 6.3.10 §4.3), stored or deflated.
fn members(bytes: &[u8], mut room: usize) -> (Vec<Part>, bool) {
    let (mut parts, mut complete) = (Vec::new(), true);
    let Ok(archive) = ZipArchive::from_slice(bytes) else { return (parts, false) };
    let mut entries = archive.entries();
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (parts, complete),
            Err(_) => return (parts, false),
        };
        if entry.is_dir() {
            continue;
        }
        if parts.len() >= MOST_PARTS || room == 0 {
            return (parts, false);
        }
        let Ok(member) = archive.get_entry(entry.wayfinder()) else {
            complete = false;
            continue;
        };
        let (inflated, whole) = match entry.compression_method() {
            CompressionMethod::STORE => inflate(member.data(), room),
            CompressionMethod::DEFLATE => inflate(DeflateDecoder::new(member.data()), room),
            _ => (Vec::new(), false),
        };
        complete &= whole;
        room -= inflated.len();
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        parts.push(Part::unpacked(Step::Zip(name), inflated));
    }
}

/// Text in UTF-16, by its byte order mark (RFC 2781 §3.2).
fn utf16(bytes: &[u8]) -> Option<Part> {
    let (rest, unit): (_, fn([u8; 2]) -> u16) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        _ => return None,
    };
    let (pairs, _) = rest.as_chunks::<2>();
    let text = String::from_utf16(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>()).ok()?;
    Some(Part::unpacked(Step::Utf16, text.into_bytes()))
}

/// The magic number and the only method (RFC 1952 §2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b, 8];

/// A local file header (APPNOTE 6.3.10 §4.3.7).
const ZIP: &[u8] = b"PK\x03\x04";

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};

    use super::*;

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
        for (n, (name, bytes)) in members.iter().enumerate() {
            let method = if n % 2 == 0 { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
            let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
            let descriptor = if n % 2 == 0 {
                let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::fast()));
                writer.write_all(bytes).unwrap();
                let (encoder, descriptor) = writer.finish().unwrap();
                encoder.finish().unwrap();
                descriptor
            } else {
                let mut writer = config.wrap(&mut entry);
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap().1
            };
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        out
    }

    fn found(bytes: &[u8], room: usize) -> (Vec<(String, Vec<u8>)>, bool) {
        let (parts, complete) = parts(bytes, room);
        (parts.into_iter().map(|part| (part.step.to_string(), part.bytes)).collect(), complete)
    }

    #[test]
    fn gzip_is_inflated_member_after_member() {
        let both = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(found(&both, 100), (vec![("gzip".into(), b"one two".to_vec())], true));
        assert_eq!(found(&both, 5), (vec![("gzip".into(), b"one t".to_vec())], false));
        let long = gzip(&b"0123456789".repeat(1000));
        assert!(!found(&long[..long.len() - 9], 1 << 20).1);
    }

    #[test]
    fn members_of_a_zip_archive_are_found_by_name() {
        let archive = zip(&[("a.txt", b"deflated"), ("docs/b.txt", b"stored")]);
        let expected = vec![("zip:a.txt".to_owned(), b"deflated".to_vec()), ("zip:docs/b.txt".into(), b"stored".to_vec())];
        assert_eq!(found(&archive, 100), (expected, true));
        assert_eq!(found(&archive, 8).0.len(), 1);
        assert_eq!(found(b"PK\x03\x04 and no more", 100), (Vec::new(), false));
    }

    #[test]
    fn utf_16_is_read_by_its_mark() {
        let little: Vec<u8> = "\u{feff}Grüße".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "\u{feff}Grüße".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big] {
            assert_eq!(found(&bytes, 100).0, [("utf-16".to_owned(), "Grüße".as_bytes().to_vec())]);
        }
        assert_eq!(found(&[0xff, 0xfe, 0, 0xd8], 100).0, []);
    }
}
