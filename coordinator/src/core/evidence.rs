//! The receipts of settlements that are final, kept in memory to be shown: the facts on disk hold them all.
//!
//! Workers prove omissions, and anybody asks on the base layer for results, until an omission window after a batch is
//! final; so long receipts are kept. After that they are as long as there is room, and the oldest go first.

use std::collections::VecDeque;

use protocol::ids::JobId;
use protocol::time::Millis;

use super::Coordinator;
use super::jobs::Job;
use super::limits::{EVIDENCE_BYTES_MAX, RECEIPT_BYTES};

/// A final settlement whose receipts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    job: JobId,
    number: u32,
    /// Unix seconds of the base layer until which somebody may ask for them.
    until: u64,
    /// About what they take.
    bytes: u64,
}

/// What is kept, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    kept: VecDeque<Kept>,
    bytes: u64,
    dropped_early: u64,
}

impl Evidence {
    /// Settlements whose receipts had to go although somebody might still have asked for them.
    pub const fn dropped_early(&self) -> u64 {
        self.dropped_early
    }

    fn keep(&mut self, kept: Kept) {
        self.bytes += kept.bytes;
        self.kept.push_back(kept);
    }

    /// Takes the oldest away that nothing else needs, until the others fit; whether each goes early at time `now`.
    fn drop_over(
        &mut self,
        bytes_max: u64,
        now: u64,
        needed: impl Fn(JobId, u32) -> bool,
    ) -> Vec<(Kept, bool)> {
        let mut dropped = Vec::new();
        while self.bytes > bytes_max
            && let Some(place) = self.kept.iter().position(|kept| !needed(kept.job, kept.number))
            && let Some(kept) = self.kept.remove(place)
        {
            self.bytes -= kept.bytes;
            let early = now <= kept.until;
            self.dropped_early += u64::from(early);
            dropped.push((kept, early));
        }
        dropped
    }
}

impl Coordinator {
    /// What is kept of settlements that are final.
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// A settlement is final by a batch that became so at `final_at`.
    pub(super) fn keep_evidence(&mut self, id: JobId, number: u32, final_at: u64) {
        let Some(settlement) = self.jobs.get(&id).and_then(|job| job.closed.get(&number)) else { return };
        let bytes = u64::from(settlement.accepted) * RECEIPT_BYTES;
        let until = final_at.saturating_add(self.config.omission_window_s);
        self.evidence.keep(Kept { job: id, number, until, bytes });
    }

    /// Drops what there is no room for. It goes by the newest posted batch's block: the base layer is not earlier.
    pub(super) fn drop_evidence(&mut self, at: Millis) {
        let now = self.batches.posted_at();
        let jobs = &self.jobs;
        let needed = |id, number| jobs.get(&id).is_some_and(|job: &Job| job.works_on(number));
        for (Kept { job: id, number, .. }, early) in self.evidence.drop_over(EVIDENCE_BYTES_MAX, now, needed)
        {
            let job = self.job_mut(id);
            job.closed.remove(&number);
            if early {
                let why = "for want of memory its receipts are on disk only, and cannot be shown";
                job.note(at, format!("settlement {}: {why}", number + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(number: u32, until: u64) -> Kept {
        Kept { job: JobId(0), number, until, bytes: 40 }
    }

    #[test]
    fn the_oldest_goes_first_and_only_for_want_of_room() {
        let mut evidence = Evidence::default();
        [kept(0, 10), kept(1, 20), kept(2, 30)].into_iter().for_each(|one| evidence.keep(one));
        assert_eq!(evidence.drop_over(120, 1_000, |_, _| false), []);
        assert_eq!(evidence.drop_over(100, 15, |_, _| false), [(kept(0, 10), false)]);
        assert_eq!(evidence.dropped_early(), 0);
        assert_eq!(evidence.drop_over(79, 20, |_, _| false), [(kept(1, 20), true)]);
        assert_eq!((evidence.dropped_early(), evidence.bytes), (1, 40));
    }

    #[test]
    fn what_a_round_under_way_is_made_of_stays() {
        let mut evidence = Evidence::default();
        [kept(0, 10), kept(1, 20)].into_iter().for_each(|one| evidence.keep(one));
        assert_eq!(evidence.drop_over(0, 1_000, |_, number| number == 0), [(kept(1, 20), false)]);
        assert_eq!(evidence.bytes, 40);
    }
}
