//! Models, data and fixed-point updates: everything about the work itself, nothing about networks.
//!
//! | room | holds |
//! | --- | --- |
//! | [`data`] | loaders (IDX, CSV), how a set is cut into shards, and a shard's blob |
//! | [`zoo`] | the models, one file each, and the registry from a `ModelSpec` |
//! | [`weights`] | values in canonical order; safetensors |
//! | [`train`], [`infer`], [`verify`] | weights and examples in, weights or answers out; the same again, compared |
//! | [`replay`] | a training as its commitments; traces of it, and one operator again |
//! | [`checkpoint`] | how often a training commits to its state |
//! | [`update`], [`aggregate`] | a weight change as integers; the weighted mean of many |
//! | [`engine`] | a model as a list of operators, and what runs it |
//! | [`kernels`] | arithmetic with one defined order of operations |
//!
//! Everything here is a function of its arguments: no clock, and the same bits on every machine with any number of
//! threads (docs/REPRODUCIBILITY.md).

pub mod aggregate;
pub mod checkpoint;
pub mod data;
pub mod engine;
pub mod error;
pub mod infer;
pub mod kernels;
pub mod proof;
pub mod replay;
pub mod train;
pub mod update;
pub mod verify;
pub mod weights;
pub mod zoo;

pub use error::ModelError;
