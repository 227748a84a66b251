//! Which logs and witnesses are trusted, and how many of them it takes (C2SP tlog-policy).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{Checkpoint, parse_decimal};
use crate::cosignature::WitnessVerifier;
use crate::error::{LedgerError, Result};
use crate::note::{Note, Verifier, open};

/// A policy: logs, witnesses, and the quorum of witnesses that makes a checkpoint valid (C2SP tlog-policy).
///
/// It is written in one form: logs, then witnesses and groups in the order of their definitions, then the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    names: Vec<Name>,
    /// The place in `names`; nothing for `none`.
    quorum: Option<usize>,
}

/// A log of a policy (C2SP tlog-policy, "Defining a log").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// The key, whose name is the log's origin.
    pub verifier: Verifier,
    /// Where the log is; what it is for is the application's business.
    pub url: Option<String>,
}

/// A witness of a policy (C2SP tlog-policy, "Defining a witness").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// The key; its name means nothing to the policy.
    pub verifier: WitnessVerifier,
    /// The prefix to which checkpoints are submitted.
    pub url: Option<String>,
}

/// How a checkpoint stands to a policy (C2SP tlog-policy, "What is a policy?").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Whether a log of the policy signed it. When not, the policy has no logs: whoever knows the log checks its signature.
    pub is_signed: bool,
    /// The witnesses that cosigned it, in the policy's order.
    pub cosigned: Vec<Cosigner>,
    /// The policy's names of the witnesses that did not.
    pub missing: Vec<String>,
    /// Whether those that did are a quorum.
    pub is_quorum: bool,
}

/// A witness that cosigned a checkpoint (C2SP tlog-policy, tlog-cosignature v1.0.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigner {
    /// The policy's name of the witness.
    pub name: String,
    /// When it cosigned, in seconds since 1970, as it says.
    pub time: u64,
}

impl Verdict {
    /// The time of the newest cosignature, in seconds since 1970 (tlog-cosignature v1.0.1, "Format").
    pub fn newest(&self) -> Option<u64> {
        self.cosigned.iter().map(|cosigner| cosigner.time).max()
    }
}

impl Policy {
    /// Reads a policy file; what is refused is named by its line (C2SP tlog-policy, "Policy file syntax and structure").
    /// Comments may have any bytes; other lines must be UTF-8.
    pub fn from_bytes(file: &[u8]) -> Result<Self> {
        let lines = file.strip_suffix(b"\n").unwrap_or(file).split(|byte| *byte == b'\n');
        let mut reader = Reader::default();
        let mut last = 1;
        for (line, bytes) in (1..).zip(lines) {
            reader.line(bytes).map_err(|what| LedgerError::BadPolicy { line, what })?;
            last = line;
        }
        let Reader { logs, names, quorum, .. } = reader;
        let missing = || LedgerError::BadPolicy { line: last, what: "is the last, and none is a quorum".to_owned() };
        Ok(Self { logs, names, quorum: quorum.ok_or_else(missing)? })
    }

    /// The logs, in the order of their lines (C2SP tlog-policy, "Defining a log").
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses with the policy's names of them, in the order of their lines (C2SP tlog-policy, "Defining a witness").
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &PolicyWitness)> {
        self.names.iter().filter_map(|Name { name, rule }| match rule {
            Rule::Witness(witness) => Some((name.as_str(), &**witness)),
            Rule::Group { .. } => None,
        })
    }

    /// Says how a checkpoint stands to the policy (C2SP tlog-policy, tlog-proof "Verifying a tlog proof").
    ///
    /// It is an error when none of the policy's logs, if it has any, signed the checkpoint under its own name, or when a line
    /// of a known key does not verify; too few cosignatures are a verdict.
    pub fn evaluate(&self, note: &str) -> Result<Verdict> {
        let parsed = Note::parse(note)?;
        let checkpoint: Checkpoint = parsed.text.parse()?;
        if !self.logs.is_empty() {
            let of_origin = self.logs.iter().map(|log| &log.verifier).filter(|log| log.name() == checkpoint.origin);
            open(note, &of_origin.cloned().collect::<Vec<_>>())?;
        }
        let (mut cosigned, mut missing, mut held) = (Vec::new(), Vec::new(), Vec::with_capacity(self.names.len()));
        for Name { name, rule } in &self.names {
            held.push(match rule {
                Rule::Witness(witness) => match witness.verifier.verify_note(&parsed)? {
                    Some(time) => {
                        cosigned.push(Cosigner { name: name.clone(), time });
                        true
                    }
                    None => {
                        missing.push(name.clone());
                        false
                    }
                },
                Rule::Group { least, members } => {
                    members.iter().filter(|member| held.get(**member) == Some(&true)).count() >= *least
                }
            });
        }
        let is_quorum = self.quorum.is_none_or(|quorum| held.get(quorum) == Some(&true));
        Ok(Verdict { checkpoint, is_signed: !self.logs.is_empty(), cosigned, missing, is_quorum })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spaced = |word: &Option<String>| word.as_ref().map(|word| format!(" {word}")).unwrap_or_default();
        let name = |place: &usize| self.names.get(*place).map_or(NONE, |named| named.name.as_str());
        for PolicyLog { verifier, url } in &self.logs {
            writeln!(f, "log {verifier}{}", spaced(url))?;
        }
        for named in &self.names {
            match &named.rule {
                Rule::Witness(witness) => {
                    writeln!(f, "witness {} {}{}", named.name, witness.verifier, spaced(&witness.url))?;
                }
                Rule::Group { least, members } => {
                    let members: Vec<_> = members.iter().map(name).collect();
                    writeln!(f, "group {} {least} {}", named.name, members.join(" "))?;
                }
            }
        }
        writeln!(f, "quorum {}", self.quorum.as_ref().map_or(NONE, name))
    }
}

impl FromStr for Policy {
    type Err = LedgerError;

    fn from_str(file: &str) -> Result<Self> {
        Self::from_bytes(file.as_bytes())
    }
}

/// A name that a quorum or group can refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    name: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Witness(Box<PolicyWitness>),
    /// At least so many of the members, which stand before it in [`Policy::names`]: so no group is within itself.
    Group {
        least: usize,
        members: Vec<usize>,
    },
}

/// What has been read of a file so far.
#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    names: Vec<Name>,
    places: HashMap<String, usize>,
    /// The places of the names that are members of a group.
    listed: HashSet<usize>,
    quorum: Option<Option<usize>>,
}

impl Reader {
    /// Reads one line, or says what it does wrong.
    fn line(&mut self, bytes: &[u8]) -> Fine {
        if bytes.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err("has a control character".to_owned());
        }
        if bytes.trim_ascii_start().first().is_none_or(|first| *first == b'#') {
            return Ok(());
        }
        let line = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, least, members @ ..] if !members.is_empty() => self.group(name, least, members),
            ["quorum", name] => self.quorum(name),
            [keyword @ ("log" | "witness" | "group" | "quorum"), ..] => {
                Err(format!("has too few or too many words for `{keyword}`"))
            }
            [keyword, ..] => Err(format!("starts with `{keyword}`, not with log, witness, group or quorum")),
            [] => Ok(()),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Fine {
        let verifier: Verifier = key.parse().map_err(unreadable)?;
        if self.logs.iter().any(|log| log.verifier.public_key() == verifier.public_key()) {
            return Err(format!("has the public key of another log: `{key}`"));
        }
        self.logs.push(PolicyLog { verifier, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Fine {
        let verifier: WitnessVerifier = key.parse().map_err(unreadable)?;
        let is_same = |rule: &Rule| matches!(rule, Rule::Witness(other) if other.verifier.public_key() == verifier.public_key());
        if self.names.iter().any(|named| is_same(&named.rule)) {
            return Err(format!("has the public key of another witness: `{key}`"));
        }
        self.define(name, Rule::Witness(Box::new(PolicyWitness { verifier, url: url.map(str::to_owned) })))
    }

    fn group(&mut self, name: &str, least: &str, members: &[&str]) -> Fine {
        let least = match least {
            "any" => Some(1),
            "all" => Some(members.len()),
            number => parse_decimal(number).and_then(|number| usize::try_from(number).ok()),
        };
        let in_range = least.filter(|least| (1..=members.len()).contains(least));
        let least = in_range.ok_or_else(|| format!("needs any, all or a number from 1 to {}", members.len()))?;
        let places = members.iter().map(|member| self.place(member)).collect::<std::result::Result<Vec<_>, _>>()?;
        for (place, member) in places.iter().zip(members) {
            // Each witness counts in one way only.
            if !self.listed.insert(*place) {
                return Err(format!("lists `{member}`, which is in a group already"));
            }
        }
        self.define(name, Rule::Group { least, members: places })
    }

    fn quorum(&mut self, name: &str) -> Fine {
        if self.quorum.is_some() {
            return Err("is a second quorum".to_owned());
        }
        self.quorum = Some(if name == NONE { None } else { Some(self.place(name)?) });
        Ok(())
    }

    fn define(&mut self, name: &str, rule: Rule) -> Fine {
        if name == NONE || self.places.insert(name.to_owned(), self.names.len()).is_some() {
            return Err(format!("defines `{name}`, which is defined already"));
        }
        self.names.push(Name { name: name.to_owned(), rule });
        Ok(())
    }

    fn place(&self, name: &str) -> std::result::Result<usize, String> {
        self.places.get(name).copied().ok_or_else(|| format!("names `{name}`, which no line before it defines"))
    }
}

/// Nothing, or what a line does wrong.
type Fine = std::result::Result<(), String>;

fn unreadable(error: LedgerError) -> String {
    format!("has a key of the wrong kind: {error}")
}

/// The name of the quorum that needs no witness (C2SP tlog-policy, "Defining the quorum").
const NONE: &str = "none";
