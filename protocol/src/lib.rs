//! What two fedroll programs must agree on to the byte: identifiers, amounts, jobs, the wire, trees and the ledger.
//!
//! | room | holds |
//! | --- | --- |
//! | [`ids`], [`amount`], [`time`], [`hash`] | one type for each meaning |
//! | [`sign`] | keys, and `Signed<T>`, which exists only once its signature is checked |
//! | [`job`] | job specs, tasks, receipts, acceptances |
//! | [`stakes`] | what workers have at stake |
//! | [`wire`] | messages, their canonical bytes, frames |
//! | [`api`] | the JSON of the HTTP API |
//! | [`merkle`] | static trees and their proofs |
//! | [`dispute`] | the referee of a dispute over one task |
//! | [`ledger`] | state, operations, batches, derivation |
//! | `quic` (feature) | the endpoint, identities and streams |
//! | [`limits`], [`rng`] | every shared bound; seeded integers |
//!
//! No clock, no socket, no disk: everything outside `quic` is a function of its arguments.

pub mod amount;
pub mod api;
pub mod dispute;
pub mod hash;
pub mod ids;
pub mod job;
pub mod ledger;
pub mod limits;
pub mod merkle;
#[cfg(feature = "quic")]
pub mod quic;
pub mod rng;
pub mod sign;
pub mod stakes;
pub mod time;
pub mod wire;
