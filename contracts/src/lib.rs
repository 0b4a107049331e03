//! The base layer: the contracts' bindings, any Ethereum JSON-RPC, and the development chain.
//!
//! | room | holds |
//! | --- | --- |
//! | [`base_layer`] | what coordinator, command line and auditor ask of a base layer |
//! | [`rpc`] | the answer of any Ethereum JSON-RPC node, by alloy |
//! | [`devchain`] | a node of our own for one machine: revm, the same bytecode, a journal |
//! | [`bonds`] | service bonds: what stands behind what coordinators sign |
//! | [`stakes`] | what workers have at stake, and how a contradiction takes it |
//! | [`bindings`] | types made from `artifacts/` |
//! | [`kzg`] | what blobs are known by, and proofs of what is in them |
//! | [`error`] | what can go wrong, and whether to try again |
//!
//! `solidity/` holds the contracts, `build.sh` makes the artifacts; building this crate needs neither.

mod artifact;
pub mod base_layer;
pub mod bindings;
pub mod bonds;
pub mod devchain;
pub mod error;
pub mod kzg;
mod reason;
pub mod rpc;
pub mod stakes;
