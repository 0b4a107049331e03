//! A worker: trains on its own examples, answers inference tasks, keeps proof of what it is owed.
//!
//! [`core`] decides (pure), [`node`] acts. The story of one task is at the top of [`core`].

pub mod acceptances;
pub mod args;
pub mod config;
pub mod core;
pub mod error;
pub mod node;
pub mod output;
mod run;
pub mod status;

pub use run::run;
