//! T1–T6: tlog-tiles v0.1.0.

use marque_ledger::{
    Audit, Bundle, Finding, Hash, LedgerError, Resource, Tile, Tree, audit_log, consistency_proof, decode_bundle, decode_tile,
    empty_root, encode_bundle, encode_tile, inclusion_proof, leaf_hash, node_hash,
};

use crate::sample::{MAX_SIZE, ORIGIN, SAMPLE, files, leaf, signer};

#[test]
fn t1_checkpoints_are_plain_text_and_hardly_cached() {
    let checkpoint: Resource = "checkpoint".parse().unwrap();
    assert_eq!((checkpoint, checkpoint.path().as_str()), (Resource::Checkpoint, "checkpoint"));
    assert_eq!(checkpoint.content_type(), "text/plain; charset=utf-8");
    assert!(!checkpoint.is_immutable());
    assert_eq!(checkpoint.cache_control(), "public, max-age=1");
    for other in ["", "/checkpoint", "checkpoint/", "Checkpoint", "checkpoint?", "tile/checkpoint", "tile", "tile/entries"] {
        assert!(other.parse::<Resource>().is_err(), "{other}");
    }
}

#[test]
fn t2_paths_have_groups_of_three() {
    let path = |index| Tile { level: 0, index, width: 256 }.path();
    assert_eq!(path(1_234_067), "tile/0/x001/x234/067");
    assert_eq!((path(999).as_str(), path(1000).as_str()), ("tile/0/999", "tile/0/x001/000"));
    for bad in ["tile/0/1234067", "tile/0/x1/x234/067", "tile/0/001/234/067", "tile/0/x001/x234/x067", "tile/0/x000/999"] {
        assert!(bad.parse::<Resource>().is_err(), "{bad}");
    }
}

#[test]
fn t2_levels_are_0_to_63_and_widths_1_to_255_without_leading_zeros() {
    for good in ["tile/0/000", "tile/63/000", "tile/0/000.p/1", "tile/0/000.p/255"] {
        assert_eq!(good.parse::<Resource>().unwrap().path(), good);
    }
    for bad in ["tile/64/000", "tile/00/000", "tile/01/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01"] {
        assert!(bad.parse::<Resource>().is_err(), "{bad}");
    }
}

#[test]
fn t2_tiles_are_octets_for_good() {
    for path in ["tile/0/000", "tile/2/x001/000.p/7", "tile/entries/000", "tile/entries/000.p/7"] {
        let resource: Resource = path.parse().unwrap();
        assert_eq!(resource.content_type(), "application/octet-stream");
        assert!(resource.is_immutable() && resource.cache_control().contains("immutable"));
    }
}

#[test]
fn t3_full_tiles_have_8192_bytes() {
    assert_eq!(encode_tile(&[empty_root(); 256]).len(), 8192);
    assert_eq!(files(300).0["tile/0/000"].len(), 8192);
    assert_eq!(decode_tile(&[0; 8193]), Err(LedgerError::BadTile(8193)));
    assert_eq!(decode_tile(&[0; 8192 + 32]), Err(LedgerError::BadTile(8224)));
}

#[test]
fn t3_hashes_are_those_of_subtrees() {
    let leaves: Vec<Hash> = (0..MAX_SIZE).map(leaf).collect();
    for (path, bytes) in files(MAX_SIZE).0.iter().filter(|(path, _)| path.starts_with("tile/") && !path.contains("entries")) {
        let Tile { level, index, .. } = path.parse().unwrap();
        for (place, hash) in (index * 256..).zip(decode_tile(bytes).unwrap()) {
            let span = 256usize.pow(u32::from(level));
            let start = place as usize * span;
            assert_eq!(hash, tree_hash(&leaves[start..start + span]), "{path} {place}");
        }
    }
}

#[test]
fn t3_a_tree_of_70000_and_one_of_256() {
    let resources = |size: u64| -> Vec<String> {
        let levels = (0..=63).flat_map(|level| (0..).map_while(move |index| Tile::in_tree(level, index, size)));
        levels.filter(|tile| tile.index > 272 || tile.level > 0 || size < 300).map(|tile| tile.path()).collect()
    };
    assert_eq!(resources(70_000), ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]);
    assert_eq!(resources(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(Tile::in_tree(0, 272, 70_000).unwrap().width, 256);
}

#[test]
fn t3_partial_tiles_have_floor_of_s_over_256_to_the_l_mod_256_hashes() {
    for size in [1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000, (1 << 24) - 1, 1 << 24, u64::MAX] {
        let widths = |level: u8| size.checked_shr(8 * u32::from(level)).unwrap_or(0) % 256;
        let expected: Vec<_> = (0..64).map(|level| (level, widths(level))).filter(|(_, width)| *width > 0).collect();
        let partial: Vec<_> = Tile::partial(size).iter().map(|tile| (tile.level, u64::from(tile.width))).collect();
        assert_eq!(partial, expected, "{size}");
    }
}

#[test]
fn t3_empty_tiles_and_those_beyond_the_tree_are_not_served() {
    let is_in = |path: &str, size| path.parse::<Resource>().unwrap().is_in(size);
    assert!(is_in("tile/0/000", 256) && is_in("tile/1/000.p/1", 256) && is_in("tile/0/000.p/255", 256));
    assert!(!is_in("tile/0/001.p/1", 256) && !is_in("tile/1/000.p/2", 256) && !is_in("tile/2/000.p/1", 256));
    assert!(!is_in("tile/0/000.p/1", 0) && !is_in("tile/0/000", 255) && !is_in("tile/63/000.p/1", u64::MAX));
    assert!(is_in("tile/entries/000.p/7", 7) && !is_in("tile/entries/000.p/8", 7) && is_in("checkpoint", 0));
    assert_eq!(decode_tile(&[]), Err(LedgerError::BadTile(0)));
}

#[test]
fn t3_partial_tiles_are_not_hashed_into_the_level_above() {
    let (mut tree, mut full) = (Tree::default(), Vec::new());
    for index in 0..511 {
        tree.push(leaf(index), &mut full);
    }
    assert_eq!(full.iter().map(|(tile, _)| tile.path()).collect::<Vec<_>>(), ["tile/0/000"]);
    let above: Vec<_> = tree.partial_tiles().into_iter().filter(|(tile, _)| tile.level == 1).collect();
    assert_eq!(above, [(Tile { level: 1, index: 0, width: 1 }, vec![SAMPLE.roots[256]])]);
}

#[test]
fn t4_bundles_are_entries_after_16_bit_lengths() {
    let bundle = encode_bundle([b"".as_slice(), b"one"]).unwrap();
    assert_eq!(bundle, [0, 0, 0, 3, b'o', b'n', b'e']);
    assert_eq!(decode_bundle(&bundle), Ok(vec![b"".as_slice(), b"one"]));
    let longest = vec![1; 65_535];
    assert_eq!(decode_bundle(&encode_bundle([&longest]).unwrap()), Ok(vec![longest.as_slice()]));
    assert_eq!(encode_bundle([vec![1; 65_536]]), Err(LedgerError::EntryTooLong(65_536)));
    assert_eq!("tile/entries/x001/000.p/7".parse(), Ok(Resource::Bundle(Bundle { index: 1000, width: 7 })));
}

#[test]
fn t4_entries_hash_to_the_tile_of_level_0() {
    let log = files(300).0;
    for (bundle, tile) in [("tile/entries/000", "tile/0/000"), ("tile/entries/001.p/44", "tile/0/001.p/44")] {
        let hashes: Vec<Hash> = decode_bundle(&log[bundle]).unwrap().into_iter().map(leaf_hash).collect();
        assert_eq!(Ok(hashes), decode_tile(&log[tile]));
    }
}

#[test]
fn t5_every_partial_resource_is_the_start_of_a_wider_one() {
    let late = files(700).0;
    for size in [1, 2, 44, 255, 256, 257, 300, 511, 513, 699] {
        for (path, bytes) in files(size).0.iter().filter(|(path, _)| *path != "checkpoint") {
            let resource: Resource = path.parse().unwrap();
            let full = path.split(".p/").next().unwrap();
            let wider = late.iter().find(|(path, _)| path.split(".p/").next() == Some(full)).unwrap().1;
            assert_eq!(resource.cut(wider), Ok(bytes.as_slice()), "{path}");
            assert!(resource.cut(&wider[..bytes.len() - 1]).is_err());
        }
    }
}

#[test]
fn t6_what_ends_before_the_minimum_index_may_be_missing() {
    let may_be_pruned = |path: &str, minimum| path.parse::<Resource>().unwrap().may_be_pruned(minimum);
    assert!(may_be_pruned("tile/entries/000", 256) && may_be_pruned("tile/0/000", 256));
    assert!(!may_be_pruned("tile/entries/000", 255) && !may_be_pruned("tile/0/000", 255));
    assert!(!may_be_pruned("tile/1/000", 65_535) && may_be_pruned("tile/1/000", 65_536));
    assert!(!may_be_pruned("tile/2/000", 65_536) && may_be_pruned("tile/1/x001/000", 1001 << 16));
    assert!(!may_be_pruned("tile/0/000.p/7", u64::MAX) && !may_be_pruned("tile/entries/000.p/7", u64::MAX));
    assert!(!may_be_pruned("checkpoint", u64::MAX));
}

#[test]
fn t6_a_pruned_log_and_its_old_proofs_stay_valid() {
    let mut log = files(1000);
    let old = inclusion_proof(7, 1000, &SAMPLE.tiles).unwrap();
    for path in ["tile/entries/000", "tile/entries/001", "tile/0/000", "tile/0/001"] {
        assert!(log.0.remove(path).is_some());
    }
    let verifiers = [signer().verifier()];
    let audit = Audit { minimum_index: 512, ..Audit::new(ORIGIN, &verifiers) };
    let findings = audit_log(&log, &audit, &mut |_, _| Ok(()));
    assert_eq!((findings.inclusion, findings.report.entries_pruned, findings.report.entries_checked), (Finding::Holds, 512, 488));
    marque_ledger::verify_inclusion(leaf(7), 7, 1000, &old, findings.report.root.unwrap()).unwrap();
    let audit = Audit { minimum_index: 511, ..audit };
    assert!(matches!(audit_log(&log, &audit, &mut |_, _| Ok(())).inclusion, Finding::Fails(_)));
    assert!(consistency_proof(512, 1000, &SAMPLE.tiles).is_ok());
}

/// The hash of RFC 6962 §2.1, by its definition.
fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&tree_hash(left), &tree_hash(right))
        }
    }
}
