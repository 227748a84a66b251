//! What a unified diff adds.

use super::map::Mapped;
use super::{Part, Step};

/// The lines that a unified diff adds, a part for each file. A diff may stand in other text, such as a mail.
///
/// Lines are counted as the head of each hunk says, so that added lines that look like heads are lines.
pub(super) fn added(bytes: &[u8]) -> Vec<Part> {
    let mut reader =
        Reader { bytes, parts: Vec::new(), file: String::new(), text: Mapped::default(), old: 0, new: 0, adds: false };
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        reader.line(at, line);
        at += line.len();
    }
    reader.end_file();
    reader.parts
}

struct Reader<'a> {
    bytes: &'a [u8],
    parts: Vec<Part>,
    file: String,
    text: Mapped,
    /// How many lines of the old and the new file are still to come in this hunk.
    old: usize,
    new: usize,
    /// Whether the last line was an added one.
    adds: bool,
}

impl Reader<'_> {
    fn line(&mut self, at: usize, line: &[u8]) {
        if line.starts_with(b"\\ No newline") {
            if self.adds {
                self.text.pop(b'\n');
            }
        } else if self.old > 0 || self.new > 0 {
            self.content(at, line);
        } else if let Some(name) = line.strip_prefix(b"+++ ") {
            self.end_file();
            let name = String::from_utf8_lossy(name);
            let name = name.split('\t').next().unwrap_or_default().trim();
            name.strip_prefix("b/").unwrap_or(name).clone_into(&mut self.file);
        } else if let Some((old, new)) = hunk(line) {
            (self.old, self.new) = (old, new);
        }
    }

    fn content(&mut self, at: usize, line: &[u8]) {
        self.adds = line.starts_with(b"+");
        match line.first() {
            Some(b'+') => {
                self.text.copy(self.bytes, at + 1..at + line.len());
                self.new = self.new.saturating_sub(1);
            }
            Some(b'-') => self.old = self.old.saturating_sub(1),
            // An empty line of context may have lost its space.
            Some(b' ' | b'\n' | b'\r') => {
                self.old = self.old.saturating_sub(1);
                self.new = self.new.saturating_sub(1);
            }
            _ => (self.old, self.new) = (0, 0),
        }
    }

    fn end_file(&mut self) {
        let text = std::mem::take(&mut self.text);
        let file = std::mem::take(&mut self.file);
        if !text.bytes().is_empty() {
            self.parts.push(Part::text(Step::Diff(file), text));
        }
    }
}

/// How many old and new lines a hunk has, by its head `@@ -1,2 +3,4 @@`.
fn hunk(line: &[u8]) -> Option<(usize, usize)> {
    let line = str::from_utf8(line.get(..line.len().min(MOST_HEAD))?).ok()?;
    let mut words = line.strip_prefix("@@ -")?.split(' ');
    let (old, new) = (words.next()?, words.next()?.strip_prefix('+')?);
    let count = |range: &str| {
        let (start, count) = range.split_once(',').unwrap_or((range, "1"));
        start.parse::<usize>().ok().and_then(|_| count.parse().ok())
    };
    words.next().filter(|word| word.starts_with("@@"))?;
    Some((count(old)?, count(new)?))
}

const MOST_HEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "\
Subject: [PATCH] two files

diff --git a/a.txt b/a.txt
--- a/a.txt
+++ b/a.txt
@@ -1,3 +1,4 @@ fn head
 context
-old
+new
+++ looks like a head
 end
@@ -9 +10 @@
-x
\\ No newline at end of file
+y
\\ No newline at end of file
diff --git a/b.txt b/b.txt
new file mode 100644
--- /dev/null
+++ b/b.txt
@@ -0,0 +1,2 @@
+first
+second
-- 
2.40
";

    #[test]
    fn added_lines_are_taken_for_each_file() {
        let parts = added(DIFF.as_bytes());
        let found: Vec<_> = parts.iter().map(|p| (p.step.to_string(), String::from_utf8_lossy(&p.bytes).into_owned())).collect();
        let expected = [("diff:a.txt", "new\n++ looks like a head\ny"), ("diff:b.txt", "first\nsecond\n")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let place = parts[1].map.as_ref().unwrap().there(6);
        assert!(DIFF[place..].starts_with("second"));
    }

    #[test]
    fn a_list_of_plus_signs_is_no_diff() {
        assert!(added(b"+ one\n+ two\n@@ nothing\n").is_empty());
        assert!(added(b"@@ -x +y @@\n+ two\n").is_empty());
    }
}
