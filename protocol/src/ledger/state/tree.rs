//! The positional sparse tree: an index is a leaf's address, an unused leaf is zero, the depth is fixed.

use serde::{Deserialize, Serialize};

use super::paged::Paged;
use crate::hash::{Keccak, node};
use crate::limits::STATE_TREE_DEPTH;

/// Leaves a state tree has room for: 2^24.
pub const STATE_LEAVES_MAX: u32 = 1 << STATE_TREE_DEPTH;

const DEPTH: usize = STATE_TREE_DEPTH as usize;

/// The hashes of empty subtrees, by height: `zero[0]` = 0, `zero[h + 1]` = node(`zero[h]`, `zero[h]`).
pub fn empty_nodes() -> [Keccak; DEPTH + 1] {
    let mut zero = [Keccak::ZERO; DEPTH + 1];
    for height in 0..DEPTH {
        zero[height + 1] = node(&zero[height], &zero[height]);
    }
    zero
}

/// The tree with all its nodes. Memory: about 64 bytes a leaf that lies near others; a clone shares them.
#[derive(Clone, Debug)]
pub struct StateTree {
    /// `levels[h]` holds the nodes of height h; the last holds the root.
    levels: Vec<Paged<Keccak>>,
    zero: [Keccak; DEPTH + 1],
}

impl Default for StateTree {
    fn default() -> Self {
        let zero = empty_nodes();
        Self { levels: zero.iter().map(|empty| Paged::new(*empty)).collect(), zero }
    }
}

impl StateTree {
    /// The root.
    pub fn root(&self) -> Keccak {
        *self.levels[DEPTH].get(0)
    }

    /// Writes leaves and rehashes each node above them once, so that neighbours share the cost. A later entry for the
    /// same index wins.
    ///
    /// # Panics
    /// If an index is not below [`STATE_LEAVES_MAX`]: the ledger's counters stop there.
    pub fn update(&mut self, leaves: &[(u32, Keccak)]) {
        let mut touched: Vec<u32> = Vec::with_capacity(leaves.len());
        for (index, leaf) in leaves {
            assert!(*index < STATE_LEAVES_MAX, "leaf {index} is past the tree's capacity");
            *self.levels[0].get_mut(*index) = *leaf;
            touched.push(*index);
        }
        touched.sort_unstable();
        for height in 0..DEPTH {
            for index in &mut touched {
                *index >>= 1;
            }
            touched.dedup();
            for parent in &touched {
                let children = &self.levels[height];
                let hash = node(children.get(2 * parent), children.get(2 * parent + 1));
                *self.levels[height + 1].get_mut(*parent) = hash;
            }
        }
    }

    /// The proof of leaf `index`, used or not; `None` past the capacity.
    pub fn proof(&self, index: u32) -> Option<StateProof> {
        if index >= STATE_LEAVES_MAX {
            return None;
        }
        let mut proof = StateProof { bitmap: 0, siblings: Vec::new() };
        for height in 0..DEPTH {
            let sibling = *self.levels[height].get(index >> height ^ 1);
            if sibling != self.zero[height] {
                proof.bitmap |= 1 << height;
                proof.siblings.push(sibling);
            }
        }
        Some(proof)
    }
}

/// That a leaf stands at an index of a state tree. Siblings that are empty subtrees are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateProof {
    /// Bit h: the sibling at height h is given. 24 bits.
    pub bitmap: u32,
    /// The given siblings, lowest first.
    pub siblings: Vec<Keccak>,
}

/// Why a state proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// An index outside the tree.
    #[error("leaf {index} is past the tree's capacity of {STATE_LEAVES_MAX}")]
    Index {
        /// The index asked for.
        index: u32,
    },
    /// A bitmap with bits past the depth, or with another number of bits than siblings.
    #[error("the bitmap {bitmap:#x} does not describe {siblings} siblings")]
    Shape {
        /// The bitmap.
        bitmap: u32,
        /// Siblings given.
        siblings: usize,
    },
    /// A sibling that should have been left out: every leaf has one proof only.
    #[error("the sibling at height {height} is an empty subtree and must be left out")]
    NotCanonical {
        /// The height of the sibling.
        height: u32,
    },
    /// The siblings lead to another root.
    #[error("the proof leads to the root {got}, not to {want}")]
    Root {
        /// The trusted root.
        want: Keccak,
        /// The root the proof leads to.
        got: Keccak,
    },
}

impl StateProof {
    /// Checks that `leaf` stands at `index` under `root`, in the one canonical form.
    pub fn verify(&self, root: Keccak, index: u32, leaf: Keccak) -> Result<(), StateProofError> {
        if index >= STATE_LEAVES_MAX {
            return Err(StateProofError::Index { index });
        }
        if self.bitmap >> DEPTH != 0 || self.bitmap.count_ones() as usize != self.siblings.len() {
            return Err(StateProofError::Shape { bitmap: self.bitmap, siblings: self.siblings.len() });
        }
        let mut given = self.siblings.iter();
        let (mut hash, mut empty) = (leaf, Keccak::ZERO);
        for height in 0..STATE_TREE_DEPTH {
            let mut sibling = empty;
            if self.bitmap >> height & 1 == 1 {
                sibling = *given.next().expect("as many siblings as bits, checked above");
                if sibling == empty {
                    return Err(StateProofError::NotCanonical { height });
                }
            }
            hash = if index >> height & 1 == 0 { node(&hash, &sibling) } else { node(&sibling, &hash) };
            empty = node(&empty, &empty);
        }
        if hash == root { Ok(()) } else { Err(StateProofError::Root { want: root, got: hash }) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::hash::keccak;

    fn leaf(number: u32) -> Keccak {
        keccak(&[&number.to_be_bytes()])
    }

    /// The root of the subtree of `height` at `index`, by the definition.
    fn by_hand(leaves: &BTreeMap<u32, Keccak>, height: u32, index: u32, zero: &[Keccak]) -> Keccak {
        let first = u64::from(index) << height;
        let last = first + (1 << height) - 1;
        if leaves.range(first as u32..=last as u32).next().is_none() {
            return zero[height as usize];
        }
        if height == 0 {
            return leaves[&index];
        }
        let child = |side| by_hand(leaves, height - 1, 2 * index + side, zero);
        node(&child(0), &child(1))
    }

    #[test]
    fn an_empty_tree_is_the_empty_root_and_proves_absence() {
        let tree = StateTree::default();
        assert_eq!(tree.root(), empty_nodes()[DEPTH]);
        let proof = tree.proof(7).unwrap();
        assert_eq!(proof, StateProof { bitmap: 0, siblings: vec![] });
        assert_eq!(proof.verify(tree.root(), 7, Keccak::ZERO), Ok(()));
        assert_eq!(tree.proof(STATE_LEAVES_MAX), None);
    }

    #[test]
    fn a_clone_keeps_its_own_leaves() {
        let mut tree = StateTree::default();
        tree.update(&[(0, leaf(0)), (1, leaf(1))]);
        let (snapshot, root) = (tree.clone(), tree.root());
        tree.update(&[(1, leaf(9))]);
        assert_eq!(snapshot.root(), root);
        assert_ne!(tree.root(), root);
        assert_eq!(snapshot.proof(0).unwrap().verify(root, 0, leaf(0)), Ok(()));
    }

    #[test]
    fn one_form_of_a_proof_is_accepted() {
        let mut tree = StateTree::default();
        tree.update(&[(5, leaf(5)), (6, leaf(6))]);
        let (root, proof) = (tree.root(), tree.proof(5).unwrap());
        assert_eq!(proof.bitmap, 0b10);
        assert_eq!(proof.verify(root, 5, leaf(5)), Ok(()));
        let spelled_out = StateProof { bitmap: 0b11, siblings: vec![Keccak::ZERO, proof.siblings[0]] };
        assert_eq!(spelled_out.verify(root, 5, leaf(5)), Err(StateProofError::NotCanonical { height: 0 }));
        let superfluous = StateProof { siblings: vec![proof.siblings[0]; 2], ..proof.clone() };
        assert!(matches!(superfluous.verify(root, 5, leaf(5)), Err(StateProofError::Shape { .. })));
        let high = StateProof { bitmap: 1 << 24, ..proof.clone() };
        assert!(matches!(high.verify(root, 5, leaf(5)), Err(StateProofError::Shape { .. })));
        assert!(matches!(proof.verify(root, 4, leaf(5)), Err(StateProofError::Root { .. })));
        let past = STATE_LEAVES_MAX + 5;
        assert_eq!(proof.verify(root, past, leaf(5)), Err(StateProofError::Index { index: past }));
    }

    proptest! {
        #[test]
        fn updates_in_any_grouping_give_the_tree_of_the_definition(
            writes in proptest::collection::vec((prop_oneof![0u32..200, 0u32..STATE_LEAVES_MAX], any::<u32>()), 1..40),
            group in 1usize..8,
        ) {
            let mut tree = StateTree::default();
            let mut leaves = BTreeMap::new();
            for writes in writes.chunks(group) {
                let writes: Vec<_> = writes.iter().map(|(index, number)| (*index, leaf(*number))).collect();
                tree.update(&writes);
                leaves.extend(writes);
            }
            prop_assert_eq!(tree.root(), by_hand(&leaves, STATE_TREE_DEPTH, 0, &empty_nodes()));
            for (index, leaf) in &leaves {
                prop_assert_eq!(tree.proof(*index).unwrap().verify(tree.root(), *index, *leaf), Ok(()));
            }
            let free = (0..).find(|index| !leaves.contains_key(index)).unwrap();
            prop_assert_eq!(tree.proof(free).unwrap().verify(tree.root(), free, Keccak::ZERO), Ok(()));
        }
    }
}
