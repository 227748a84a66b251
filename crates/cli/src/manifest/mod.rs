//! Manifests: a directory of YAML files with identities and resources, and of Cedar policies.
//!
//! [`read_placed()`] takes a directory to [`Desired`], which the engine plans and applies; it finds everything that is
//! wrong and says where. Policies are only read here: the engine checks them.

mod entry;
mod example;
mod file;
mod read;
mod schema;
mod selector;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use marque_core::identity::Lifecycle;
use marque_engine::desired::{Desired, PolicyText};
use serde_saphyr::Location;

pub use example::write_example;
pub use schema::json_schema;

use self::read::{Reading, Source};

/// Something wrong in a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The file, as its path in the manifest directory; the directory itself where no file is meant.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<u64>,
    /// The column in characters, from 1.
    pub column: Option<u64>,
    /// The field, as `identities[0].ceiling[1]`; empty where none is meant.
    pub field: String,
    /// What was expected and what was found.
    pub expected: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, "{number}:")?;
        }
        if !self.field.is_empty() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " expected {}", self.expected)
    }
}

impl std::error::Error for ManifestError {}

impl ManifestError {
    /// An error about a whole file or directory.
    fn of(file: &Path, expected: &str) -> Self {
        Self::at(file, None, String::new(), expected)
    }

    /// An error at a place in a file. What the file says is made printable.
    fn at(file: &Path, at: Option<Location>, field: String, expected: &str) -> Self {
        let at = at.filter(|at| *at != Location::UNKNOWN);
        Self {
            file: file.to_owned(),
            line: at.map(|at| at.line()),
            column: at.map(|at| at.column()),
            field: printable(&field),
            expected: printable(expected),
        }
    }
}

/// A manifest that was read, and where its identities' states stand.
#[derive(Debug)]
pub struct Placed {
    /// What it asks for.
    pub desired: Desired,
    /// By the identities' names: an error at that place, which says nothing yet.
    states: BTreeMap<String, ManifestError>,
}

impl Placed {
    /// The states that identities cannot take, `now` being where each is in its life.
    pub fn refused_states(&self, now: impl Fn(&str) -> Option<Lifecycle>) -> Vec<ManifestError> {
        let wrong = self.desired.identities.iter().filter_map(|spec| {
            let expected = spec.state_after(now(&spec.name)).err()?;
            let place = self.states.get(&spec.name)?.clone();
            Some(ManifestError { expected: format!("{expected}, found `{}`", spec.state), ..place })
        });
        wrong.collect()
    }
}

/// Reads a manifest directory: what [`read_placed`] gives without the places.
pub fn read(dir: &Path) -> Result<Desired, Vec<ManifestError>> {
    Ok(read_placed(dir)?.desired)
}

/// Reads a manifest directory: `*.yaml`, `*.yml` and `*.cedar` in it and below it, sorted by path, hidden ones left out.
///
/// All errors are collected, and nothing is returned when anything is wrong.
pub fn read_placed(dir: &Path) -> Result<Placed, Vec<ManifestError>> {
    let mut found = Found { root: dir, files: Vec::new(), errors: Vec::new() };
    found.visit(dir, 0);
    let Found { mut files, mut errors, .. } = found;
    if files.is_empty() && errors.is_empty() {
        let advice = format!("`*.yaml` and `*.cedar` files, found none: `marque init {}` writes an example", dir.display());
        return Err(vec![ManifestError::of(dir, &advice)]);
    }
    files.sort();

    let mut sources = Vec::new();
    let mut policies = Vec::new();
    let mut complete = errors.is_empty();
    for path in files {
        let name = path.strip_prefix(dir).unwrap_or(&path).to_owned();
        if is_policy(&path) {
            match policy(&path, &name) {
                Ok(policy) => policies.push(policy),
                Err(error) => errors.push(error),
            }
        } else {
            match text(&path, &name, MAX_YAML) {
                Ok(text) => sources.push(Source { file: name, text }),
                Err(error) => {
                    complete = false;
                    errors.push(error);
                }
            }
        }
    }

    let mut reading = Reading::of(&sources, complete);
    errors.append(&mut reading.errors);
    if errors.is_empty() {
        let desired = Desired { identities: reading.identities, resources: reading.resources, policies, why: None };
        return Ok(Placed { desired, states: reading.states });
    }
    errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Err(errors)
}

/// What stands in a manifest directory.
struct Found<'a> {
    root: &'a Path,
    files: Vec<PathBuf>,
    errors: Vec<ManifestError>,
}

impl Found<'_> {
    fn visit(&mut self, folder: &Path, depth: usize) {
        let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        match entries {
            Ok(_) if depth > MAX_DEPTH => {
                self.wrong(folder, &format!("at most {MAX_DEPTH} directories within each other, found more"))
            }
            Ok(entries) => {
                for entry in entries {
                    self.entry(&entry, depth);
                    if self.files.len() > MAX_FILES {
                        return;
                    }
                }
            }
            Err(error) => self.wrong(folder, &format!("a directory that can be read, found: {error}")),
        }
    }

    fn entry(&mut self, entry: &DirEntry, depth: usize) {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            return;
        }
        let wanted = is_policy(&path) || is_yaml(&path);
        let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        match fs::metadata(&path) {
            // What is behind a link to a directory may hold this one again, and leaving it out would drop policies.
            Ok(meta) if meta.is_dir() && link => self.wrong(&path, "a directory, found a symbolic link to one"),
            Ok(meta) if meta.is_dir() => self.visit(&path, depth + 1),
            Ok(meta) if wanted && meta.is_file() => {
                self.files.push(path);
                if self.files.len() == MAX_FILES + 1 {
                    self.wrong(self.root, &format!("at most {MAX_FILES} files, found more"));
                }
            }
            Ok(_) if wanted => self.wrong(&path, "a file, found something else"),
            Err(error) if wanted => self.wrong(&path, &format!("a file that can be read, found: {error}")),
            _ => {}
        }
    }

    fn wrong(&mut self, path: &Path, expected: &str) {
        let name = path.strip_prefix(self.root).ok().filter(|name| !name.as_os_str().is_empty());
        self.errors.push(ManifestError::of(name.unwrap_or(path), expected));
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn is_policy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cedar")
}

fn policy(path: &Path, name: &Path) -> Result<PolicyText, ManifestError> {
    let text = text(path, name, MAX_POLICY)?;
    let name = name.to_str().ok_or_else(|| ManifestError::of(name, "a path in UTF-8"))?;
    Ok(PolicyText { name: name.to_owned(), text })
}

/// The text of a file that is called `name` in the manifest and has at most `most` bytes.
fn text(path: &Path, name: &Path, most: u64) -> Result<String, ManifestError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(ManifestError::of(name, &format!("a file that can be read, found: {error}")));
    }
    if bytes.len() as u64 > most {
        return Err(ManifestError::of(name, &format!("at most {most} bytes, found more: divide it into several files")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() as u64 + 1;
        ManifestError { line: Some(line), ..ManifestError::of(name, "text in UTF-8, found other bytes") }
    })
}

/// `text` with its control characters written out.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The most bytes of a YAML file.
const MAX_YAML: u64 = 1024 * 1024;

/// The most bytes of a policy file.
const MAX_POLICY: u64 = 60_000;

/// The most files of a manifest.
const MAX_FILES: usize = 1_000;

/// How many directories may lie within each other.
const MAX_DEPTH: usize = 16;

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory that is gone after the test.
    pub(crate) struct Dir(PathBuf);

    impl Dir {
        pub(crate) fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!("marque-manifest-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }

        pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn errors(dir: &Dir) -> Vec<String> {
        read(dir.path()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_are_sorted_and_hidden_ones_left_out() {
        let dir = Dir::new();
        dir.write("z.cedar", "// z");
        dir.write("policies/b.cedar", "// b");
        dir.write("policies/a.cedar", "// a");
        dir.write(".git/hook.cedar", "// no");
        dir.write("policies/.a.cedar", "// no");
        dir.write("notes.txt", "no");
        dir.write("b.yml", "resources: [{ id: dataset:b }]\n");
        dir.write("a/c.yaml", "resources: [{ id: dataset:a }]\n");
        let desired = read(dir.path()).unwrap();
        let policies: Vec<_> = desired.policies.iter().map(|p| (p.name.as_str(), p.text.as_str())).collect();
        assert_eq!(policies, [("policies/a.cedar", "// a"), ("policies/b.cedar", "// b"), ("z.cedar", "// z")]);
        let resources: Vec<_> = desired.resources.iter().map(|r| r.id.to_string()).collect();
        assert_eq!(resources, ["dataset:a", "dataset:b"]);
    }

    #[test]
    fn a_state_that_an_identity_cannot_take_names_its_place() {
        let dir = Dir::new();
        let one = |name: &str, state: &str| {
            format!("  - name: {name}\n    kind: agent\n    owner: alice@example.com\n    purpose: x\n{state}")
        };
        let text = ["identities:\n".to_owned(), one("agent/a", "    state: suspended\n"), one("agent/b", "")].concat();
        dir.write("a.yaml", text);
        let manifest = read_placed(dir.path()).unwrap();
        let refused = |now: [Option<Lifecycle>; 2]| -> Vec<String> {
            let [a, b] = now;
            manifest.refused_states(|name| if name == "agent/a" { a } else { b }).iter().map(ToString::to_string).collect()
        };
        let state =
            "identities[0].state: expected proposed, active or retired, for the identity is proposed and was never active";
        assert_eq!(refused([Some(Lifecycle::Proposed), None]), [format!("a.yaml:6:12: {state}, found `suspended`")]);
        let expected = [
            "a.yaml:6:12: identities[0].state: expected proposed or active, for the identity is new, found `suspended`",
            "a.yaml:7:11: identities[1].state: expected retired, as the identity is: its name is never used again, found \
             `active`",
        ];
        assert_eq!(refused([None, Some(Lifecycle::Retired)]), expected);
        for now in [Lifecycle::Active, Lifecycle::Suspended] {
            assert!(refused([Some(now), Some(now)]).is_empty(), "{now}");
        }
    }

    #[test]
    fn an_empty_directory_says_what_to_do() {
        let dir = Dir::new();
        let at = dir.path().display();
        let advice = format!("{at}: expected `*.yaml` and `*.cedar` files, found none: `marque init {at}` writes an example");
        assert_eq!(errors(&dir), [advice]);
        let missing = read(&dir.path().join("no")).unwrap_err();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].expected.starts_with("a directory that can be read, found: "), "{}", missing[0]);
    }

    #[test]
    fn sizes_and_encodings_are_bounded() {
        let dir = Dir::new();
        dir.write("a.cedar", "/".repeat(60_000));
        dir.write("b.cedar", "/".repeat(60_001));
        dir.write("c.yaml", "#".repeat(1024 * 1024 + 1));
        dir.write("d.cedar", b"// a\n\xff");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("e")).unwrap();
        let expected = [
            "b.cedar: expected at most 60000 bytes, found more: divide it into several files",
            "c.yaml: expected at most 1048576 bytes, found more: divide it into several files",
            "d.cedar:2: expected text in UTF-8, found other bytes",
            "e: expected a directory, found a symbolic link to one",
        ];
        assert_eq!(errors(&dir), expected);
    }

    #[test]
    fn too_many_files_are_one_error() {
        let dir = Dir::new();
        for i in 0..=MAX_FILES {
            dir.write(&format!("{i}.cedar"), "");
        }
        let errors = errors(&dir);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].ends_with(": expected at most 1000 files, found more"), "{errors:?}");
    }
}
