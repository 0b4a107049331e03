//! Planted situations: each is driven input by input, with a crash possible after any of them.

mod lost;
mod offers;
mod order;
mod promises;
mod rig;
mod stated;
