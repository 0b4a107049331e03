//! Every bound of the worker's shell, with its unit.

/// Bytes of one record of the log: one flush.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// Bytes of the log below which it is not worth compacting.
pub const LOG_BYTES_COMPACT: u64 = 4 << 20;
/// The log is compacted when it has grown to this many times its compacted size.
pub const LOG_GROWTH_MAX: u64 = 4;

/// Inputs that wait for the core.
pub const EVENTS_MAX: usize = 256;
/// Messages that wait for the link: a link that takes none for so long is given up.
pub const OUTBOX_MAX: usize = 4_096;
/// Milliseconds between two progress reports of a task: 4 a second.
pub const PROGRESS_MS_MIN: u64 = 250;
/// Milliseconds the process waits for the last messages to leave.
pub const GOODBYE_MS_MAX: u64 = 6_000;

/// Bytes that the program takes beside its tasks: code, stacks, link windows, records.
pub const PROGRAM_BYTES: u64 = 32 << 20;
/// Of every run of so many examples, the last is held out where a job wants its workers to judge its models.
pub const HELD_OUT_NTH: usize = 10;
/// Names of a data directory that are looked at.
pub const DATA_FILES_MAX: usize = 1_000;
