//! Whether all judges of a log judged the same tree.

use crate::fault::{Fault, Heard, Result, Tree, need};

/// The trees that judges named, of one log.
#[derive(Debug, Default)]
pub struct Agreement(Vec<(&'static str, Option<Tree>)>);

impl Agreement {
    /// One more judge has spoken; one that was not content named no tree.
    pub fn take(&mut self, client: &'static str, tree: Option<Tree>) {
        self.0.push((client, tree));
    }

    /// Whether anybody has spoken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// That every one named the same size and root hash.
    pub fn reached(&self) -> Result<Heard> {
        let mut first = None;
        for (client, tree) in &self.0 {
            let tree = tree.as_ref().ok_or_else(|| Fault::new(format!("{client} named no tree")))?;
            let (other, agreed) = *first.get_or_insert((client, tree));
            need(tree == agreed, format!("{client} judged {tree:?}, and {other} {agreed:?}"))?;
        }
        let (_, Tree { size, root }) = first.ok_or_else(|| Fault::new("nobody judged"))?;
        Ok(Heard::seen(format!("{} judges of the demo's log: {size} entries, root {root}", self.0.len())).of_tree(*size, root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(trees: &[Option<(u64, &str)>]) -> Result<Heard> {
        let mut agreement = Agreement::default();
        for tree in trees {
            agreement.take("a judge", tree.map(|(size, root)| Tree { size, root: root.to_owned() }));
        }
        agreement.reached()
    }

    #[test]
    fn all_must_name_the_same_size_and_root() {
        assert_eq!(said(&[Some((3, "AA==")), Some((3, "AA=="))]).unwrap().tree, Some(Tree { size: 3, root: "AA==".to_owned() }));
        for trees in [
            &[Some((3, "AA==")), Some((4, "AA=="))][..],
            &[Some((3, "AA==")), Some((3, "AQ=="))],
            &[Some((3, "AA==")), None],
            &[None, Some((3, "AA=="))],
            &[],
        ] {
            assert!(said(trees).is_err(), "{trees:?}");
        }
    }
}
