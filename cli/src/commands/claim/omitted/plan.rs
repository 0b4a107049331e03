//! What to do about promises that nothing final decides. Pure: the base layer's answers in, a step out.

use super::findings::Waits;
use crate::standin::MayPost;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing more can come of these promises.
    Done,
    /// Nothing can be done before this time.
    Wait {
        /// Unix seconds.
        until: u64,
        /// What for.
        why: &'static str,
    },
    /// Only somebody who posts can do something.
    NeedsBond,
    /// Make a fraud bond.
    MakeBond,
    /// Post the batch that shows that time has passed.
    Post,
}

/// What waits, and whether this key may post.
pub fn next(waits: &[Waits], now: u64, may_post: MayPost) -> Step {
    let earliest = waits.iter().filter_map(|waits| match waits {
        Waits::Due(until) => Some((until.saturating_add(1), "a promise may be kept until then")),
        Waits::Final { at, .. } => Some((*at, "a batch that decides a promise can be challenged until then")),
        _ => None,
    });
    let wait = earliest.min().map(|(until, why)| Step::Wait { until, why });
    if !waits.contains(&Waits::Batch) {
        return wait.unwrap_or(Step::Done);
    }
    match may_post {
        MayPost::No => wait.unwrap_or(Step::NeedsBond),
        MayPost::From { time, .. } if now < time => {
            let open = Step::Wait { until: time, why: "others than the proposer may post from then on" };
            // What comes before that is worth a look by itself.
            wait.filter(|wait| matches!(wait, Step::Wait { until, .. } if *until < time)).unwrap_or(open)
        }
        MayPost::From { bonded: false, .. } => Step::MakeBond,
        MayPost::From { .. } => Step::Post,
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::BatchId;

    use super::*;

    const BONDED: MayPost = MayPost::From { time: 500, bonded: true };

    #[test]
    fn a_batch_is_posted_once_a_promise_is_late_and_others_may() {
        let late = [Waits::Batch, Waits::Due(9_000)];
        assert!(matches!(next(&late, 400, BONDED), Step::Wait { until: 500, .. }));
        assert_eq!(next(&late, 500, BONDED), Step::Post);
        assert_eq!(next(&late, 500, MayPost::From { time: 500, bonded: false }), Step::MakeBond);
        assert!(matches!(next(&late, 500, MayPost::No), Step::Wait { until: 9_001, .. }));
        assert_eq!(next(&[Waits::Batch], 500, MayPost::No), Step::NeedsBond);
    }

    #[test]
    fn nothing_is_posted_for_what_time_decides() {
        let pending = Waits::Final { number: BatchId(3), at: 700 };
        assert!(matches!(next(&[Waits::Due(900), pending], 600, BONDED), Step::Wait { until: 700, .. }));
        let sooner = [Waits::Batch, Waits::Due(449)];
        assert!(matches!(next(&sooner, 400, BONDED), Step::Wait { until: 450, .. }));
        for hopeless in [Waits::Frozen, Waits::NoJob] {
            assert_eq!(next(&[hopeless], 600, BONDED), Step::Done);
        }
        assert!(matches!(next(&[Waits::Due(u64::MAX)], 0, BONDED), Step::Wait { until: u64::MAX, .. }));
    }
}
