//! What stands between a requester and its escrow, and the next step. Pure: the chain's answers in, a step out.

use protocol::amount::Amount;

use crate::standin::MayPost;

/// What the base layer says, as far as one job's escrow depends on it. Times are Unix seconds of the base layer.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The time of a transaction made now, at least.
    pub now: u64,
    /// When the rollup was frozen.
    pub frozen_at: Option<u64>,
    /// Whether anyone may freeze it.
    pub can_freeze: bool,
    /// When the last batch is final; `None` if it is, or if there is none.
    pub last_final_at: Option<u64>,
    /// Whether batches may be posted with the key at hand.
    pub may_post: MayPost,
    /// When the oldest queue item that no batch has consumed may be a reason to freeze.
    pub queue_freezes_at: Option<u64>,
    /// Queue items with money for this job that no batch has consumed, and that have not left.
    pub queued: Vec<u64>,
    /// The job by the newest state.
    pub job: Option<JobStanding>,
    /// Whether a close of the job waits in the queue.
    pub close_queued: bool,
    /// What the contract pays back by the last final state.
    pub refund_due: Amount,
}

/// A job by the newest state.
#[derive(Clone, Copy, Debug)]
pub struct JobStanding {
    /// What it has not spent and its requester has not had.
    pub left: Amount,
    /// Whether nothing can be credited to it any more, by the newest batch.
    pub is_over: bool,
    /// The last second at which a batch may credit it; 0 while nobody closed it.
    pub closing: u64,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything is out.
    Done,
    /// Nothing can be done before this time.
    Wait {
        /// Unix seconds.
        until: u64,
        /// What for.
        why: &'static str,
    },
    /// Ask for the job to be closed.
    Close,
    /// Pay in one unit: an item that waits in the queue must be consumed, or anyone may freeze.
    Nudge,
    /// Make a fraud bond.
    MakeBond,
    /// Post a batch that consumes the queue and lets time pass.
    Post,
    /// Freeze the rollup.
    Freeze,
    /// Claim the refund by the last final state.
    Refund,
    /// Take the escrow out of the frozen rollup.
    ExitEscrow,
    /// Take these queue items' money out of the frozen rollup.
    ExitQueued(Vec<u64>),
}

const UNTIL_FINAL: &str = "the last batch can be challenged until then";

/// The next step.
pub fn next(at: &Situation) -> Step {
    let left = at.job.map_or(Amount::ZERO, |job| job.left);
    if at.frozen_at.is_some() {
        return leave(at, left);
    }
    if at.refund_due > Amount::ZERO {
        return Step::Refund;
    }
    if left == Amount::ZERO && at.queued.is_empty() {
        return Step::Done;
    }
    if at.job.is_some_and(|job| job.is_over) && at.queued.is_empty() {
        // With nothing pending the refund would be due: it is a matter of the window.
        return Step::Wait { until: at.last_final_at.unwrap_or(at.now), why: UNTIL_FINAL };
    }
    let closing = at.job.map_or(0, |job| job.closing);
    if closing == 0 && !at.close_queued {
        return Step::Close;
    }
    let settling = closing != 0 && !at.close_queued && at.now <= closing;
    match at.may_post {
        MayPost::From { time, .. } if at.now < time => {
            let why = "others than the proposer may post from then on, if it stays silent";
            freeze_or_wait(at, time, why)
        }
        MayPost::From { .. } if settling && at.queued.is_empty() => {
            Step::Wait { until: closing + 1, why: "accepted work may settle until then" }
        }
        MayPost::From { bonded: false, .. } => Step::MakeBond,
        MayPost::From { .. } => Step::Post,
        MayPost::No => match at.queue_freezes_at {
            Some(time) => freeze_or_wait(
                at,
                time,
                "a batch consumes the queue by then, or anyone may freeze the rollup",
            ),
            None if settling => Step::Wait { until: closing + 1, why: "accepted work may settle until then" },
            None => Step::Nudge,
        },
    }
}

fn freeze_or_wait(at: &Situation, until: u64, why: &'static str) -> Step {
    if at.can_freeze { Step::Freeze } else { Step::Wait { until, why } }
}

/// A frozen rollup: once its last batch is final, everything leaves by it.
fn leave(at: &Situation, left: Amount) -> Step {
    if let Some(until) = at.last_final_at {
        return Step::Wait { until, why: UNTIL_FINAL };
    }
    if !at.queued.is_empty() {
        return Step::ExitQueued(at.queued.clone());
    }
    if left > Amount::ZERO { Step::ExitEscrow } else { Step::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Situation {
        let job = JobStanding { left: Amount::units(10), is_over: false, closing: 0 };
        Situation {
            now: 1_000,
            frozen_at: None,
            can_freeze: false,
            last_final_at: None,
            may_post: MayPost::No,
            queue_freezes_at: None,
            queued: Vec::new(),
            job: Some(job),
            close_queued: false,
            refund_due: Amount::ZERO,
        }
    }

    fn closing(at: u64) -> Option<JobStanding> {
        served().job.map(|job| JobStanding { closing: at, ..job })
    }

    #[test]
    fn a_coordinator_that_serves_lets_the_job_close() {
        let open = served();
        assert_eq!(next(&open), Step::Close);
        let queued = Situation { close_queued: true, queue_freezes_at: Some(1_500), ..served() };
        assert!(matches!(next(&queued), Step::Wait { until: 1_500, .. }));
        let grace = Situation { job: closing(1_020), ..served() };
        assert!(matches!(next(&grace), Step::Wait { until: 1_021, .. }));
        let over = JobStanding { is_over: true, ..closing(990).unwrap() };
        let pending = Situation { job: Some(over), last_final_at: Some(1_005), ..served() };
        assert!(matches!(next(&pending), Step::Wait { until: 1_005, .. }));
        let due = Situation { job: Some(over), refund_due: Amount::units(10), ..served() };
        assert_eq!(next(&due), Step::Refund);
        let had = JobStanding { left: Amount::ZERO, ..over };
        assert_eq!(next(&Situation { job: Some(had), ..served() }), Step::Done);
    }

    #[test]
    fn a_silent_one_is_frozen_and_left() {
        let waiting = Situation { close_queued: true, queue_freezes_at: Some(1_500), ..served() };
        let ripe = Situation { now: 1_501, can_freeze: true, ..waiting.clone() };
        assert_eq!(next(&ripe), Step::Freeze);
        let frozen = Situation { frozen_at: Some(1_502), can_freeze: false, ..ripe };
        let pending = Situation { last_final_at: Some(1_600), ..frozen.clone() };
        assert!(matches!(next(&pending), Step::Wait { until: 1_600, .. }));
        let queued = Situation { queued: vec![3, 7], ..frozen.clone() };
        assert_eq!(next(&queued), Step::ExitQueued(vec![3, 7]));
        assert_eq!(next(&frozen), Step::ExitEscrow);
        assert_eq!(next(&Situation { job: None, ..frozen }), Step::Done);
    }

    #[test]
    fn an_idle_rollup_is_given_something_to_wait_for() {
        let idle = Situation { job: closing(990), ..served() };
        assert_eq!(next(&idle), Step::Nudge);
        let nudged = Situation { queued: vec![4], queue_freezes_at: Some(1_500), ..idle };
        assert!(matches!(next(&nudged), Step::Wait { until: 1_500, .. }));
    }

    #[test]
    fn money_that_no_batch_has_seen_is_not_forgotten() {
        let queued = Situation { job: None, queued: vec![0], queue_freezes_at: Some(1_500), ..served() };
        assert_eq!(next(&queued), Step::Close);
        let closed = Situation { close_queued: true, ..queued };
        assert!(matches!(next(&closed), Step::Wait { .. }));
    }

    #[test]
    fn with_a_bond_the_missing_batches_are_posted() {
        let silent = MayPost::From { time: 1_100, bonded: false };
        let waiting =
            Situation { close_queued: true, queue_freezes_at: Some(9_000), may_post: silent, ..served() };
        assert!(matches!(next(&waiting), Step::Wait { until: 1_100, .. }));
        let open = Situation { now: 1_100, ..waiting };
        assert_eq!(next(&open), Step::MakeBond);
        let bonded = Situation { may_post: MayPost::From { time: 1_100, bonded: true }, ..open };
        assert_eq!(next(&bonded), Step::Post);
        // Consumed: the batch after the grace makes the job over.
        let grace =
            Situation { job: closing(1_150), close_queued: false, queue_freezes_at: None, ..bonded.clone() };
        assert!(matches!(next(&grace), Step::Wait { until: 1_151, .. }));
        assert_eq!(next(&Situation { now: 1_151, ..grace }), Step::Post);
    }
}
