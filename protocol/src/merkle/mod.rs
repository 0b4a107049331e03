//! Static Merkle trees.
