//! The example that `marque init` writes: small, commented and ready to be edited.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::schema::json_schema;

/// Writes the example manifest and its JSON Schema into `dir`, and says which files those are.
///
/// Nothing is overwritten: when any of the files exists, nothing is written at all.
pub fn write_example(dir: &Path) -> Result<Vec<PathBuf>, io::Error> {
    let schema = serde_json::to_string_pretty(&json_schema())? + "\n";
    let mut files: Vec<(PathBuf, &str)> = EXAMPLE.iter().map(|(name, text)| (dir.join(name), *text)).collect();
    files.push((dir.join(SCHEMA), schema.as_str()));
    if let Some((taken, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        let message = format!("`{}` exists already, and nothing is overwritten", taken.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    for (path, text) in &files {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// The example's files, by their path in the manifest directory.
pub(super) const EXAMPLE: [(&str, &str); 3] = [
    ("identities.yaml", include_str!("example/identities.yaml")),
    ("resources.yaml", include_str!("example/resources.yaml")),
    ("policies/guardrails.cedar", include_str!("example/policies/guardrails.cedar")),
];

/// The name that the first line of each example file gives to its editor.
const SCHEMA: &str = "marque.schema.json";

#[cfg(test)]
mod tests {
    use marque_core::resource::{Risk, Sensitivity};

    use super::*;
    use crate::manifest::read;
    use crate::manifest::tests::Dir;

    #[test]
    fn the_example_reads_back() {
        let dir = Dir::new();
        let written = write_example(dir.path()).unwrap();
        assert_eq!(written.len(), 4);

        let desired = read(dir.path()).unwrap();
        let names: Vec<_> = desired.identities.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["agent/orchestrator", "agent/researcher"]);
        assert_eq!(desired.identities[0].selectors.len(), 2);
        let tool = desired.resources.iter().find(|r| r.id.name() == "crm/send_email").unwrap();
        assert_eq!((tool.risk, tool.egress), (Some(Risk::High), true));
        assert_eq!((tool.sensitivity, tool.personal), (Sensitivity::Confidential, true), "as the data that it touches");
        assert_eq!(desired.policies.len(), 1);
        assert_eq!(desired.policies[0].name, "policies/guardrails.cedar");
    }

    #[test]
    fn yaml_files_name_the_schema_that_is_written_beside_them() {
        for (name, text) in EXAMPLE.iter().filter(|(name, _)| name.ends_with(".yaml")) {
            assert_eq!(text.lines().next(), Some("# yaml-language-server: $schema=./marque.schema.json"), "{name}");
        }
        let dir = Dir::new();
        write_example(dir.path()).unwrap();
        let schema = fs::read_to_string(dir.path().join(SCHEMA)).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&schema).unwrap(), json_schema());
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = Dir::new();
        dir.write("resources.yaml", "mine");
        let error = write_example(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("resources.yaml"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("resources.yaml")).unwrap(), "mine");
        assert!(!dir.path().join("identities.yaml").exists());
    }
}
