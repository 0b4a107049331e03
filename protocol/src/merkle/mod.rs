//! Static Merkle trees over leaves that are already hashes: a batch's chunks, a batch's results.
//!
//! The crate `merkle_light` builds the tree; this room makes it safe. The crate panics on fewer than two leaves,
//! duplicates an odd last node (so that two lists share a root) and lets a proof bring its own root. Here any number of
//! leaves works, the list is padded with zero leaves to a power of two, and a proof is checked against a root, a count
//! and a position that the caller already trusts. A root alone does not bind the count: callers hash
//! `count ‖ root` (see `ledger::batch`).

mod leaf;
mod proof;
mod tree;

pub use proof::{Proof, ProofError};
pub use tree::{LEAVES_MAX, StaticTree, TreeError};
