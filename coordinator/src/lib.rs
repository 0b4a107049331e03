//! The coordinator: hands out tasks, takes receipts, aggregates, pays, seals batches.
//!
//! One job: a requester hands in a spec and funds it on the base layer; the watcher sees the funding in a final block;
//! [`core`] opens a settlement and assigns its tasks; workers fetch the model, upload updates and send receipts; each
//! good one is recorded, answered with an acceptance and folded into the sum; enough of them close the round; the
//! settlement is sealed into a batch, posted, and final after the challenge window.
//!
//! [`core`] decides, `node` acts.

pub mod args;
pub mod config;
pub mod core;
pub mod error;
pub mod node;
