//! Why a job has not come further, for people.

use protocol::amount::Amount;
use protocol::job::{JobSpec, Train, Work};
use protocol::time::Millis;

use super::Coordinator;
use super::jobs::Job;

impl Coordinator {
    /// Why a job cannot begin its next round; `None` if it can.
    pub fn waits_for(&self, job: &Job, spec: &JobSpec) -> Option<String> {
        if self.waits_for_posting(job) {
            let first = self.batches.settlements_posted(job) + 1;
            return Some(format!("settlement {first} has to be on the base layer first"));
        }
        if let Some(settlement) = job.unapproved(self.now) {
            let (number, id) = (settlement + 1, job.id);
            return Some(format!(
                "settlement {number} needs its requester's approval: `fedroll job approve {id}`"
            ));
        }
        let needed = job.needed_for_next(spec, self.now);
        let left = self.batches.escrow_left(job.id);
        if left < needed {
            let short = Amount::units(needed - left);
            return Some(format!("the escrow is {short} tokens short of the next round: top the job up"));
        }
        // What is promised must be payable at once: the job may be closed at any time, and then time runs out.
        let base_now = self.base_clock.now(self.now);
        match self.batches.released_at(job.id, needed) {
            Some(at) if at <= base_now => {}
            Some(at) => {
                let wait = at - base_now;
                return Some(format!("the job's spending rate allows the next round in {wait} s"));
            }
            None => return Some("the job's terms never allow the next round: close it".into()),
        }
        let fit = self.workers.iter();
        let fit = fit.filter(|(_, worker)| worker.unfit(spec, &self.stakes).is_none() && worker.has_room());
        let staked = spec.stake.map_or(String::new(), |asked| {
            format!(" and {} tokens at stake", Amount::units(asked.least.into()))
        });
        let local = match &spec.work {
            Work::Train(train) => train.data.tag().map(|tag| (train, tag)),
            Work::Infer(_) => None,
        };
        match local {
            Some((train, tag)) => {
                let have = fit.take(train.round.quorum as usize).count();
                let want = train.round.quorum as usize;
                (have < want)
                    .then(|| format!("{have} of {want} workers with data tagged '{tag}'{staked} are free"))
            }
            None => (fit.count() == 0).then(|| match spec.stake {
                None => "no worker is free".into(),
                Some(_) => format!("no worker that could do it{staked} is free"),
            }),
        }
    }

    /// Why a job has not come further, for its requester; empty when nothing is amiss.
    pub fn why(&self, job: &Job) -> String {
        if !job.is_live() {
            return job.why.clone();
        }
        let Some(spec) = &job.spec else { return job.why.clone() };
        let missing = self.missing_blobs(spec);
        if job.running().next().is_none() && !missing.is_empty() {
            return format!(
                "{} blobs that the spec names have not been uploaded; the first is {}",
                missing.len(),
                missing[0]
            );
        }
        if let Some(round) = job.finishing {
            return format!("round {} is being aggregated", round + 1);
        }
        match (&spec.work, job.running().next()) {
            (Work::Train(_), None) if job.model.is_none() => "the initial model is being made".into(),
            (_, None) => self.waits_for(job, spec).unwrap_or_default(),
            (Work::Train(train), Some((number, round))) => self.why_round_waits(job, number, round, train),
            (Work::Infer(_), Some(_)) => self.why_tasks_wait(job),
        }
    }

    fn why_round_waits(&self, job: &Job, number: u32, round: u32, train: &Train) -> String {
        let Some(part) = job.open[&number].part(round) else { return String::new() };
        let running = job.open[&number].assignments_in(part.slots.clone()).count();
        let have = job.rounds[round as usize].accepted.len();
        let ends = Millis(part.deadline.since(self.now)).secs();
        let want = train.round.workers;
        let mut text = format!("round {}: {have} of {want} updates are in, {running} under way", round + 1);
        if have < want as usize && running == 0 {
            text += "; no free worker is fit for the rest";
        }
        text + &format!("; it may close with {} in {ends} s", train.round.quorum)
    }

    fn why_tasks_wait(&self, job: &Job) -> String {
        let free: usize = job.open.values().map(|open| open.free.len()).sum();
        let running: usize = job.open.values().map(|open| open.assignments().count()).sum();
        match (free, running) {
            (_, 0) if free > 0 => format!("{free} tasks wait for a worker"),
            (0, _) => String::new(),
            _ => format!("{running} tasks under way, {free} wait for a free worker"),
        }
    }
}
