//! Offline verification of whole logs.

use marque_ledger::{Fault, Report, Signer, verify_log};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sample::{MAX_SIZE, MemoryFiles, ORIGIN, SAMPLE, files, signer};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sound_logs_are_ok(size in 0..=MAX_SIZE) {
        let report = verify(&files(size));
        prop_assert!(report.is_ok(), "{:?}", report.faults);
        prop_assert_eq!((report.size, report.entries_checked), (size, size));
        prop_assert_eq!(report.root, Some(SAMPLE.roots[size as usize]));
    }

    #[test]
    fn any_changed_byte_is_found(size in 0..=MAX_SIZE, file: Index, place: Index, mask in 1..=255u8) {
        let mut log = files(size);
        let path = file.get(&log.0.keys().collect::<Vec<_>>()).to_string();
        let bytes = log.0.get_mut(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= mask;
        prop_assert!(!verify(&log).is_ok(), "byte {} of {}", place, path);
    }

    #[test]
    fn any_missing_file_is_found(size in 0..=MAX_SIZE, file: Index) {
        let mut log = files(size);
        let path = file.get(&log.0.keys().collect::<Vec<_>>()).to_string();
        log.0.remove(&path);
        prop_assert_eq!(verify(&log).faults[0].path.clone(), path);
    }

    #[test]
    fn any_bytes_give_a_report(size in 0..=MAX_SIZE, file: Index, bytes in vec(any::<u8>(), 0..600)) {
        let mut log = files(size);
        let path = file.get(&log.0.keys().collect::<Vec<_>>()).to_string();
        log.0.insert(path, bytes);
        prop_assert!(!verify(&log).is_ok());
    }
}

#[test]
fn full_files_stand_in_for_partial_ones() {
    let mut log = files(700);
    log.0.extend(files(300).0);
    for path in ["tile/entries/001.p/44", "tile/0/001.p/44"] {
        assert!(log.0.remove(path).is_some());
    }
    let report = verify(&log);
    assert_eq!((report.is_ok(), report.size, report.tiles_checked), (true, 300, 3));
}

#[test]
fn every_fault_is_named() {
    let mut log = files(1000);
    log.0.remove("tile/entries/000");
    log.0.get_mut("tile/0/001").unwrap()[64] ^= 1;
    log.0.get_mut("tile/entries/002").unwrap().push(0);
    let report = verify(&log);
    let faults: Vec<_> = report.faults.iter().map(|Fault { path, what }| format!("{path}: {what}")).collect();
    let named = [
        "tile/entries/000: is missing",
        "tile/0/001: hash `2` is not what the entries give",
        "tile/entries/002: the entry bundle has more than 256 entries",
    ];
    assert_eq!(faults, named);
    assert_eq!((report.entries_checked, report.tiles_checked), (488, 5));
    assert_eq!(report.root, Some(SAMPLE.roots[1000]));
}

#[test]
fn unreadable_entries_leave_no_root() {
    let mut log = files(1000);
    log.0.remove("tile/entries/001");
    log.0.remove("tile/0/001");
    let report = verify(&log);
    let paths: Vec<_> = report.faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!((paths, report.root), (vec!["tile/0/001", "tile/entries/001", "checkpoint"], None));
}

#[test]
fn refused_entries_are_faults_and_a_hundred_are_enough() {
    let verifiers = [signer().verifier()];
    let mut odd = |index: u64, _: &[u8]| if index == 257 { Err("is odd".to_owned()) } else { Ok(()) };
    let report = verify_log(&files(300), ORIGIN, &verifiers, &mut odd);
    let fault = Fault { path: "tile/entries/001.p/44".to_owned(), what: "entry `257`: is odd".to_owned() };
    assert_eq!(report.faults, [fault]);
    let report = verify_log(&files(300), ORIGIN, &verifiers, &mut |_, _| Err("no".to_owned()));
    assert_eq!((report.faults.len(), report.is_ok()), (100, false));
}

#[test]
fn entries_are_given_in_order() {
    let mut seen = Vec::new();
    let report = verify_log(&files(300), ORIGIN, &[signer().verifier()], &mut |index, entry| {
        seen.push((index, entry.to_vec()));
        Ok(())
    });
    assert!(report.is_ok());
    assert!(seen.into_iter().eq((0..300u64).map(|index| (index, index.to_string().into_bytes()))));
}

#[test]
fn a_strangers_log_is_refused() {
    let stranger = Signer::from_seed(ORIGIN, [2; 32]).unwrap();
    let report = verify_log(&files(3), ORIGIN, &[stranger.verifier()], &mut |_, _| Ok(()));
    assert_eq!((report.size, report.root, report.faults.len()), (0, None, 1));
    let report = verify_log(&files(3), "other.example/log", &[signer().verifier()], &mut |_, _| Ok(()));
    assert!(!report.is_ok());
}

fn verify(log: &MemoryFiles) -> Report {
    verify_log(log, ORIGIN, &[signer().verifier()], &mut |_, _| Ok(()))
}
