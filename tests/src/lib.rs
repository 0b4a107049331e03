//! Tests that need more than one program.
//!
//! | room | holds |
//! | --- | --- |
//! | [`sim`] | a cluster on one thread: the real cores of coordinator and workers, everything around them simulated |
//! | [`oracle`] | what was promised to whom, from durable facts and messages that left, and from nothing else |
//! | [`invariants`] | what every run must keep, one property a file |
//! | [`real`] | the real programs, started as processes, and clients that speak to them |
//! | [`twins`] | the ledger in Rust and in Solidity, side by side |
//! | [`bench`] | the figures that `make bench` measures |
//!
//! `scenarios/` holds the tests themselves, in one binary; `src/bin/sim.rs` is for long runs. `docs/SIMULATION.md` says
//! what is simulated, and how a failed run is replayed.

pub mod bench;
pub mod invariants;
pub mod oracle;
pub mod real;
pub mod sim;
pub mod twins;
