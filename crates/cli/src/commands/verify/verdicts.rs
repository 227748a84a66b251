//! The answers to an auditor's questions, each by itself.

use marque_ledger::{Anchor, Finding, Findings, Verdict as Quorum};
use serde::Serialize;

use super::facts::{Facts, Hole};

/// How one question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is so.
    Holds,
    /// It is not so.
    Fails,
    /// It was asked, and could not be checked.
    Unchecked,
    /// It was not asked, or nothing here can tell.
    Open,
}

/// One answer.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub name: &'static str,
    pub standing: Standing,
    /// What was found, or why nothing was.
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<String>,
}

/// Everything that was found of a log, and what it was asked with.
pub struct Found<'a> {
    pub findings: &'a Findings,
    pub facts: &'a Facts,
    /// The checkpoint that witnesses cosigned last, where one lies beside the newest.
    pub anchor: Option<&'a Anchor>,
    /// Why that checkpoint could not be read, where it is there.
    pub anchor_fault: Option<&'a str>,
    pub origin: &'a str,
    /// Where the log's key came from.
    pub key_from: &'a str,
    pub key_is_beside: bool,
    /// The size of the older checkpoint that was given, if it is this log's.
    pub older_size: Option<u64>,
    pub has_policy: bool,
    /// Whether it was asked how old the newest cosignature is.
    pub has_max_age: bool,
    /// Below which entry the log says that contents were let go.
    pub pruned: u64,
    /// Why that could not be read, where the log says something.
    pub pruned_fault: Option<&'a str>,
}

impl Found<'_> {
    /// Every verdict, in the order of the questions.
    pub fn verdicts(&self) -> Vec<Verdict> {
        vec![
            self.signature(),
            self.inclusion(),
            self.consistency(),
            self.witnesses(),
            self.freshness(),
            self.sequence(),
            self.erased(),
            self.unanchored(),
            self.pruned(),
        ]
    }

    fn size(&self) -> u64 {
        self.findings.report.size
    }

    fn signature(&self) -> Verdict {
        let name = "signature";
        let signed = || format!("{} signed a tree of {} entries; the key is from {}", self.origin, self.size(), self.key_from);
        let mut verdict = Verdict::of(name, &self.findings.signature, signed, "");
        if self.key_is_beside {
            verdict
                .more
                .push("whoever can rewrite the log can replace that key too: keep a copy, and name it with --key-file".into());
        }
        verdict
    }

    fn inclusion(&self) -> Verdict {
        let report = &self.findings.report;
        let gone = if report.entries_pruned > 0 {
            format!("the hashes of {} that are pruned, ", report.entries_pruned)
        } else {
            String::new()
        };
        let root = report.root.map(|root| root.to_string()).unwrap_or_default();
        let holds =
            || format!("{} entries, {gone}{} tiles lead to the root {root}", report.entries_checked, report.tiles_checked);
        let mut verdict = Verdict::of("inclusion", &self.findings.inclusion, holds, "");
        if verdict.standing == Standing::Fails {
            let faults = count(report.faults.len(), "fault");
            verdict.text = format!("{faults}; {} of {} entries were read", report.entries_checked, report.size);
            verdict.more = report.faults.iter().take(MOST).map(|fault| format!("{}: {}", fault.path, fault.what)).collect();
        }
        verdict
    }

    /// With the checkpoint that was given, and with the one that witnesses cosigned.
    fn consistency(&self) -> Verdict {
        let name = "consistency";
        let given = &self.findings.consistency;
        let anchor = self.anchor.map_or(NOT_ASKED, |anchor| &anchor.consistency);
        let mut verdict = match [given, anchor].into_iter().find(|finding| !matches!(finding, Finding::Holds | Finding::NotAsked))
        {
            Some(finding) => Verdict::of(name, finding, String::new, ""),
            None => Verdict::new(name, Standing::Open, "no older checkpoint was given: name one that you kept with --older"),
        };
        let older =
            [("the one you kept", given, self.older_size), ("the one that was witnessed last", anchor, self.anchor_size())];
        let continued = older.into_iter().filter(|(_, finding, _)| **finding == Finding::Holds);
        let continued: Vec<String> =
            continued.map(|(which, _, size)| format!("{which}, of {} entries", size.unwrap_or_default())).collect();
        if !continued.is_empty() && verdict.standing == Standing::Open {
            verdict = Verdict::new(name, Standing::Holds, format!("the log continues {}", continued.join(", and ")));
        } else {
            verdict.more.extend(continued.into_iter().map(|which| format!("it continues {which}")));
        }
        verdict
    }

    fn witnesses(&self) -> Verdict {
        let name = "witnesses";
        if !self.has_policy {
            return Verdict::new(name, Standing::Open, "no policy says which witnesses you trust: name one with --policy");
        }
        let findings = self.findings;
        let holds = |quorum: Option<&Quorum>, size: u64| {
            let cosigned = quorum.map(|q| q.cosigned.as_slice()).unwrap_or_default();
            let names: Vec<&str> = cosigned.iter().map(|cosigner| cosigner.name.as_str()).collect();
            match names.is_empty() {
                true => "the policy asks for no witness".to_owned(),
                false => format!("{} cosigned {size} entries, which is a quorum", names.join(", ")),
            }
        };
        match self.quorum_anchor() {
            Some(anchor) => {
                let text = holds(anchor.witnesses.as_ref(), anchor.size.unwrap_or_default());
                Verdict::new(name, Standing::Holds, text)
            }
            None => {
                let mut verdict = Verdict::of(name, &findings.quorum, || holds(findings.witnesses.as_ref(), self.size()), "");
                if verdict.is_bad() {
                    verdict.more.extend(self.anchor_fault.map(str::to_owned));
                }
                verdict
            }
        }
    }

    fn freshness(&self) -> Verdict {
        let name = "freshness";
        let none = "a checkpoint has no time of its own: witnesses have, with --policy";
        let anchor = self.quorum_anchor();
        let finding = anchor.map_or(&self.findings.freshness, |anchor| &anchor.freshness);
        let age = match anchor {
            Some(anchor) => anchor.age,
            None => self.findings.age,
        };
        let holds = || format!("the newest cosignature is {} old", duration(age.unwrap_or_default()));
        let verdict = Verdict::of(name, finding, holds, none);
        // Where nobody asked for an age, that there is none is nothing bad.
        let is_open = verdict.standing == Standing::Unchecked && !self.has_max_age;
        if is_open { Verdict { standing: Standing::Open, ..verdict } } else { verdict }
    }

    fn sequence(&self) -> Verdict {
        let name = "sequence";
        let Facts { observers, unnumbered, gaps, .. } = self.facts;
        if observers.is_empty() {
            let why = if self.findings.report.entries_checked == 0 {
                "no entry was read".to_owned()
            } else {
                format!("the {unnumbered} entries are of a version in which observers did not number what they see")
            };
            return Verdict::new(name, Standing::Open, why);
        }
        let old = if *unnumbered > 0 {
            format!("; {unnumbered} entries of an older version have no numbers and are not checked")
        } else {
            String::new()
        };
        let open = match self.facts.open.len() {
            0 => String::new(),
            1 => "; 1 allowed call has no outcome yet".to_owned(),
            calls => format!("; {calls} allowed calls have no outcome yet"),
        };
        let holes = self.facts.unadmitted(self.findings.report.entries_pruned > 0);
        let mut verdict = match holes.is_empty() {
            true => {
                let text = format!(
                    "{} numbered {} without a gap that the log does not admit{old}{open}",
                    count(observers.len(), "observer"),
                    self.those_here().map_or("their entries".to_owned(), |here| format!("the {here}"))
                );
                Verdict::new(name, Standing::Holds, text)
            }
            false => Verdict::new(
                name,
                Standing::Fails,
                format!("{} in the numbers of observers{old}{open}", count(holes.len(), "hole")),
            ),
        };
        verdict.more.extend(holes.iter().take(MOST).map(missing));
        let admitted = gaps.iter().take(MOST);
        verdict.more.extend(admitted.map(|(observer, from, to)| format!("admitted: {observer} {from} to {to} never came")));
        verdict
    }

    fn erased(&self) -> Verdict {
        let name = "erased";
        let (people, entries) = (self.facts.erased.len(), self.facts.entries_of_erased());
        let here = self.those_here();
        if people == 0 {
            if let Some(here) = here {
                let text = format!("none of the {here} says that anybody's data was erased; the others were not read");
                return Verdict::new(name, Standing::Open, text);
            }
            let standing = if self.findings.report.entries_checked > 0 { Standing::Holds } else { Standing::Open };
            return Verdict::new(name, standing, "no entry says that anybody's data was erased");
        }
        let text =
            format!("{} of {} hold commitments that nobody can open any more", count(entries, "entry"), count(people, "person"));
        match (&self.findings.inclusion, here) {
            (Finding::Holds, None) => Verdict::new(name, Standing::Holds, format!("{text}; they are proven all the same")),
            (Finding::Holds, Some(here)) => {
                let text = format!("{text}, of the {here}; they are proven all the same, and the others were not read");
                Verdict::new(name, Standing::Open, text)
            }
            _ => Verdict::new(name, Standing::Open, format!("{text}; what stands in the log is not proven")),
        }
    }

    /// The entries that no witnessed checkpoint covers yet.
    fn unanchored(&self) -> Verdict {
        let name = "unanchored";
        if let Some(why) = self.anchor_fault {
            return Verdict::new(name, Standing::Unchecked, why);
        }
        let anchored = match (self.has_policy, &self.findings.quorum) {
            (true, Finding::Holds) if self.findings.witnesses.as_ref().is_some_and(|q| !q.cosigned.is_empty()) => {
                Some(self.size())
            }
            (true, _) => self.quorum_anchor().and_then(|anchor| anchor.size),
            (false, _) => self.anchor.filter(|anchor| anchor.consistency == Finding::Holds).and_then(|anchor| anchor.size),
        };
        let Some(anchored) = anchored else {
            return Verdict::new(name, Standing::Open, "no witnessed checkpoint is known: all of it rests on the log's own word");
        };
        let on_word = if self.has_policy { "" } else { ", as the log says: --policy checks it" };
        match self.size().saturating_sub(anchored) {
            0 => Verdict::new(name, Standing::Holds, format!("every entry is under a witnessed checkpoint{on_word}")),
            tail => {
                let text = format!("the last {tail} of {} entries wait for their witnesses{on_word}", self.size());
                Verdict::new(name, Standing::Open, text)
            }
        }
    }

    fn pruned(&self) -> Verdict {
        let name = "pruned";
        let gone = self.findings.report.entries_pruned;
        if let Some(why) = self.pruned_fault {
            return Verdict::new(name, Standing::Unchecked, format!("{why}: every entry is looked for"));
        }
        if self.findings.report.size == 0 && self.findings.signature != Finding::Holds {
            return Verdict::new(name, Standing::Open, "there is no checkpoint that the log signed");
        }
        if gone == 0 {
            return Verdict::new(name, Standing::Holds, "nothing is: every entry is here");
        }
        let text = format!("entries 0 to {} are no longer here; their hashes are", self.pruned.saturating_sub(1));
        // The file that says so is not signed; an entry is.
        match self.facts.pruned.iter().find(|(below, _)| *below >= self.pruned) {
            Some((_, policy)) => Verdict::new(name, Standing::Holds, format!("{text}, and an entry says why: {policy}")),
            None => Verdict::new(name, Standing::Unchecked, format!("{text}, and no entry says why")),
        }
    }

    /// The witnessed checkpoint, where that and not the newest has the quorum.
    fn quorum_anchor(&self) -> Option<&Anchor> {
        let is_needed = self.has_policy && self.findings.quorum != Finding::Holds;
        self.anchor.filter(|anchor| is_needed && anchor.quorum == Finding::Holds && anchor.consistency == Finding::Holds)
    }

    /// The entries that were read, in words, where others were let go.
    fn those_here(&self) -> Option<String> {
        let report = &self.findings.report;
        let read = usize::try_from(report.entries_checked).unwrap_or(usize::MAX);
        (report.entries_pruned > 0)
            .then(|| format!("{} that {} here", count(read, "entry"), if read == 1 { "is" } else { "are" }))
    }

    fn anchor_size(&self) -> Option<u64> {
        self.anchor.and_then(|anchor| anchor.size)
    }
}

impl Verdict {
    pub fn new(name: &'static str, standing: Standing, text: impl Into<String>) -> Self {
        Self { name, standing, text: text.into(), more: Vec::new() }
    }

    /// From what an audit found: `holds` says what is so, `unasked` why nothing was.
    pub fn of(name: &'static str, finding: &Finding, holds: impl FnOnce() -> String, unasked: &str) -> Self {
        match finding {
            Finding::Holds => Self::new(name, Standing::Holds, holds()),
            Finding::Fails(why) => Self::new(name, Standing::Fails, why.clone()),
            Finding::Unchecked(why) => Self::new(name, Standing::Unchecked, why.clone()),
            Finding::NotAsked => Self::new(name, Standing::Open, unasked),
        }
    }

    /// Whether it stands in the way of calling the log whole.
    pub fn is_bad(&self) -> bool {
        matches!(self.standing, Standing::Fails | Standing::Unchecked)
    }
}

fn missing(hole: &Hole) -> String {
    let Hole { observer, expected, found, entry, .. } = hole;
    format!("entry {entry}: {observer} is at {found} where {expected} is next")
}

fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, _) => format!("1 {what}"),
        (_, "person") => format!("{number} people"),
        (_, "entry") => format!("{number} entries"),
        _ => format!("{number} {what}s"),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

const NOT_ASKED: &Finding = &Finding::NotAsked;
/// How many of one kind are told.
const MOST: usize = 20;

#[cfg(test)]
mod tests {
    use marque_core::PersonId;
    use marque_core::id::{ObserverId, RecordId};
    use marque_ledger::Report;

    use super::super::facts::Numbers;
    use super::*;

    fn findings(checked: u64, pruned: u64) -> Findings {
        let report = Report { size: checked + pruned, entries_checked: checked, entries_pruned: pruned, ..Report::default() };
        Findings {
            signature: Finding::Holds,
            inclusion: Finding::Holds,
            consistency: Finding::NotAsked,
            quorum: Finding::NotAsked,
            freshness: Finding::NotAsked,
            checkpoint: None,
            witnesses: None,
            age: None,
            report,
        }
    }

    fn found<'a>(findings: &'a Findings, facts: &'a Facts) -> Found<'a> {
        Found {
            findings,
            facts,
            anchor: None,
            anchor_fault: None,
            origin: "example.org/log",
            key_from: "a file",
            key_is_beside: false,
            older_size: None,
            has_policy: false,
            has_max_age: false,
            pruned: findings.report.entries_pruned,
            pruned_fault: None,
        }
    }

    fn facts() -> Facts {
        let mut facts = Facts::default();
        facts.observers.insert(ObserverId::from_bytes([1; 16]), Numbers { first: 1, entry: 0, last: 300 });
        facts
    }

    /// Of entries that were let go nothing is claimed that only their contents could show.
    #[test]
    fn what_was_not_read_is_not_vouched_for() {
        let mut facts = facts();
        let (whole, pruned) = (findings(300, 0), findings(44, 256));
        assert_eq!(found(&whole, &facts).erased().standing, Standing::Holds);
        let erased = found(&pruned, &facts).erased();
        assert_eq!(erased.standing, Standing::Open);
        assert!(erased.text.starts_with("none of the 44 entries that are here"), "{}", erased.text);
        let sequence = found(&pruned, &facts).sequence();
        assert_eq!(sequence.standing, Standing::Holds);
        assert!(sequence.text.contains("numbered the 44 entries that are here without"), "{}", sequence.text);
        assert!(found(&whole, &facts).sequence().text.contains("numbered their entries without"));

        facts.erased.insert(PersonId::pseudonym([1; 16]));
        assert_eq!(found(&whole, &facts).erased().standing, Standing::Holds);
        let erased = found(&pruned, &facts).erased();
        assert!(erased.standing == Standing::Open && erased.text.contains("44 entries that are here"), "{}", erased.text);
        assert!(!erased.is_bad(), "that entries were let go by a rule is no fault");
    }

    #[test]
    fn calls_without_an_outcome_are_counted() {
        let (findings, mut facts) = (findings(300, 0), facts());
        let text = |facts: &Facts| found(&findings, facts).sequence().text;
        assert!(!text(&facts).contains("outcome"));
        facts.open.insert(RecordId::from_bytes([1; 16]));
        assert!(text(&facts).ends_with("; 1 allowed call has no outcome yet"), "{}", text(&facts));
        facts.open.insert(RecordId::from_bytes([2; 16]));
        assert!(text(&facts).ends_with("; 2 allowed calls have no outcome yet"), "{}", text(&facts));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_verdict() {
        let (findings, facts) = (findings(300, 0), facts());
        let found = Found {
            pruned_fault: Some("`pruned` is not text"),
            anchor_fault: Some("it is not text"),
            ..found(&findings, &facts)
        };
        let bad: Vec<&str> = found.verdicts().iter().filter(|verdict| verdict.is_bad()).map(|verdict| verdict.name).collect();
        assert_eq!(bad, ["unanchored", "pruned"]);
    }
}
