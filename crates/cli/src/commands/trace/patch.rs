//! Which line of which file a line of a commit's text is.

/// The lines of a commit's message and of the unified diff behind it.
#[derive(Debug, Default)]
pub(super) struct Patch {
    files: Vec<String>,
    /// For each line of the text: the file, and the line in it.
    places: Vec<Option<(usize, usize)>>,
    /// How many lines the message has.
    message: usize,
}

impl Patch {
    /// Reads what `git show` printed.
    pub(super) fn read(text: &str) -> Self {
        let mut patch = Self::default();
        let (mut next, mut old, mut new) = (0, 0, 0);
        let mut in_message = true;
        for line in text.split_inclusive('\n') {
            let mut place = None;
            if old > 0 || new > 0 {
                match line.bytes().next() {
                    Some(b'-') => old -= usize::from(old > 0),
                    Some(b'\\') => {}
                    Some(b'+' | b' ' | b'\n') => {
                        place = patch.files.len().checked_sub(1).map(|file| (file, next));
                        next += 1;
                        new -= usize::from(new > 0);
                        old -= usize::from(old > 0 && !line.starts_with('+'));
                    }
                    _ => (old, new) = (0, 0),
                }
            } else if line.starts_with("diff --") {
                in_message = false;
            } else if let Some(name) = line.strip_prefix("+++ ").filter(|_| !in_message) {
                let name = name.split('\t').next().unwrap_or_default().trim();
                patch.files.push(super::plain(name.strip_prefix("b/").unwrap_or(name)));
            } else if let Some(hunk) = hunk(line).filter(|_| !in_message) {
                (old, next, new) = hunk;
            }
            patch.places.push(place);
            patch.message += usize::from(in_message);
        }
        patch
    }

    /// Lines of the text in the words of the commit: `report.md lines 1–12`, `the message`.
    pub(super) fn parts(&self, from: usize, to: usize) -> Vec<String> {
        let mut parts = Vec::new();
        if from <= self.message {
            parts.push("the message".to_owned());
        }
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        for (file, line) in (from..=to).filter_map(|n| self.places.get(n.checked_sub(1)?).copied().flatten()) {
            match runs.last_mut() {
                Some((last, _, end)) if *last == file => *end = line,
                _ => runs.push((file, line, line)),
            }
        }
        parts.extend(runs.into_iter().filter_map(|(file, first, last)| {
            let name = self.files.get(file)?;
            Some(if first == last { format!("{name} line {first}") } else { format!("{name} lines {first}–{last}") })
        }));
        parts
    }
}

/// The counts of old and new lines of a hunk, and where the new ones start, by its head `@@ -1,2 +3,4 @@`.
fn hunk(line: &str) -> Option<(usize, usize, usize)> {
    let mut words = line.strip_prefix("@@ -")?.split(' ');
    let (old, new) = (words.next()?, words.next()?.strip_prefix('+')?);
    let range = |range: &str| {
        let (start, count) = range.split_once(',').unwrap_or((range, "1"));
        Some((start.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    };
    let ((_, old), (start, new)) = (range(old)?, range(new)?);
    words.next().filter(|word| word.starts_with("@@"))?;
    Some((old, start, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
Write a report

Agent-Action: rec_1

diff --git a/a.md b/a.md
--- a/a.md
+++ b/a.md
@@ -1,3 +1,4 @@
 one
-two
+second
++++ no head
 three
@@ -9 +10 @@
-x
+y
\\ No newline at end of file
diff --git a/new.md b/new.md
--- /dev/null
+++ b/new.md
@@ -0,0 +1,2 @@
+first
+last
";

    #[test]
    fn lines_of_a_diff_are_lines_of_files() {
        let patch = Patch::read(SHOWN);
        let line = |text: &str| SHOWN.lines().position(|l| l == text).unwrap() + 1;
        assert_eq!(patch.parts(line("+second"), line("++++ no head")), ["a.md lines 2–3"]);
        assert_eq!(patch.parts(line("+y"), line("+y")), ["a.md line 10"]);
        assert_eq!(patch.parts(line("+second"), line("+last")), ["a.md lines 2–10", "new.md lines 1–2"]);
        assert_eq!(patch.parts(1, 3), ["the message"]);
        assert_eq!(patch.parts(3, line("+second")), ["the message", "a.md lines 1–2"]);
        assert!(patch.parts(line("--- a/a.md"), line("--- a/a.md")).is_empty() && patch.parts(1000, 2000).is_empty());
    }

    #[test]
    fn a_text_without_a_diff_is_a_message() {
        let patch = Patch::read("one\n@@ -1 +1 @@\n+++ b/x\n");
        assert_eq!(patch.parts(1, 3), ["the message"]);
    }
}
