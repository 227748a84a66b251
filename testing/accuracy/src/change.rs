//! What happens to a text on its way into somebody's report.

use serde_json::json;

use crate::random::Random;

/// Broken into lines of another width, with the line ends of another system.
pub fn rewrapped(text: &str, _: &mut Random, _: &[String]) -> Option<String> {
    let mut out = String::new();
    for paragraph in text.split("\n\n") {
        let mut width = 0;
        for word in paragraph.split_whitespace() {
            if width > 0 {
                out.push_str(if width + word.len() > WIDTH { "\r\n" } else { " " });
            }
            width = if width + word.len() > WIDTH { word.len() } else { width + word.len() + 1 };
            out.push_str(word);
        }
        out.push_str("\r\n\r\n");
    }
    Some(out)
}

/// Without the marks of Markdown, in capitals.
pub fn shouted(text: &str, _: &mut Random, _: &[String]) -> Option<String> {
    Some(text.chars().filter(|c| !"#*_`~|<>[]".contains(*c)).collect::<String>().to_uppercase())
}

/// Quoted as in mail.
pub fn quoted(text: &str, _: &mut Random, _: &[String]) -> Option<String> {
    let lines: String = text.lines().map(|line| format!("> {line}\n")).collect();
    Some(format!("On Monday somebody wrote:\n{lines}\nI agree.\n"))
}

/// As a page, its paragraphs in elements and its signs as character references.
pub fn html(text: &str, _: &mut Random, _: &[String]) -> Option<String> {
    let escaped =
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;");
    let paragraphs =
        escaped.split("\n\n").map(|paragraph| format!("  <p class=\"text\">{}</p>\n", paragraph.replace('\n', "<br/>\n")));
    Some(format!("<!doctype html>\n<html><body>\n{}</body></html>\n", paragraphs.collect::<String>()))
}

/// In the middle of 8 kB of other text, and all of it a string of JSON.
pub fn embedded(text: &str, random: &mut Random, others: &[String]) -> Option<String> {
    let (before, after) = (other(HOST / 2, random, others), other(HOST / 2, random, others));
    let content = format!("{before}\n\n{text}\n\n{after}");
    Some(json!({ "role": "assistant", "content": [{ "type": "text", "text": content }] }).to_string())
}

/// Two fifths of it, from anywhere.
pub fn excerpt(text: &str, random: &mut Random, _: &[String]) -> Option<String> {
    part(text, text.chars().count() * 2 / 5, random)
}

/// 200 characters of it.
pub fn characters_200(text: &str, random: &mut Random, _: &[String]) -> Option<String> {
    part(text, 200, random)
}

/// 100 characters of it.
pub fn characters_100(text: &str, random: &mut Random, _: &[String]) -> Option<String> {
    part(text, 100, random)
}

/// One word in ten replaced, left out or added to.
pub fn edited_10(text: &str, random: &mut Random, others: &[String]) -> Option<String> {
    Some(edited(text, 10, random, others))
}

/// One word in five.
pub fn edited_20(text: &str, random: &mut Random, others: &[String]) -> Option<String> {
    Some(edited(text, 20, random, others))
}

/// A run of characters from anywhere in a text, if it has so many.
pub fn part(text: &str, length: usize, random: &mut Random) -> Option<String> {
    let spare = text.chars().count().checked_sub(length)?;
    let skip = random.below(spare + 1);
    Some(text.chars().skip(skip).take(length).collect())
}

/// About this many bytes of other texts.
pub fn other(length: usize, random: &mut Random, others: &[String]) -> String {
    let mut out = String::new();
    while out.len() < length {
        let Some(text) = random.pick(others) else { break };
        out.push_str(text);
        out.push_str("\n\n");
    }
    let end = (0..=length.min(out.len())).rev().find(|end| out.is_char_boundary(*end)).unwrap_or_default();
    out.truncate(end);
    out
}

fn edited(text: &str, percent: usize, random: &mut Random, others: &[String]) -> String {
    let words: Vec<String> = other(HOST, random, others).split_whitespace().map(str::to_owned).collect();
    let mut out = String::new();
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        if word.is_empty() || !random.percent(percent) {
            out.push_str(piece);
            continue;
        }
        let new = random.pick(&words).map_or("another", String::as_str);
        let space = piece.get(word.len()..).unwrap_or_default();
        match random.below(3) {
            0 => out.push_str(&format!("{new}{space}")),
            1 => out.push_str(&format!("{word} {new}{space}")),
            _ => out.push_str(space),
        }
    }
    out
}

const WIDTH: usize = 60;
const HOST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A *title*\n\nSome words, & more of them <b>here</b>.\nA second line.\n\nThe end.\n";

    #[test]
    fn reformatting_keeps_the_words() {
        let random = &mut Random::new(1, "x");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&rewrapped(TEXT, random, &[]).unwrap()), words(TEXT));
        assert!(shouted(TEXT, random, &[]).unwrap().starts_with(" A TITLE"));
        assert!(quoted(TEXT, random, &[]).unwrap().contains("\n> A second line.\n"));
        assert!(html(TEXT, random, &[]).unwrap().contains("&amp; more of them &lt;b&gt;here"));
    }

    #[test]
    fn parts_have_the_length_that_was_asked_for() {
        let random = &mut Random::new(1, "x");
        assert_eq!(part(TEXT, 20, random).map(|part| part.len()), Some(20));
        assert_eq!(part("é", 2, random), None);
        let others = vec!["é".repeat(400)];
        assert_eq!(other(501, random, &others).len(), 500);
        assert!(embedded(TEXT, random, &others).unwrap().len() > HOST);
    }

    #[test]
    fn editing_changes_about_as_many_words_as_it_says() {
        let text = "word ".repeat(10_000);
        let out = edited(&text, 10, &mut Random::new(1, "x"), &["different".to_owned()]);
        let same = out.split_whitespace().filter(|word| *word == "word").count();
        // A word in thirty is left out, one in thirty replaced, and one in thirty gets another beside it.
        assert!((9200..9500).contains(&same), "{same}");
        assert!((200..500).contains(&(out.matches("different").count() / 2)));
    }
}
