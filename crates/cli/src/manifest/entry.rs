//! One entry of a manifest's list, and how its texts become values.

use std::path::Path;
use std::str::FromStr;

use marque_core::ParseError;
use marque_core::resource::{InjectedHeader, InjectedVariable, Upstream};
use serde_saphyr::{Location, Spanned};

use super::ManifestError;
use super::file::{RawHeader, RawHttp, RawStdio, RawUpstream, RawVariable, Text};

/// An entry that is being read: its errors know the file and the path to it.
pub(super) struct Entry<'a> {
    pub(super) file: &'a Path,
    /// Where it begins: the place of what is missing in it.
    pub(super) at: Location,
    pub(super) errors: Vec<ManifestError>,
    path: String,
}

impl<'a> Entry<'a> {
    /// The entry at `path` in `file`, as `identities[0]`.
    pub(super) fn new(file: &'a Path, path: String, at: Location) -> Self {
        Self { file, at, errors: Vec::new(), path }
    }

    /// An error at `field`, which does not say yet what was expected there.
    pub(super) fn place(&self, at: Location, field: &str) -> ManifestError {
        ManifestError::at(self.file, Some(at), format!("{}.{field}", self.path), "")
    }

    /// Records that something else was expected of `field`.
    pub(super) fn wrong(&mut self, at: Location, field: &str, expected: &str) {
        self.errors.push(ManifestError::at(self.file, Some(at), format!("{}.{field}", self.path), expected));
    }

    /// Records that something else than `found` was expected of `field`.
    pub(super) fn refuse(&mut self, at: Location, field: &str, expected: &str, found: &str) {
        let found: String = found.chars().take(200).collect();
        self.wrong(at, field, &format!("{expected}, found `{found}`"));
    }

    /// The text of a field that must be there.
    pub(super) fn required<'t>(&mut self, at: Location, field: &str, text: Option<&'t Text>) -> Option<&'t Text> {
        if text.is_none() {
            self.wrong(at, field, "a value, found none");
        }
        text
    }

    /// The text of a field that must be there and be `good`.
    pub(super) fn checked(
        &mut self,
        at: Location,
        field: &str,
        text: Option<&Text>,
        expected: &str,
        good: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.required(at, field, text)?;
        if !good(&text.value) {
            self.refuse(text.referenced, field, expected, &text.value);
            return None;
        }
        Some(text.value.clone())
    }

    /// The value that a text stands for.
    pub(super) fn parse<T: FromStr<Err = ParseError>>(&mut self, field: &str, text: &Text) -> Option<T> {
        match text.value.parse() {
            Ok(value) => Some(value),
            Err(ParseError { expected, found }) => {
                self.refuse(text.referenced, field, expected, &found);
                None
            }
        }
    }

    /// The values of a list.
    pub(super) fn list<T: FromStr<Err = ParseError>>(&mut self, field: &str, texts: Option<&[Text]>) -> Vec<T> {
        let texts = texts.unwrap_or_default().iter().enumerate();
        texts.filter_map(|(index, text)| self.parse(&format!("{field}[{index}]"), text)).collect()
    }

    /// The value of one of `words`.
    pub(super) fn word<T: Copy>(&mut self, field: &str, text: &Text, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(text.referenced, field, &format!("one of {}", all.join(", ")), &text.value);
        }
        found.map(|(_, value)| *value)
    }

    /// Words for people, `least` to `most` characters of them.
    pub(super) fn prose(&mut self, field: &str, text: &Text, least: usize, most: usize) -> Option<String> {
        let value = text.value.trim();
        let length = value.chars().count();
        if !(least..=most).contains(&length) {
            self.wrong(text.referenced, field, &format!("{least} to {most} characters, found {length}"));
            return None;
        }
        if value.chars().any(|c| c.is_control() && c != '\n') {
            self.wrong(text.referenced, field, "plain text, found control characters");
            return None;
        }
        Some(value.to_owned())
    }

    /// How a service is reached.
    pub(super) fn upstream(&mut self, raw: &Spanned<RawUpstream>) -> Option<Upstream> {
        let found = match (&raw.value.http, &raw.value.stdio) {
            (Some(http), None) => return self.http(http),
            (None, Some(stdio)) => return self.stdio(stdio),
            (Some(_), Some(_)) => "both",
            (None, None) => "neither",
        };
        self.wrong(raw.referenced, "upstream", &format!("either `http` or `stdio`, found {found}"));
        None
    }

    fn http(&mut self, raw: &Spanned<RawHttp>) -> Option<Upstream> {
        let expected = "an address as `http://127.0.0.1:7001/mcp`, without a user name";
        let url = self.checked(raw.referenced, "upstream.http.url", raw.value.url.as_ref(), expected, is_address);
        let credential = raw.value.credential.as_ref().and_then(|raw| self.header(raw));
        Some(Upstream::Http { url: url?, credential })
    }

    fn header(&mut self, raw: &Spanned<RawHeader>) -> Option<InjectedHeader> {
        let (at, RawHeader { header, prefix, secret }) = (raw.referenced, &raw.value);
        let within = "upstream.http.credential";
        let header = self.checked(at, &format!("{within}.header"), header.as_ref(), "the name of a header", |name| {
            http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        });
        let prefix = prefix.as_ref().and_then(|text| {
            let expected = "what may stand in a header";
            self.checked(at, &format!("{within}.prefix"), Some(text), expected, |p| http::HeaderValue::from_str(p).is_ok())
        });
        let secret = self.checked(at, &format!("{within}.secret"), secret.as_ref(), SECRET_NAME, is_secret);
        Some(InjectedHeader { header: header?, prefix: prefix.unwrap_or_default(), secret: secret? })
    }

    fn stdio(&mut self, raw: &Spanned<RawStdio>) -> Option<Upstream> {
        let (at, RawStdio { command, args, secrets }) = (raw.referenced, &raw.value);
        let within = "upstream.stdio";
        let command = self.checked(at, &format!("{within}.command"), command.as_ref(), "a program", |command| {
            !command.is_empty() && is_argument(command)
        });
        let args = args.iter().flatten().enumerate().filter_map(|(index, text)| {
            let field = format!("{within}.args[{index}]");
            self.checked(at, &field, Some(text), "an argument without null characters", is_argument)
        });
        let args: Vec<String> = args.collect();
        let secrets = secrets.iter().flatten().enumerate();
        let secrets: Vec<_> =
            secrets.filter_map(|(index, raw)| self.variable(&format!("{within}.secrets[{index}]"), raw)).collect();
        Some(Upstream::Stdio { command: command?, args, secrets })
    }

    fn variable(&mut self, within: &str, raw: &Spanned<RawVariable>) -> Option<InjectedVariable> {
        let (at, RawVariable { variable, secret }) = (raw.referenced, &raw.value);
        let expected = "the name of an environment variable";
        let variable = self.checked(at, &format!("{within}.variable"), variable.as_ref(), expected, is_variable);
        let secret = self.checked(at, &format!("{within}.secret"), secret.as_ref(), SECRET_NAME, is_secret);
        Some(InjectedVariable { variable: variable?, secret: secret? })
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        let host = |authority: &http::uri::Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some_and(host)
    })
}

fn is_argument(text: &str) -> bool {
    !text.contains('\0')
}

fn is_variable(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// As the engine names secrets.
fn is_secret(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&text.len()) && !text.starts_with('.') && text.chars().all(plain)
}

const SECRET_NAME: &str = "the name of a secret, in letters, digits, `-`, `_`, `.`";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::manifest::read::{Reading, Source};

    fn read(upstream: &str) -> Result<Upstream, Vec<String>> {
        let text = format!("resources:\n  - id: service:x\n    upstream: {upstream}\n");
        let mut reading = Reading::of(&[Source { file: PathBuf::from("a.yaml"), text }], true);
        if reading.errors.is_empty() {
            return Ok(reading.resources.remove(0).upstream.unwrap());
        }
        Err(reading.errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_service_is_reached_over_http_or_started() {
        let header = "{ url: 'http://127.0.0.1:7001/mcp', credential: { header: authorization, prefix: 'Bearer ', secret: k } }";
        let credential = InjectedHeader { header: "authorization".into(), prefix: "Bearer ".into(), secret: "k".into() };
        let http = Upstream::Http { url: "http://127.0.0.1:7001/mcp".into(), credential: Some(credential) };
        assert_eq!(read(&format!("{{ http: {header} }}")), Ok(http));
        let secrets = vec![InjectedVariable { variable: "TOKEN".into(), secret: "k".into() }];
        let stdio = Upstream::Stdio { command: "npx".into(), args: vec!["-y".into(), "1".into()], secrets };
        let written = "{ stdio: { command: npx, args: ['-y', 1], secrets: [{ variable: TOKEN, secret: k }] } }";
        assert_eq!(read(written), Ok(stdio));
    }

    #[test]
    fn every_wrong_field_of_an_upstream_is_found() {
        let at = |column: u32, rest: &str| format!("a.yaml:3:{column}: resources[0].upstream{rest}");
        let neither = at(15, ": expected either `http` or `stdio`, found neither");
        assert_eq!(read("{}"), Err(vec![neither]));
        let both = at(15, ": expected either `http` or `stdio`, found both");
        assert_eq!(read("{ http: { url: 'http://h' }, stdio: { command: x } }"), Err(vec![both]));
        let http = vec![
            at(30, ".http.url: expected an address as `http://127.0.0.1:7001/mcp`, without a user name, found `ftp://h`"),
            at(63, ".http.credential.header: expected the name of a header, found `a b`"),
            at(53, ".http.credential.secret: expected a value, found none"),
        ];
        assert_eq!(read("{ http: { url: 'ftp://h', credential: { header: 'a b' } } }"), Err(http));
        let stdio = vec![
            at(24, ".stdio.command: expected a value, found none"),
            at(48, ".stdio.secrets[0].variable: expected the name of an environment variable, found `1A`"),
            at(62, ".stdio.secrets[0].secret: expected the name of a secret, in letters, digits, `-`, `_`, `.`, found `../x`"),
        ];
        assert_eq!(read("{ stdio: { secrets: [{ variable: '1A', secret: ../x }] } }"), Err(stdio));
    }

    #[test]
    fn addresses_carry_no_user_name() {
        for good in ["http://h", "https://h:1/p?q", "http://[::1]:7001/mcp"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "h", "/p", "http://", "http://u:p@h/", "file:///x", "http://h /"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
