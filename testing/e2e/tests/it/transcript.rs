//! Transcripts in Markdown: commands with what they are expected to print.
//!
//! In a block that starts with three backticks and `console`, a line `$ command` is a command, `> …` continues it, `? N`
//! is the exit code that it is expected to have (0 without one), and the lines up to the next command are what it
//! prints. There, `[..]` stands for anything within a line, and a line `...` for any number of lines.

/// One command of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it stands, from 1.
    pub line: usize,
    pub command: String,
    pub code: i32,
    pub expected: Vec<String>,
}

impl Step {
    /// The command of a server that is to run in the background, if it is one.
    pub fn in_background(&self) -> Option<&str> {
        let command = self.command.trim_end().strip_suffix('&')?.trim_end();
        format!("{command} ").contains(" serve ").then_some(command)
    }

    /// What stands after `--state` in the command.
    pub fn state(&self) -> Option<&str> {
        let after = self.command.split_once("--state")?.1;
        after.split(['=', ' ']).find(|word| !word.is_empty())
    }
}

/// The commands of a document, in order.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut continues) = (false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if !inside {
            inside = line.trim() == "```console";
            continues = false;
            continue;
        }
        if line.trim() == "```" {
            inside = false;
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: number, command: command.to_owned(), code: 0, expected: Vec::new() });
            continues = true;
            continue;
        }
        let Some(step) = steps.last_mut() else { continue };
        match (line.strip_prefix("> "), line.strip_prefix("? ").and_then(|code| code.trim().parse().ok())) {
            (Some(more), _) if continues => step.command = format!("{}\n{more}", step.command),
            (_, Some(code)) if step.expected.is_empty() => {
                step.code = code;
                continues = false;
            }
            _ => {
                step.expected.push(line.to_owned());
                continues = false;
            }
        }
    }
    steps
}

/// Whether what was printed is what is expected; white space at the end of lines and empty lines at the end aside.
pub fn matches(expected: &[String], got: &str) -> bool {
    let expected: Vec<&str> = trimmed(expected.iter().map(String::as_str));
    let got: Vec<&str> = trimmed(got.lines());
    lines_match(&expected, &got)
}

fn trimmed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut lines: Vec<&str> = lines.map(str::trim_end).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

fn lines_match(expected: &[&str], got: &[&str]) -> bool {
    match expected.split_first() {
        None => got.is_empty(),
        Some((&"...", rest)) => (0..=got.len()).any(|skipped| lines_match(rest, &got[skipped..])),
        Some((line, rest)) => got.split_first().is_some_and(|(first, more)| line_matches(line, first) && lines_match(rest, more)),
    }
}

fn line_matches(expected: &str, got: &str) -> bool {
    let Some((start, rest)) = expected.split_once(ANYTHING) else { return expected == got };
    let Some(mut got) = got.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split(ANYTHING).collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = got.split_once(part) else { return false };
        got = after;
    }
    got.ends_with(end)
}

const ANYTHING: &str = "[..]";

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(expected: &str, got: &str) -> bool {
        matches(&expected.lines().map(str::to_owned).collect::<Vec<_>>(), got)
    }

    #[test]
    fn lines_are_compared_whole() {
        assert!(fits("", "") && fits("one\ntwo", "one\ntwo\n") && fits("one  ", "one\n\n"));
        for (expected, got) in [("one", "one two"), ("one", ""), ("", "one"), ("one\ntwo", "two\none"), ("one", " one")] {
            assert!(!fits(expected, got), "{expected:?} {got:?}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_anything_within_a_line() {
        for got in ["started task_1 for a", "started  for a", "started x for b for a"] {
            assert!(fits("started [..] for a", got), "{got}");
        }
        assert!(fits("[..]", "anything") && !fits("[..]", "") && fits("a[..]b[..]c", "a-b-c"));
        for got in ["started", "started x for b", "has started x for a", "started x\nfor a"] {
            assert!(!fits("started [..] for a", got), "{got}");
        }
        assert!(!fits("a[..]b[..]c", "a-c-b") && !fits("ab[..]ba", "aba"));
    }

    #[test]
    fn an_ellipsis_stands_for_any_number_of_lines() {
        for got in ["a\nz", "a\nb\nz", "a\nz\nz"] {
            assert!(fits("a\n...\nz", got), "{got:?}");
        }
        assert!(fits("...", "") && fits("...", "a\nb") && fits("...\nb", "a\nb") && !fits("...\nb", "a") && !fits("a\n...", "b"));
    }

    #[test]
    fn commands_are_read_with_their_place_and_code() {
        let text = "# Title\n```sh\n$ not this\n```\n```console\n$ one \\\n> two\nout\n$ three\n? 4\nbad\n? 5\n```\nafter\n";
        let step = |line, command: &str, code, expected: &[&str]| Step {
            line,
            command: command.to_owned(),
            code,
            expected: expected.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(steps(text), [step(6, "one \\\ntwo", 0, &["out"]), step(9, "three", 4, &["bad", "? 5"])]);
    }

    #[test]
    fn a_server_is_known_by_its_ampersand() {
        let step = |command: &str| Step { line: 1, command: command.to_owned(), code: 0, expected: Vec::new() };
        let serve = step("marque --state office serve --listen 127.0.0.1:0 &");
        assert_eq!(serve.in_background(), Some("marque --state office serve --listen 127.0.0.1:0"));
        assert_eq!(serve.state(), Some("office"));
        assert_eq!(step("marque serve --state=office &").state(), Some("office"));
        assert_eq!(step("marque serve &").in_background(), Some("marque serve"));
        assert_eq!(step("marque serve &").state(), None);
        assert_eq!(step("marque serve").in_background(), None);
        assert_eq!(step("sleep 1 &").in_background(), None);
    }
}
