//! Every bound of the coordinator's decisions, with its unit.

/// Milliseconds a worker that lost its link keeps its tasks before they go to others.
pub const RECONNECT_GRACE_MS: u64 = 20_000;
/// Milliseconds without a word from the base layer after which nothing is sealed: a batch dated by what was heard
/// before could be too old when it can be posted.
pub const BASE_LAYER_SILENCE_MS_MAX: u64 = 600_000;
/// Failures of one inference task after which its job fails: the input, not the workers, must be to blame.
pub const TASK_FAILURES_MAX: u32 = 8;
/// Groups of an inference job that are under way as long as there are as many: workers must not wait for each other.
pub const GROUPS_UNDER_WAY_MIN: usize = 4;
/// Log lines kept for a job.
pub const LOG_LINES_MAX: usize = 10_000;
/// Tasks remembered for each worker.
pub const HISTORY_TASKS_MAX: usize = 1_000;
/// Tasks one worker may run at once, whatever it says.
pub const SLOTS_MAX: u32 = 64;
/// Specs submitted and not yet funded; the oldest goes when another comes.
pub const UNFUNDED_SPECS_MAX: usize = 1_000;
/// Milliseconds after which an unfunded spec is forgotten.
pub const UNFUNDED_MS_MAX: u64 = 24 * 3_600_000;
/// Credits one sealed batch aims at: about 96 KiB of payload, and a post that fits any block.
pub const BATCH_CREDITS_MAX: usize = 5_000;
/// Bytes, about, of the receipts that stay in memory after their settlements are final, to serve as evidence; the facts
/// on disk hold them all.
pub const EVIDENCE_BYTES_MAX: u64 = 1 << 30;
/// Bytes, about, that an accepted receipt takes in memory.
pub const RECEIPT_BYTES: u64 = 1_024;
