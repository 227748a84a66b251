//! The reports: a folder of files whose names cannot leave it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::ToolServerError;

/// The folder of reports.
pub struct Reports {
    dir: PathBuf,
}

/// The arguments of `write_report`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteReport {
    name: FileName,
    content: String,
}

/// A name of 1 to 64 letters, digits, `.`, `_` or `-` that does not begin with a dot.
///
/// Invariant: joined to a folder it names a file in that folder, never another place.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct FileName(String);

impl Reports {
    /// Takes the folder, which must be there.
    pub fn open(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Writes exactly the bytes of the content, over an older report of that name.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, report: WriteReport) -> Result<Value, ToolServerError> {
        let path = self.dir.join(report.name.as_str());
        if let Err(source) = std::fs::write(&path, report.content.as_bytes()) {
            return Err(ToolServerError::File { path, source });
        }
        Ok(json!({ "path": path.to_string_lossy(), "bytes": report.content.len() }))
    }
}

impl FileName {
    /// Makes a name of any text: what is not allowed becomes `_`, leading dots go.
    ///
    /// # Errors
    ///
    /// When nothing is left.
    pub fn sanitised(text: &str) -> Result<Self, ToolServerError> {
        let plain = |c| if is_plain(c) { c } else { '_' };
        let kept = text.trim_start_matches('.').chars().map(plain).take(LONGEST);
        Self::try_from(kept.collect::<String>())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FileName {
    type Error = ToolServerError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let fits = (1..=LONGEST).contains(&name.len()) && !name.starts_with('.');
        if fits && name.chars().all(is_plain) { Ok(Self(name)) } else { Err(ToolServerError::FileName(name)) }
    }
}

/// The definition of `write_report`.
pub fn definition() -> Value {
    json!({
        "name": "write_report",
        "title": "Write a report",
        "description": "Writes a text into the folder of reports, replacing a report of the same name.",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "name": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$",
                    "description": "The file name of the report.",
                },
                "content": { "type": "string", "description": "The whole text of the report." },
            },
            "required": ["name", "content"],
            "additionalProperties": false,
        },
        "annotations": {
            "readOnlyHint": false,
            "destructiveHint": true,
            "idempotentHint": true,
            "openWorldHint": false,
        },
    })
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_stays_in_its_folder() {
        for good in ["a", "q3-report.md", "_x", "n".repeat(64).as_str()] {
            assert!(FileName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a b", "é", "a\0", "n".repeat(65).as_str()] {
            assert!(FileName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn sanitising_keeps_what_it_can() {
        let name = |text: &str| FileName::sanitised(text).map(|n| n.0).ok();
        assert_eq!(name("../../etc/passwd").as_deref(), Some("_.._etc_passwd"));
        assert_eq!(name("partner share.csv").as_deref(), Some("partner_share.csv"));
        assert_eq!(name("..."), None);
        assert_eq!(name(&"é".repeat(90)).map(|n| n.len()), Some(64));
    }
}
