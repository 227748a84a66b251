//! Pruning: a crash anywhere within it is made good at the next start, and nothing is let go that nobody meant.

use std::path::PathBuf;

use marque_ledger::{leaf_hash, verify_inclusion};
use marque_store::tiles::Tiles;

use super::disk::files;
use super::tiles::{Site, entry};

/// Killed after the word and among the deeds, whichever of those the disk has: the rest goes when it is opened again.
#[test]
fn a_crash_within_pruning_is_finished_at_the_next_start() {
    for left in [&BUNDLES[..], &BUNDLES[2..], &BUNDLES[..1], &BUNDLES[1..2]] {
        let (site, mut tiles) = Site::published(1_100);
        let paths: Vec<PathBuf> = left.iter().flat_map(|name| contents(&site, name)).collect();
        let before: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(tiles.prune(800, &is_hundredth).unwrap(), 768);
        drop(tiles);
        paths.iter().zip(before).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        std::fs::write(mark(&site), "0 768\n").unwrap();
        // And what an earlier crash left of a bundle that was not full yet.
        let [partial, _] = contents(&site, "001.p");
        std::fs::create_dir_all(&partial).unwrap();
        std::fs::write(partial.join("7"), "contents").unwrap();

        let tiles = site.open();
        for path in BUNDLES.iter().flat_map(|name| contents(&site, name)).chain([partial]) {
            assert!(!path.exists(), "{left:?}: `{}` is still there", path.display());
        }
        assert_eq!(std::fs::read_to_string(mark(&site)).unwrap(), "768 768\n");
        assert_eq!((tiles.pruned(), kept(&tiles)), (768, (1..=7).map(|n| n * 100).collect()));
        assert!(tiles.read(0).unwrap().is_empty() && tiles.read(767).unwrap().is_empty());
        assert_eq!(tiles.read(768).unwrap().first(), Some(&(768, entry(768))));
        let head = tiles.head();
        verify_inclusion(leaf_hash(&entry(7)), 7, head.size, &tiles.inclusion(7).unwrap(), head.root).unwrap();
    }
}

/// Killed after what is to be kept was kept, and before the word.
#[test]
fn a_crash_before_the_word_lets_go_of_nothing_and_keeps_nothing_twice() {
    let (site, mut tiles) = Site::published(1_100);
    let private = site.ledger().with_file_name("private");
    let before: Vec<_> = files(&site.ledger()).into_iter().chain(files(&private)).collect();
    assert_eq!(tiles.prune(300, &is_hundredth).unwrap(), 256);
    drop(tiles);
    before.into_iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    std::fs::remove_file(site.ledger().join("pruned")).unwrap();
    std::fs::write(mark(&site), "0 256\n").unwrap();

    let mut tiles = site.open();
    assert_eq!((tiles.pruned(), kept(&tiles)), (0, vec![]));
    assert_eq!(tiles.read(0).unwrap().len(), 256);
    assert_eq!(tiles.prune(800, &is_hundredth).unwrap(), 768);
    assert_eq!(kept(&tiles), (1..=7).map(|n| n * 100).collect::<Vec<u64>>());
    assert!(BUNDLES.iter().flat_map(|name| contents(&site, name)).all(|path| !path.exists()));
}

/// A bit that rots in the word, or a directory of which a part was restored.
#[test]
fn a_word_that_nobody_said_removes_nothing() {
    let (site, mut tiles) = Site::published(1_100);
    assert_eq!(tiles.prune(256, &is_hundredth).unwrap(), 256);
    drop(tiles);
    std::fs::write(site.ledger().join("pruned"), "768\n").unwrap();
    drop(site.open());
    assert!(BUNDLES[1..].iter().flat_map(|name| contents(&site, name)).all(|path| path.exists()));
}

fn is_hundredth(record: &[u8]) -> bool {
    record.ends_with(b"00")
}

fn kept(tiles: &Tiles) -> Vec<u64> {
    tiles.retained().unwrap().into_iter().map(|(index, _)| index).collect()
}

/// Where the contents of a bundle stand: what is published, and what is not.
fn contents(site: &Site, name: &str) -> [PathBuf; 2] {
    [site.ledger().join("tile/entries").join(name), site.ledger().with_file_name("private").join(name)]
}

/// The file that says how far the deeds are done.
fn mark(site: &Site) -> PathBuf {
    site.ledger().with_file_name("private").join("swept")
}

const BUNDLES: [&str; 3] = ["000", "001", "002"];
