//! How `merkle_light` sees a leaf and hashes a node.

use core::hash::Hasher;

use merkle_light::hash::Algorithm;
use sha3::{Digest as _, Keccak256};

use crate::hash::{self, Keccak};

/// A leaf or node in the form the crate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node(pub(super) Keccak);

impl AsRef<[u8]> for Node {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

/// Leaves as given (their preimages carry a tag), nodes as [`hash::node`]: the left child first, never sorted, so that
/// a position is part of what a proof proves.
#[derive(Clone, Debug, Default)]
pub(super) struct Positional(Keccak256);

impl Hasher for Positional {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The first eight bytes of the hash: what the trait has room for. The tree asks for [`Algorithm::hash`].
    fn finish(&self) -> u64 {
        let hash: [u8; 32] = self.0.clone().finalize().into();
        hash.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

impl Algorithm<Node> for Positional {
    fn hash(&mut self) -> Node {
        Node(Keccak(self.0.clone().finalize().into()))
    }

    fn leaf(&mut self, leaf: Node) -> Node {
        leaf
    }

    fn node(&mut self, left: Node, right: Node) -> Node {
        Node(hash::node(&left.0, &right.0))
    }
}
