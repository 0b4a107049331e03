//! The tree, for any number of leaves.

use merkle_light::merkle::MerkleTree;

use super::leaf::{Node, Positional};
use super::proof::Proof;
use crate::hash::Keccak;

/// Leaves of one tree: 2^24, half a gigabyte of leaves.
pub const LEAVES_MAX: usize = 1 << 24;

/// Why a tree cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// More leaves than [`LEAVES_MAX`].
    #[error("{got} leaves are over the limit of {LEAVES_MAX}")]
    TooManyLeaves {
        /// Leaves given.
        got: usize,
    },
}

/// A tree over hashed leaves, padded with zero leaves to a power of two. Memory: 64 bytes a (padded) leaf.
#[derive(Clone, Debug)]
pub struct StaticTree {
    count: u32,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// No leaf, or one, which is its own root: the crate starts at two.
    Root(Keccak),
    Tree(MerkleTree<Node, Positional>),
}

/// Levels above the leaves of a tree of `count` leaves.
pub(super) fn depth(count: usize) -> usize {
    count.max(1).next_power_of_two().trailing_zeros() as usize
}

impl StaticTree {
    /// The tree over `leaves`, in order.
    pub fn new(leaves: &[Keccak]) -> Result<Self, TreeError> {
        let count = u32::try_from(leaves.len())
            .ok()
            .filter(|_| leaves.len() <= LEAVES_MAX)
            .ok_or(TreeError::TooManyLeaves { got: leaves.len() })?;
        let shape = match leaves {
            [] => Shape::Root(Keccak::ZERO),
            [only] => Shape::Root(*only),
            _ => {
                let padded = leaves.len().next_power_of_two();
                let nodes = (0..padded).map(|at| Node(leaves.get(at).copied().unwrap_or(Keccak::ZERO)));
                Shape::Tree(MerkleTree::new(nodes))
            }
        };
        Ok(Self { count, shape })
    }

    /// The root of the padded tree; zero for no leaf, the leaf for one. It does not bind the count.
    pub fn root(&self) -> Keccak {
        match &self.shape {
            Shape::Root(root) => *root,
            Shape::Tree(tree) => tree.root().0,
        }
    }

    /// How many leaves were given, without padding.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The node `height` levels above the leaves, `index` from the left; `None` where the padded tree has none.
    pub fn node(&self, height: u32, index: u32) -> Option<Keccak> {
        let depth = depth(self.count as usize) as u32;
        if height > depth || index >> (depth - height) != 0 {
            return None;
        }
        match &self.shape {
            Shape::Root(root) => Some(*root),
            Shape::Tree(tree) => {
                // The crate keeps one level after another, the leaves first.
                let before: usize = (0..height).map(|level| 1 << (depth - level)).sum();
                tree.as_slice().get(before + index as usize).map(|node| node.0)
            }
        }
    }

    /// The proof of leaf `index`; `None` past the last leaf.
    pub fn proof(&self, index: u32) -> Option<Proof> {
        if index >= self.count {
            return None;
        }
        let siblings = match &self.shape {
            Shape::Root(_) => Vec::new(),
            Shape::Tree(tree) => {
                // The crate's lemma is: the leaf, the siblings, the root.
                let lemma = tree.gen_proof(index as usize);
                let nodes = lemma.lemma();
                nodes[1..nodes.len() - 1].iter().map(|node| node.0).collect()
            }
        };
        Some(Proof { siblings })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::{keccak, node};
    use crate::merkle::ProofError;

    fn leaves(count: u32) -> Vec<Keccak> {
        (0..count).map(|at| keccak(&[&at.to_be_bytes()])).collect()
    }

    /// The definition, in its plainest form.
    fn root_by_hand(leaves: &[Keccak]) -> Keccak {
        let Some(_) = leaves.first() else { return Keccak::ZERO };
        let mut level = leaves.to_vec();
        level.resize(leaves.len().next_power_of_two(), Keccak::ZERO);
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| node(&pair[0], &pair[1])).collect();
        }
        level[0]
    }

    #[test]
    fn every_small_tree_follows_the_definition_and_proves_every_leaf() {
        for count in 0..=33 {
            let leaves = leaves(count);
            let tree = StaticTree::new(&leaves).unwrap();
            assert_eq!(tree.root(), root_by_hand(&leaves), "{count} leaves");
            assert_eq!(tree.proof(count), None);
            for (index, leaf) in (0..).zip(&leaves) {
                let proof = tree.proof(index).unwrap();
                assert_eq!(proof.verify(tree.root(), count, index, *leaf), Ok(()));
            }
        }
    }

    #[test]
    fn every_node_is_that_of_its_two_children() {
        for count in 1..=33 {
            let tree = StaticTree::new(&leaves(count)).unwrap();
            let depth = depth(count as usize) as u32;
            assert_eq!(tree.node(depth, 0), Some(tree.root()));
            for height in 1..=depth {
                for index in 0..1 << (depth - height) {
                    let child = |at| tree.node(height - 1, at).unwrap();
                    assert_eq!(
                        tree.node(height, index),
                        Some(node(&child(2 * index), &child(2 * index + 1)))
                    );
                }
                assert_eq!(tree.node(height, 1 << (depth - height)), None);
            }
            assert_eq!(tree.node(depth + 1, 0), None);
        }
    }

    #[test]
    fn repeating_the_last_leaf_is_another_tree() {
        let mut three = leaves(3);
        let root = StaticTree::new(&three).unwrap().root();
        three.push(three[2]);
        assert_ne!(StaticTree::new(&three).unwrap().root(), root);
    }

    #[test]
    fn a_proof_holds_for_one_leaf_at_one_place_in_one_tree() {
        let leaves = leaves(6);
        let tree = StaticTree::new(&leaves).unwrap();
        let proof = tree.proof(2).unwrap();
        let root = tree.root();
        assert!(matches!(proof.verify(root, 6, 3, leaves[2]), Err(ProofError::Root { .. })));
        assert!(matches!(proof.verify(root, 6, 2, leaves[3]), Err(ProofError::Root { .. })));
        assert!(matches!(proof.verify(leaves[0], 6, 2, leaves[2]), Err(ProofError::Root { .. })));
        assert_eq!(proof.verify(root, 2, 2, leaves[2]), Err(ProofError::Index { index: 2, count: 2 }));
        assert_eq!(proof.verify(root, 4, 2, leaves[2]), Err(ProofError::Length { want: 2, got: 3 }));
        let padding = Proof { siblings: tree.proof(5).unwrap().siblings };
        assert!(padding.verify(root, 6, 6, Keccak::ZERO).is_err(), "padding is not a leaf");
    }

    proptest! {
        #[test]
        fn any_change_to_a_proof_breaks_it(count in 2u32..70, index in any::<u32>(), at in any::<usize>(), bit in 0usize..256) {
            let leaves = leaves(count);
            let index = index % count;
            let tree = StaticTree::new(&leaves).unwrap();
            let mut proof = tree.proof(index).unwrap();
            let at = at % proof.siblings.len();
            proof.siblings[at].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(proof.verify(tree.root(), count, index, leaves[index as usize]).is_err());
        }
    }
}
