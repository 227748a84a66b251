//! The names of users and groups, as `/etc/passwd` and `/etc/group` have them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::FileKey;

/// One of the two files, read again when it has changed.
#[derive(Debug)]
pub(super) struct Names {
    file: PathBuf,
    read: Mutex<Option<(FileKey, HashMap<u32, String>)>>,
}

impl Names {
    pub(super) fn of(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), read: Mutex::default() }
    }

    /// The name of a number; nothing if the file does not have it or cannot be read.
    pub(super) fn get(&self, number: &str) -> Option<String> {
        let number: u32 = number.parse().ok()?;
        let mut file = File::open(&self.file).ok()?;
        let key = FileKey::of(&file.metadata().ok()?);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.as_ref().is_none_or(|(known, _)| *known != key) {
            let mut text = String::new();
            file.read_to_string(&mut text).ok()?;
            *read = Some((key, parse(&text)));
        }
        read.as_ref().and_then(|(_, names)| names.get(&number)).cloned()
    }
}

/// `name:password:number:…` (passwd(5), group(5)). Of two names for one number the first counts.
pub(super) fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (name, number) = (fields.next().unwrap_or_default(), fields.nth(1).and_then(|n| n.parse().ok()));
        if let (false, Some(number)) = (name.is_empty() || name.starts_with(['#', '+', '-']), number) {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\n#a:x:1:\n+::2:\nbad\nworse:x:y:\nme:x:1000:");
        assert_eq!(names, HashMap::from([(0, "root".to_owned()), (1000, "me".to_owned())]));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        let names = Names::of(&file);
        assert_eq!(names.get("7"), None, "there is no file");
        std::fs::write(&file, "one:x:7:\n").unwrap();
        assert_eq!(names.get("7").as_deref(), Some("one"));
        assert_eq!(names.get("8"), None);
        assert_eq!(names.get("seven"), None);
        std::fs::write(&file, "another:x:7:\n").unwrap();
        assert_eq!(names.get("7").as_deref(), Some("another"));
    }
}
