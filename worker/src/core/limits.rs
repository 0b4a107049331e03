//! Every bound of the worker's core, with its unit.

/// Milliseconds before the first redial; it doubles with every failure in a row.
pub const REDIAL_MS_MIN: u64 = 250;
/// Milliseconds between redials, at most.
pub const REDIAL_MS_MAX: u64 = 60_000;
/// Milliseconds before the first redial after the coordinator said no; it doubles too.
pub const REFUSED_REDIAL_MS_MIN: u64 = 15_000;
/// Milliseconds between redials after refusals, at most.
pub const REFUSED_REDIAL_MS_MAX: u64 = 15 * 60_000;
/// Milliseconds a link has to last before the back-off starts again from its smallest step.
pub const LINK_STEADY_MS: u64 = 10_000;
/// Milliseconds from dialling to the coordinator's answer to the hello.
pub const GREETING_MS_MAX: u64 = 20_000;

/// Milliseconds after which an unanswered receipt is sent again over a link that holds.
pub const RECEIPT_RESEND_MS: u64 = 60_000;
/// Receipts without an answer: beyond this many no task is taken.
pub const UNANSWERED_MAX: usize = 1_000;
/// Tasks held for each slot that have not been computed and uploaded: one runs, one is being fetched.
pub const TASKS_PER_SLOT_MAX: usize = 2;
/// Milliseconds to wait for an assignment that the coordinator expects and this worker does not know.
pub const UNKNOWN_ASSIGNMENT_MS: u64 = 5_000;

/// Milliseconds before the first retry of a transfer that failed over a link that holds; it doubles.
pub const TRANSFER_RETRY_MS_MIN: u64 = 500;
/// Tries of one transfer over links that hold: a lost link does not count.
pub const TRANSFER_TRIES_MAX: u32 = 6;

/// Milliseconds between a request to leave and hanging up, whatever is still under way.
pub const LEAVE_MS_MAX: u64 = 10_000;

/// Milliseconds that an acceptance's settle-by date may lie ahead: a promise for later is worth nothing.
pub const SETTLE_BY_MS_MAX: u64 = 30 * 24 * 3_600_000;

/// Assignments that the signer stated a result for, kept one by one; older ones live on as the settlement they reached.
pub const SIGNED_MAX: usize = 20_000;
/// Ended tasks whose outcome is kept one by one; older ones live on in the totals.
pub const ENDED_MAX: usize = 2_000;
/// Settlements whose latest acceptance is kept as proof: those long past are dropped first.
pub const BOOKS_MAX: usize = 50_000;
/// Jobs with totals of their own.
pub const JOBS_MAX: usize = 10_000;
/// Refusals that are remembered in words.
pub const REFUSALS_MAX: usize = 10;
