//! Which blobs stay: what a spec names, what a job goes on from, and what it takes to run a task again for as long as
//! its credit can be disputed.

use protocol::hash::Digest;
use protocol::ids::JobId;

use super::jobs::Job;
use super::{Coordinator, Effect};

impl Job {
    /// The weights that a round of training starts from.
    pub fn base_of(&self, round: u32) -> Option<Digest> {
        match round.checked_sub(1) {
            None => self.initial,
            Some(before) => self.rounds.get(before as usize)?.model,
        }
    }

    /// The first round whose weights and updates stay: of those before, all is final, and they are older than the
    /// operator keeps.
    fn first_kept(&self, keep_rounds: u32) -> u32 {
        let made = self.rounds.iter().filter(|round| round.model.is_some()).count() as u32;
        let final_before = self.final_settlements;
        let old =
            (self.discarded..made.saturating_sub(keep_rounds)).zip(&self.rounds[self.discarded as usize..]);
        let gone =
            old.take_while(|(_, round)| round.accepted.iter().all(|task| task.settlement < final_before));
        self.discarded + gone.count() as u32
    }

    /// Whether a round that is kept, or the one that comes, needs a blob.
    fn needs(&self, digest: &Digest) -> bool {
        let kept = &self.rounds[self.discarded as usize..];
        self.model == Some(*digest)
            || self.answers.contains(&Some(*digest))
            || self.base_of(self.discarded) == Some(*digest)
            || kept.iter().any(|round| round.model == Some(*digest) || round.updates.contains(digest))
    }
}

impl Coordinator {
    /// Whether a blob is named by a spec, a job's model or answers, or a round that is kept.
    pub fn needs_blob(&self, digest: &Digest) -> bool {
        self.specs.values().any(|known| Job::needed_blobs(&known.spec).contains(digest))
            || self.jobs.values().any(|job| job.needs(digest))
    }

    /// Lets go of blobs of rounds that need not be kept, and that nothing else names.
    pub(super) fn discard_old(&mut self, effects: &mut Vec<Effect>) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        let mut blobs = Vec::new();
        for id in ids {
            let (first, keep_rounds) = (self.jobs[&id].discarded, self.config.keep_rounds);
            let job = self.job_mut(id);
            job.discarded = job.first_kept(keep_rounds);
            for number in first..job.discarded {
                blobs.extend(job.base_of(number));
                blobs.extend_from_slice(&job.rounds[number as usize].updates);
            }
        }
        blobs.sort_unstable();
        blobs.dedup();
        blobs.retain(|digest| !self.needs_blob(digest));
        effects.extend((!blobs.is_empty()).then_some(Effect::Discard(blobs)));
    }

    /// After a restart: what was let go of before is not looked for again.
    pub(super) fn resume_discarding(&mut self) {
        let keep_rounds = self.config.keep_rounds;
        for job in self.jobs.values_mut() {
            job.discarded = job.first_kept(keep_rounds);
        }
    }
}
