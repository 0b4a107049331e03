//! One story told to two base layers by the same code: the development chain, and anvil from the pinned npm package.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod blobs;
mod bonds;
mod durability;
mod fraud;
mod nodes;
mod relay;
mod stakes;
mod story;
mod tools;
