//! Offline verification, question by question.

use marque_ledger::{Audit, Fault, Finding, Findings, Hash, Policy, Resource, Signer, Verifier, audit_log};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sample::{MAX_SIZE, MemoryFiles, ORIGIN, SAMPLE, cosigned, files, note, sample_note, signer, witness};

#[test]
fn all_is_well() {
    let (log, policy, verifiers) = (cosigned_log(1000, &[(1, 900), (2, 950)]), policy(), verifiers());
    let older = sample_note(600);
    let audit = Audit { max_age: Some(60), ..asked(&verifiers, &older, &policy) };
    let findings = run(&log, &audit);
    let Findings { signature, inclusion, consistency, quorum, freshness, .. } = &findings;
    for finding in [signature, inclusion, consistency, quorum, freshness] {
        assert_eq!(*finding, Finding::Holds);
    }
    assert!(findings.is_ok());
    assert_eq!((findings.age, findings.checkpoint.unwrap().size), (Some(50), 1000));
    assert_eq!(findings.witnesses.unwrap().newest(), Some(950));
    assert_eq!(findings.report.entries_checked, 1000);
}

#[test]
fn what_is_not_asked_is_not_answered() {
    let findings = run(&files(300), &Audit::new(ORIGIN, &verifiers()));
    let Findings { signature, inclusion, consistency, quorum, freshness, .. } = &findings;
    assert_eq!([signature, inclusion], [&Finding::Holds, &Finding::Holds]);
    assert_eq!([consistency, quorum, freshness], [&Finding::NotAsked, &Finding::NotAsked, &Finding::NotAsked]);
    assert!(findings.is_ok());
}

#[test]
fn without_a_signed_checkpoint_nothing_else_can_be_checked() {
    let stranger = [Signer::from_seed(ORIGIN, [9; 32]).unwrap().verifier()];
    let (older, policy) = (sample_note(7), policy());
    let findings = run(&files(300), &asked(&stranger, &older, &policy));
    assert_eq!(findings.signature, Finding::Fails("`checkpoint` no signature is by a known key".to_owned()));
    let why = Finding::Unchecked("there is no checkpoint that the log signed".to_owned());
    let Findings { inclusion, consistency, quorum, freshness, .. } = &findings;
    assert_eq!([inclusion, consistency, quorum, freshness], [&why, &why, &why, &why]);
    assert!(!findings.is_ok());
}

#[test]
fn a_changed_entry_fails_inclusion_alone() {
    let mut log = cosigned_log(1000, &[(1, 900), (2, 950)]);
    log.0.get_mut("tile/entries/001").unwrap()[703] ^= 1;
    let (older, policy, verifiers) = (sample_note(600), policy(), verifiers());
    let findings = run(&log, &asked(&verifiers, &older, &policy));
    assert!(matches!(&findings.inclusion, Finding::Fails(what) if what.starts_with("`tile/0/001` hash `")));
    let Findings { signature, consistency, quorum, freshness, .. } = &findings;
    assert_eq!([signature, consistency, quorum, freshness], [&Finding::Holds; 4]);
    assert!(!findings.is_ok());
}

#[test]
fn an_entry_that_is_refused_after_the_walk_fails_inclusion() {
    let mut findings = run(&files(300), &Audit::new(ORIGIN, &verifiers()));
    findings.refuse(257, "is odd");
    let fault = Fault { path: "tile/entries/001.p/44".to_owned(), what: "entry `257`: is odd".to_owned() };
    assert_eq!(findings.report.faults, [fault]);
    assert_eq!(findings.inclusion, Finding::Fails("`tile/entries/001.p/44` entry `257`: is odd".to_owned()));
    (0..200).for_each(|index| findings.refuse(index, "no"));
    assert_eq!((findings.report.faults.len(), findings.is_ok()), (100, false));
}

#[test]
fn consistency_finds_rollbacks_and_forks() {
    let consistency =
        |older: &str| run(&files(600), &Audit { older: Some(older), ..Audit::new(ORIGIN, &verifiers()) }).consistency;
    for size in [0, 1, 255, 256, 257, 599, 600] {
        assert_eq!(consistency(&sample_note(size)), Finding::Holds, "{size}");
    }
    assert_eq!(consistency(&sample_note(601)), Finding::Fails("the log was rolled back from size `601` to `600`".to_owned()));
    for size in [1, 256, 600] {
        let fork = note(size, SAMPLE.roots[700]);
        assert_eq!(consistency(&fork), Finding::Fails(format!("the log does not continue its checkpoint of size `{size}`")));
    }
    let other = Signer::from_seed("other.example/log", [9; 32]).unwrap().sign("other.example/log\n").unwrap();
    let why = "the older checkpoint is not this log's: no signature is by a known key";
    assert_eq!(consistency(&other), Finding::Unchecked(why.to_owned()));
}

#[test]
fn quorum_and_freshness_fail_by_themselves() {
    let policy = policy();
    let verifiers = verifiers();
    let judge = |by: &[(u8, u64)], max_age| {
        let audit = Audit { policy: Some(&policy), now: Some(1000), max_age, ..Audit::new(ORIGIN, &verifiers) };
        let findings = run(&cosigned_log(7, by), &audit);
        assert_eq!((findings.signature, findings.inclusion), (Finding::Holds, Finding::Holds));
        (findings.quorum, findings.freshness, findings.age)
    };
    let too_few = |missing: &str| Finding::Fails(format!("no cosignature of: {missing}"));
    assert_eq!(judge(&[(1, 900)], None), (too_few("w2, w3"), Finding::Holds, Some(100)));
    assert_eq!(judge(&[(1, 900), (3, 10)], Some(100)), (Finding::Holds, Finding::Holds, Some(100)));
    let stale = Finding::Fails("the newest cosignature is `100` seconds old".to_owned());
    assert_eq!(judge(&[(1, 900), (3, 10)], Some(99)), (Finding::Holds, stale, Some(100)));
    let (quorum, freshness, age) = judge(&[], None);
    assert_eq!((quorum, age), (too_few("w1, w2, w3"), None));
    assert!(matches!(freshness, Finding::Unchecked(_)));
    assert_eq!(judge(&[(1, 1300), (2, 1)], Some(0)), (Finding::Holds, Finding::Holds, Some(0)));
    // Who is ahead of the time tells none; the others do.
    assert_eq!(judge(&[(1, 1301), (2, 990), (3, 980)], Some(10)), (Finding::Holds, Finding::Holds, Some(10)));
    let stale = Finding::Fails("the newest cosignature is `999` seconds old".to_owned());
    assert_eq!(judge(&[(1, 1301), (2, 1)], Some(998)), (Finding::Holds, stale, Some(999)));
    let ahead = Finding::Fails("the newest cosignature is `302` seconds in the future".to_owned());
    assert_eq!(judge(&[(1, 1301), (2, 1302)], None), (Finding::Holds, ahead, Some(0)));
}

#[test]
fn a_forged_cosignature_fails_the_quorum() {
    let mut log = cosigned_log(7, &[(1, 900), (2, 900)]);
    let forged = cosigned(&sample_note(8), &[(3, 900)]);
    log.0.get_mut("checkpoint").unwrap().extend(format!("{}\n", forged.lines().next_back().unwrap()).bytes());
    let (policy, verifiers) = (policy(), verifiers());
    let findings = run(&log, &Audit { policy: Some(&policy), ..Audit::new(ORIGIN, &verifiers) });
    assert_eq!(findings.quorum, Finding::Fails("the signature of `witness.example/w3` does not verify".to_owned()));
    assert_eq!(findings.signature, Finding::Holds);
}

#[test]
fn a_large_log_verifies_from_what_pruning_leaves() {
    let mut log = files(66_000);
    let (older, newer) = (older(&log, 65_000), older(&log, 65_536));
    log.0.retain(|path, _| !path.parse::<Resource>().unwrap().may_be_pruned(65_536));
    let left: Vec<&str> = log.0.keys().map(String::as_str).collect();
    assert_eq!(left.len(), 7, "{left:?}");
    let verifiers = verifiers();
    let audit = Audit { minimum_index: 65_536, older: Some(&newer), ..Audit::new(ORIGIN, &verifiers) };
    let findings = run(&log, &audit);
    assert_eq!((findings.inclusion, findings.consistency), (Finding::Holds, Finding::Holds));
    assert_eq!((findings.report.entries_pruned, findings.report.entries_checked), (65_536, 464));
    let findings = run(&log, &Audit { older: Some(&older), ..audit });
    assert!(matches!(&findings.consistency, Finding::Unchecked(why) if why.contains("is missing or too short")));
    let findings = run(&log, &Audit { minimum_index: 66_001, ..audit });
    assert!(matches!(&findings.inclusion, Finding::Fails(what) if what.contains("`66001` entries that are said to be pruned")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn only_what_may_be_pruned_may_be_missing(size in 0..=MAX_SIZE, minimum: Index, gone in vec(any::<Index>(), 0..12), other: Index) {
        let (mut log, minimum_index) = (files(size), minimum.index(size as usize + 1) as u64);
        let (may, must): (Vec<String>, Vec<String>) =
            log.0.keys().cloned().partition(|path| path.parse::<Resource>().unwrap().may_be_pruned(minimum_index));
        if !may.is_empty() {
            gone.iter().for_each(|index| drop(log.0.remove(index.get(&may))));
        }
        let verifiers = verifiers();
        let audit = Audit { minimum_index, ..Audit::new(ORIGIN, &verifiers) };
        let findings = run(&log, &audit);
        prop_assert!(findings.is_ok(), "{:?}", findings.report.faults);
        prop_assert_eq!(findings.report.entries_checked + findings.report.entries_pruned, size);
        prop_assert_eq!(findings.report.root, Some(SAMPLE.roots[size as usize]));
        log.0.remove(other.get(&must));
        prop_assert!(!run(&log, &audit).is_ok());
    }

    #[test]
    fn a_changed_byte_of_a_pruned_log_is_found(size in 1..=MAX_SIZE, minimum: Index, file: Index, place: Index, mask in 1..=255u8) {
        let (mut log, minimum_index) = (files(size), minimum.index(size as usize + 1) as u64);
        log.0.retain(|path, _| !path.starts_with("tile/entries") || !path.parse::<Resource>().unwrap().may_be_pruned(minimum_index));
        let path = file.get(&log.0.keys().collect::<Vec<_>>()).to_string();
        let bytes = log.0.get_mut(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= mask;
        let verifiers = verifiers();
        let findings = run(&log, &Audit { minimum_index, ..Audit::new(ORIGIN, &verifiers) });
        prop_assert!(!findings.is_ok(), "byte {} of {}", place, path);
    }
}

/// The newest checkpoint waits for its witnesses; the one before, which they cosigned, anchors what it covers.
#[test]
fn an_anchor_is_judged_by_itself() {
    let (log, policy, verifiers) = (files(600), policy(), verifiers());
    let audit = Audit { policy: Some(&policy), now: Some(1000), max_age: Some(60), ..Audit::new(ORIGIN, &verifiers) };
    let findings = run(&log, &audit);
    assert!(matches!(findings.quorum, Finding::Fails(_)));
    let newest = findings.checkpoint.unwrap();
    let anchor = |size: u64, root: Hash, by: &[(u8, u64)]| audit.anchor(&log, &cosigned(&note(size, root), by), &newest);
    let good = anchor(513, SAMPLE.roots[513], &[(1, 980), (3, 950)]);
    assert_eq!([good.consistency, good.quorum, good.freshness], [Finding::Holds, Finding::Holds, Finding::Holds]);
    assert_eq!((good.size, good.age, good.witnesses.unwrap().newest()), (Some(513), Some(20), Some(980)));
    let fork = anchor(513, SAMPLE.roots[512], &[(1, 900), (3, 900)]);
    assert!(matches!((fork.consistency, fork.freshness), (Finding::Fails(_), Finding::Fails(_))));
    assert_eq!(fork.quorum, Finding::Holds, "whoever cosigned a fork did cosign it");
    let alone = anchor(513, SAMPLE.roots[513], &[(2, 980)]);
    assert_eq!(alone.consistency, Finding::Holds);
    assert!(matches!(alone.quorum, Finding::Fails(_)));
    let stranger = audit.anchor(&log, "other\n1\nx\n", &newest);
    assert!(matches!(stranger.consistency, Finding::Unchecked(_)));
    assert_eq!((stranger.size, stranger.witnesses), (None, None));
}

fn run(log: &MemoryFiles, audit: &Audit<'_>) -> Findings {
    audit_log(log, audit, &mut |_, _| Ok(()))
}

fn asked<'a>(verifiers: &'a [Verifier], older: &'a str, policy: &'a Policy) -> Audit<'a> {
    Audit { older: Some(older), policy: Some(policy), now: Some(1000), ..Audit::new(ORIGIN, verifiers) }
}

fn verifiers() -> [Verifier; 1] {
    [signer().verifier()]
}

/// Two of three witnesses.
fn policy() -> Policy {
    let line = |number| format!("witness w{number} {}\n", witness(number).verifier());
    format!("{}group g 2 w1 w2 w3\nquorum g\n", (1..=3).map(line).collect::<String>()).parse().unwrap()
}

fn cosigned_log(size: u64, by: &[(u8, u64)]) -> MemoryFiles {
    let mut log = files(size);
    log.0.insert("checkpoint".to_owned(), cosigned(&sample_note(size), by).into_bytes());
    log
}

/// The checkpoint of a larger log than the sample when it was smaller.
fn older(log: &MemoryFiles, size: u64) -> String {
    let tree = marque_ledger::Tree::restore(size, &Tiles(log)).unwrap();
    note(size, tree.root())
}

struct Tiles<'a>(&'a MemoryFiles);

impl marque_ledger::TileReader for Tiles<'_> {
    fn read_tile(&self, tile: marque_ledger::Tile) -> marque_ledger::Result<Vec<Hash>> {
        let full = marque_ledger::Tile { width: 256, ..tile };
        let bytes = self.0.0.get(&tile.path()).or_else(|| self.0.0.get(&full.path())).unwrap();
        marque_ledger::decode_tile(bytes)
    }
}
