//! Lines for a SIEM: ArcSight Common Event Format, version 0 (Implementation Standard, revision 26).

use crate::facts::{Facts, Severity, ending_word, sentence};
use crate::{Entry, PRODUCT, Source};
use marque_core::event::Body;

/// An entry as one line, without a line feed and without a syslog header.
pub fn line(source: &Source<'_>, entry: &Entry<'_>) -> String {
    let event = entry.event;
    let mut line = String::from("CEF:0");
    for field in [PRODUCT, PRODUCT, source.version, event.what.kind(), &sentence(event), severity(entry)] {
        line.push('|');
        escape_header(field, &mut line);
    }
    line.push('|');
    for (i, (key, value)) in extension(source, entry).into_iter().enumerate() {
        if i > 0 {
            line.push(' ');
        }
        line.push_str(key);
        line.push('=');
        escape_value(&value, &mut line);
    }
    line
}

/// CEF has six texts and three numbers for what it has no key for; each has a label.
fn extension(source: &Source<'_>, entry: &Entry<'_>) -> Vec<(&'static str, String)> {
    let event = entry.event;
    let facts = Facts::of(event);
    let mut out = vec![
        ("rt", event.ts.micros().div_euclid(1000).to_string()),
        ("externalId", event.id.to_string()),
        ("deviceExternalId", source.origin.to_owned()),
        ("cat", event.what.kind().to_owned()),
        ("cn1Label", "index".to_owned()),
        ("cn1", entry.index.to_string()),
        ("flexString1Label", "leafHash".to_owned()),
        ("flexString1", hex::encode(entry.leaf)),
        ("flexString2Label", "by".to_owned()),
        ("flexString2", event.by.to_string()),
    ];
    let mut put = |key, value: Option<String>| out.extend(value.map(|value| (key, value)));
    put("suser", facts.person);
    put("destinationServiceName", facts.resource);
    put("act", facts.effect.map(str::to_owned));
    put("reason", facts.why);
    if let Body::Decided(decided) = &event.what {
        put("app", Some(decided.protocol.clone()));
    }
    if let Body::Settled { outcome, .. } = &event.what {
        put("outcome", Some(ending_word(outcome.ending).to_owned()));
        put("in", Some(outcome.bytes.to_string()));
    }
    let texts = [
        ("cs1Label", "cs1", "identity", facts.identity),
        ("cs2Label", "cs2", "instance", facts.instance),
        ("cs3Label", "cs3", "task", facts.task),
        ("cs4Label", "cs4", "lease", facts.lease),
        ("cs5Label", "cs5", "record", facts.record.or(facts.elevation)),
        ("cs6Label", "cs6", "policy", facts.policy),
    ];
    for (label, key, name, value) in texts {
        if let Some(value) = value {
            put(label, Some(name.to_owned()));
            put(key, Some(value));
        }
    }
    put("requestMethod", facts.action.map(str::to_owned));
    out
}

/// 0 to 10.
fn severity(entry: &Entry<'_>) -> &'static str {
    match Severity::of(entry.event) {
        Severity::Information => "1",
        Severity::Low => "3",
        Severity::Medium => "6",
        Severity::High => "8",
    }
}

/// In the header a pipe and a backslash are escaped, and a line cannot end.
fn escape_header(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '\\' | '|' => line.extend(['\\', c]),
            c if c.is_control() => line.push(' '),
            c => line.push(c),
        }
    }
}

/// In a value an equals sign and a backslash are escaped, and line ends are written as `\n` and `\r`; a pipe stands.
fn escape_value(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '\\' | '=' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            c if c.is_control() => line.push(' '),
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_is_escaped() {
        let (mut header, mut value) = (String::new(), String::new());
        escape_header("a|b\\c=d\ne", &mut header);
        assert_eq!(header, "a\\|b\\\\c=d e");
        escape_value("a|b\\c=d\r\ne\tf", &mut value);
        assert_eq!(value, "a|b\\\\c\\=d\\r\\ne f");
    }
}
