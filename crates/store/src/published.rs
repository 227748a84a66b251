//! The published log as it is served (C2SP tlog-tiles v0.1.0, "APIs"): by path, from the files that the follower wrote.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use marque_ledger::{Bundle, PLAIN_TEXT, Resource, Tile};

use crate::dir::read_if_there;
use crate::error::Result;
use crate::tiles::{PRUNED, Tiles, WITNESSED};

/// A log's published files, for readers beside its follower. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Published {
    dir: PathBuf,
    tiles: Arc<Mutex<Tiles>>,
}

/// One file, and how it is served (tlog-tiles v0.1.0, "APIs").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The header `Cache-Control`.
    pub cache_control: &'static str,
}

impl Published {
    /// What this follower publishes.
    pub fn new(tiles: Arc<Mutex<Tiles>>) -> Self {
        let dir = tiles.lock().unwrap_or_else(PoisonError::into_inner).dir().to_owned();
        Self { dir, tiles }
    }

    /// The file at a path below the log's prefix; nothing where the published tree has none, or where it was pruned
    /// (blocking). A partial tile or bundle of any width is there as long as the tree has as much (tlog-tiles v0.1.0,
    /// "Partial Tiles").
    pub fn file(&self, path: &str) -> Result<Option<Served>> {
        match path.parse::<Resource>() {
            Ok(resource) => self.resource(resource),
            Err(_) if BESIDE.contains(&path) => {
                let cache_control = Resource::Checkpoint.cache_control();
                let served = |bytes| Served { bytes, content_type: PLAIN_TEXT, cache_control };
                Ok(read_if_there(&self.dir.join(path))?.map(served))
            }
            Err(_) => Ok(None),
        }
    }

    fn resource(&self, resource: Resource) -> Result<Option<Served>> {
        for _ in 0..ATTEMPTS {
            let (size, pruned) = {
                let tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
                (tiles.head().size, tiles.pruned())
            };
            let widest = widest(resource, size);
            // Contents that were let go may still be there for a moment.
            let is_gone = matches!(widest, Resource::Bundle(_)) && widest.may_be_pruned(pruned);
            if is_gone || !resource.is_in(size) {
                return Ok(None);
            }
            // A partial file that is gone has been followed by a wider one since.
            let Some(bytes) = read_if_there(&self.dir.join(widest.path()))? else { continue };
            let bytes = if widest == resource { bytes } else { resource.cut(&bytes)?.to_vec() };
            let (content_type, cache_control) = (resource.content_type(), resource.cache_control());
            return Ok(Some(Served { bytes, content_type, cache_control }));
        }
        Ok(None)
    }
}

/// The same place as wide as it is in a tree of `size` entries: the one width that has a file.
fn widest(resource: Resource, size: u64) -> Resource {
    let wider = match resource {
        Resource::Checkpoint => None,
        Resource::Tile(tile) => Tile::in_tree(tile.level, tile.index, size).map(Resource::Tile),
        Resource::Bundle(bundle) => Bundle::in_tree(bundle.index, size).map(Resource::Bundle),
    };
    wider.unwrap_or(resource)
}

/// What stands beside the tree: the log's key, the checkpoint that a quorum of witnesses cosigned, and below which entry
/// bundles are missing on purpose.
const BESIDE: [&str; 3] = ["verifier", WITNESSED, PRUNED];
/// More heads than can be published while one file is read.
const ATTEMPTS: usize = 4;

#[cfg(test)]
mod tests {
    use marque_ledger::{Note, Signer, WitnessSigner};

    use super::*;
    use crate::log::Log;

    #[test]
    fn every_width_of_the_tree_is_served_and_nothing_else() {
        let site = Site::new();
        site.grow(300);
        let full = site.file("tile/0/000").unwrap();
        assert_eq!((full.bytes.len(), full.content_type), (256 * 32, "application/octet-stream"));
        assert!(full.cache_control.contains("immutable"));
        for width in [1, 7, 44] {
            let part = site.file(&format!("tile/0/001.p/{width}")).unwrap().bytes;
            assert_eq!(part.len(), width * 32);
            let entries = site.file(&format!("tile/entries/001.p/{width}")).unwrap().bytes;
            assert_eq!(marque_ledger::decode_bundle(&entries).unwrap().len(), width);
        }
        assert_eq!(site.file("tile/0/000.p/100").unwrap().bytes, full.bytes[..3200]);
        assert_eq!(site.file("tile/1/000.p/1").unwrap().bytes.len(), 32);
        let absent = ["tile/0/001", "tile/0/001.p/45", "tile/0/002.p/1", "tile/1/000.p/2", "tile/1/000", "tile/entries/001"];
        let no_paths =
            ["", "head", "../keys/log.key", "tile/0/../0/000", "tile/0/0", "tile/0/000.p/0", "tile/0/000.p/256", "/checkpoint"];
        for path in absent.into_iter().chain(no_paths) {
            assert_eq!(site.file(path), None, "{path}");
        }
    }

    #[test]
    fn t5_what_any_checkpoint_covered_is_served_as_it_was() {
        let (site, mut seen) = (Site::new(), Vec::new());
        for size in [1, 7, 255, 256, 257, 300, 511, 512, 513] {
            site.grow(size);
            let resources = Tile::partial(size).into_iter().map(|tile| tile.path());
            let bundle = Bundle::in_tree(size / 256, size).map(|bundle| bundle.path());
            seen.extend(resources.chain(bundle).map(|path| (site.file(&path).unwrap().bytes, path)));
            for (bytes, path) in &seen {
                assert_eq!(&site.file(path).unwrap().bytes, bytes, "{path} at {size}");
            }
        }
    }

    #[test]
    fn t6_what_was_pruned_is_not_served_and_its_hashes_are() {
        let site = Site::new();
        site.grow(600);
        assert_eq!(site.file("pruned"), None);
        assert_eq!(site.tiles().prune(500, &|_| false).unwrap(), 256);
        for path in ["tile/entries/000", "tile/entries/000.p/7"] {
            assert_eq!(site.file(path), None, "{path}");
        }
        for path in ["tile/0/000", "tile/0/000.p/7", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/88"] {
            assert!(site.file(path).is_some(), "{path}");
        }
        assert_eq!(site.text("pruned"), "256\n");
    }

    #[test]
    fn checkpoints_and_cosignatures_are_served() {
        let site = Site::new();
        assert_eq!(site.file("checkpoint"), None);
        site.grow(3);
        let checkpoint = site.file("checkpoint").unwrap();
        assert_eq!((checkpoint.content_type, checkpoint.cache_control), (PLAIN_TEXT, "public, max-age=1"));
        assert_eq!(site.file("checkpoint.witnessed"), None);

        let cosigned = site.cosigned();
        site.tiles().publish_cosigned(&cosigned, false).unwrap();
        assert_eq!((site.text("checkpoint"), site.file("checkpoint.witnessed")), (cosigned.clone(), None));
        site.tiles().publish_cosigned(&cosigned, true).unwrap();
        assert_eq!(site.text("checkpoint.witnessed"), cosigned);

        // The next head has no cosignature yet, and one of the last head does not come in its place.
        site.grow(5);
        let next = site.text("checkpoint");
        site.tiles().publish_cosigned(&cosigned, true).unwrap();
        assert_eq!((site.text("checkpoint"), site.text("checkpoint.witnessed")), (next, cosigned.clone()));
        let newer = site.cosigned();
        site.tiles().publish_cosigned(&newer, true).unwrap();
        // What was witnessed never goes back.
        site.tiles().publish_cosigned(&cosigned, true).unwrap();
        assert_eq!(site.text("checkpoint.witnessed"), newer);
    }

    struct Site {
        log: Log,
        published: Published,
        _dir: tempfile::TempDir,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let log = Log::open(&dir.path().join("log"), 0).unwrap();
            let tiles = Tiles::open(&dir.path().join("ledger"), ORIGIN).unwrap();
            Self { log, published: Published::new(Arc::new(Mutex::new(tiles))), _dir: dir }
        }

        fn grow(&self, size: u64) {
            let entries = (self.log.durable()..size).map(|index| index.to_string().into_bytes()).collect();
            self.log.append(entries).unwrap().wait().unwrap();
            let mut tiles = self.tiles();
            tiles.follow(&self.log).unwrap();
            tiles.publish(&Signer::from_seed(ORIGIN, [1; 32]).unwrap()).unwrap();
        }

        fn cosigned(&self) -> String {
            let note = self.text("checkpoint");
            let witness = WitnessSigner::from_seed("witness.example/w1", [2; 32]).unwrap();
            let line = witness.cosign(&Note::parse(&note).unwrap().text, 1_700_000_000).unwrap();
            format!("{note}{line}\n")
        }

        fn file(&self, path: &str) -> Option<Served> {
            self.published.file(path).unwrap()
        }

        fn text(&self, path: &str) -> String {
            String::from_utf8(self.file(path).unwrap().bytes).unwrap()
        }

        fn tiles(&self) -> std::sync::MutexGuard<'_, Tiles> {
            self.published.tiles.lock().unwrap()
        }
    }

    const ORIGIN: &str = "example.org/marque/log";
}
