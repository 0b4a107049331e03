//! That a leaf stands at a position of a tree whose root and count are known.

use serde::{Deserialize, Serialize};

use super::tree::depth;
use crate::hash::{Keccak, node};

/// The siblings from the leaf up to the root; `⌈log2 count⌉` of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Lowest first.
    pub siblings: Vec<Keccak>,
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A position outside the tree.
    #[error("leaf {index} is asked for in a tree of {count}")]
    Index {
        /// The position asked for.
        index: u32,
        /// Leaves in the tree.
        count: u32,
    },
    /// Too many siblings, or too few.
    #[error("a proof in this tree has {want} siblings, this one has {got}")]
    Length {
        /// The tree's depth.
        want: usize,
        /// Siblings given.
        got: usize,
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

impl Proof {
    /// Checks that `leaf` is leaf `index` of the tree of `count` leaves whose root is `root`: three things the caller
    /// trusts already, none of which the proof can change.
    pub fn verify(&self, root: Keccak, count: u32, index: u32, leaf: Keccak) -> Result<(), ProofError> {
        if index >= count {
            return Err(ProofError::Index { index, count });
        }
        let want = depth(count as usize);
        if self.siblings.len() != want {
            return Err(ProofError::Length { want, got: self.siblings.len() });
        }
        let mut hash = leaf;
        for (height, sibling) in self.siblings.iter().enumerate() {
            hash = if index >> height & 1 == 0 { node(&hash, sibling) } else { node(sibling, &hash) };
        }
        if hash == root { Ok(()) } else { Err(ProofError::Root { want: root, got: hash }) }
    }
}
