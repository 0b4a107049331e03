//! Every bound that two programs share, with its unit.

/// The wire version; two programs talk only if theirs are equal. Part of the ALPN name.
pub const WIRE_VERSION: u16 = 7;

/// The version of the arithmetic that tasks are computed in (docs/REPRODUCIBILITY.md): what is signed for a task, and
/// what a training commits to, is for one version.
pub const ARITHMETIC_VERSION: u16 = 1;

/// Bytes of one control frame, without its 4-byte header.
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;

/// Bytes of a transferred blob (a model, an update, a shard of inputs).
pub const BLOB_BYTES_MAX: u64 = 1 << 32;

/// Characters of a job's name, a data tag, a software version, a reason.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of a reason given to a person.
pub const REASON_CHARS_MAX: usize = 300;
/// Data tags a worker may state, a job may ask for.
pub const TAGS_MAX: usize = 32;

/// Blocks of a transformer.
pub const BLOCKS_MAX: u32 = 64;
/// Of 1,000 values, how many a dropout may drop.
pub const DROPOUT_MAX: u32 = 900;
/// Tokens of a transformer's sequence: its attention holds scores of every pair.
pub const POSITIONS_MAX: u32 = 2_048;
/// Hidden layers of an MLP.
pub const HIDDEN_LAYERS_MAX: usize = 16;
/// Width of any layer, height and width of an input, classes.
pub const DIMENSION_MAX: u32 = 65_536;
/// Parameters of a model: 4 bytes each on the wire.
pub const PARAMETERS_MAX: u64 = 1 << 30;

/// Rounds of a training job, groups of an inference job.
pub const SETTLEMENTS_MAX: u32 = 1_000_000;
/// Settlements of one job that may be under way or wait to be posted: the coordinator's bond covers as many.
pub const UNPOSTED_SETTLEMENTS_MAX: u32 = 2;
/// Settlements that a job has to spare, for those that close for their date before they have their rounds: a quarter of
/// those it needs, but at least and at most so many. One that is not needed is 46 bytes of a batch.
pub const SPARE_SETTLEMENTS: (u32, u32) = (2, 8);
/// Settlements that a job has unless its requester says otherwise, about: each is a batch when a job runs alone.
pub const USUAL_SETTLEMENTS: u32 = 12;
/// Milliseconds that a settlement's rounds take at most, unless its requester says otherwise, or one takes longer.
pub const USUAL_SETTLEMENT_MS: u64 = 24 * 3_600_000;
/// Milliseconds that a settlement's rounds may take, unless it has one round: acceptances must not be for ages.
pub const SETTLEMENT_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Workers of one round, tasks of one group, tasks of one settlement.
pub const TASKS_PER_SETTLEMENT_MAX: u32 = 10_000;
/// Passes over the local data in one round.
pub const LOCAL_EPOCHS_MAX: u32 = 1_000;
/// Examples in one optimiser step.
pub const MINIBATCH_MAX: u32 = 65_536;
/// `examples_cap × workers`: keeps a weighted sum of `i32` within `i64`.
pub const ROUND_WEIGHT_MAX: u64 = 1 << 31;
/// Milliseconds a task may be given.
pub const TASK_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Items of an inference job.
pub const ITEMS_MAX: u64 = 100_000_000;
/// Items of one inference task.
pub const ITEMS_PER_TASK_MAX: u32 = 65_535;
/// Input blobs named in one inference spec.
pub const INPUT_BLOBS_MAX: usize = 4_096;
/// Shards named in one training spec.
pub const SHARDS_MAX: usize = 4_096;
/// Input values of one shard's examples together.
pub const SHARD_VALUES_MAX: u64 = 1 << 30;
/// Optimiser steps between two commitments to the state of a training.
pub const CHECKPOINT_STEPS_MAX: u32 = 1 << 24;
/// Bytes of a job's canonical spec.
pub const SPEC_BYTES_MAX: usize = FRAME_BYTES_MAX as usize;

/// Depth of the two state trees: 2^24 accounts, 2^24 jobs.
pub const STATE_TREE_DEPTH: u32 = 24;
/// Bytes of one chunk.
pub const CHUNK_BYTES_MAX: usize = 512;
/// Leaves one chunk may touch.
pub const CHUNK_TOUCHES_MAX: usize = 20;
/// Bytes of one batch's payload.
pub const BATCH_BYTES_MAX: usize = 96 * 1024;
/// Seconds a batch's time may lie behind the block that posts it.
pub const BATCH_LAG_S_MAX: u64 = 3_600;
/// Bytes of one results leaf's preimage.
pub const RESULT_LEAF_BYTES_MAX: usize = 512;
