//! The seed to every parameter. Integers only; a ratio counts cases in ten thousand.
//!
//! Swarm testing: each seed leaves most faults out and makes some wild, because faults that are always on hide each
//! other. All parameters are printed with a failed run, and its log holds them, so that it replays even after this file
//! has changed.

use core::fmt;

use coordinator::core::posting::BatchData;
use protocol::rng::Rng;
use serde::{Deserialize, Serialize};

/// Ratios are out of this.
pub const WHOLE: u64 = 10_000;

macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that differs from run to run.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Params {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl fmt::Display for Params {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "  {:<28} {}", stringify!($name), self.$name)?;)*
                Ok(())
            }
        }
    };
}

parameters! {
    /// What all else comes from.
    seed,
    /// Milliseconds of phase one.
    faulty_ms,
    /// Workers with the real core.
    honest,
    /// Scripted workers that lie.
    liars,
    /// Tasks that a worker runs at once, at most.
    slots_max,
    /// Honest workers that ask for more than most jobs pay.
    picky,
    /// Whether workers show invitations instead of standing on the list.
    by_invitation,
    /// Requesters; each funds one job.
    jobs,
    /// Rounds, or groups of tasks, of a job, at most.
    rounds_max,
    /// Rounds of one settlement, at most.
    settlement_rounds_max,
    /// Updates or tasks in one round, at most.
    tasks_max,
    /// Jobs that run inference.
    inference,
    /// Jobs that can never run here: another coordinator's, terms that do not match, approvals withheld, no spec.
    hopeless_jobs,
    /// Jobs funded with too little.
    short_escrow,
    /// Of those, the ones that are topped up.
    top_up,
    /// Finished jobs that are topped up all the same.
    late_top_up,
    /// Jobs whose money is released over time.
    rated,
    /// Jobs that their requester closes early.
    cancels,
    /// Jobs that pay for the same spec as another.
    twins,
    /// Milliseconds a message takes, at most.
    latency_ms_max,
    /// Milliseconds a broken link goes unnoticed, at most.
    notice_ms_max,
    /// Milliseconds a flush takes, at most; 0: done at once.
    flush_ms_max,
    /// Milliseconds a task takes, at most.
    compute_ms_max,
    /// Tasks that take twenty times as long.
    slow_tasks,
    /// Milliseconds of a round, or of an inference task.
    deadline_ms,
    /// Milliseconds that aggregation takes, at most.
    aggregate_ms_max,
    /// Milliseconds between blocks.
    block_ms,
    /// Blocks that a reorganisation cannot reach.
    finality_blocks,
    /// Seconds of the challenge window.
    window_s,
    /// Seconds that the base layer's clock is behind.
    chain_lag_s,
    /// Seconds that it is ahead.
    chain_ahead_s,
    /// Seconds beyond its rounds' time by which a settlement is promised to be posted.
    settle_by_s,
    /// Milliseconds that ops wait for company.
    seal_after_ms,
    /// Milliseconds a worker may be gone and keep its tasks.
    reconnect_grace_ms,
    /// Rounds whose updates are kept.
    keep_rounds,
    /// Crash of the coordinator before an effect.
    coordinator_crash_per_effect,
    /// Crash of a worker before an effect.
    worker_crash_per_effect,
    /// Milliseconds that a crashed process is down, at most.
    down_ms_max,
    /// A link breaks before a message.
    cut_per_message,
    /// A transfer fails while its link holds.
    transfer_failures,
    /// A worker's files vanish.
    vanished_files,
    /// A task fails at an honest worker.
    task_failures,
    /// Making a model fails.
    model_failures,
    /// An honest worker leaves, per task that it ends.
    leaves,
    /// A block is followed by a reorganisation.
    reorganisations,
    /// A batch in a block that is replaced is forgotten, instead of waiting for another block.
    dropped_posts,
    /// A transaction is lost.
    lost_transactions,
    /// A block is followed by an outage of the base layer.
    outages,
    /// Seconds of an outage, at most.
    outage_s_max,
    /// What a liar does is a lie.
    lies,
    /// The shell tells of something twice.
    repeats,
    /// An update is the same as that worker's before.
    stale_results,
    /// Whether jobs may come to the same models and updates.
    same_results,
    /// A stranger posts a batch, in a block after a silence; a third of them are wrong.
    strangers,
    /// Training jobs that bring their data.
    bring_data,
    /// A wrong batch is proven by somebody else than the coordinator, in a block.
    watchers,
    /// Where batches stand: 0 in calldata, 1 in blobs, else in blobs where these cost at most so many percent.
    batch_data,
}

impl Params {
    /// The cluster that this seed describes.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::derive(&[seed, 1]);
        let honest = 1 + rng.below(5);
        let long_outages = rng.chance(1, 12);
        // A file that one job throws away while another comes to the same bytes is a known gap: never both.
        let keep_rounds = pick(&mut rng, &[1, 1, 2, 100]);
        let same_results = u64::from(keep_rounds == 100);
        let latency_ms_max = pick(&mut rng, &[1, 20, 200, 3_000]);
        let flush_ms_max = pick(&mut rng, &[0, 0, 5, 50, 2_000]);
        let compute_ms_max = pick(&mut rng, &[1, 500, 5_000, 20_000]);
        // A task that nobody could do in time would never be done.
        let needs_ms = 3 * compute_ms_max + 12 * (latency_ms_max + flush_ms_max);
        let deadline_ms = pick(&mut rng, &[5_000, 30_000, 60_000, 300_000]).max(needs_ms);
        Self {
            seed,
            faulty_ms: pick(&mut rng, &[30_000, 120_000, 120_000, 600_000]),
            honest,
            liars: pick(&mut rng, &[0, 0, 1, 1, 2, 4]),
            slots_max: pick(&mut rng, &[1, 1, 2, 4]),
            picky: if honest > 1 { pick(&mut rng, &[0, 0, 0, 1]) } else { 0 },
            by_invitation: rng.below(2),
            jobs: pick(&mut rng, &[1, 1, 2, 2, 3, 5]),
            rounds_max: pick(&mut rng, &[1, 2, 3, 3, 6]),
            settlement_rounds_max: pick(&mut rng, &[1, 1, 2, 4]),
            tasks_max: pick(&mut rng, &[1, 2, 4, 6]),
            inference: pick(&mut rng, &[0, 3_000, 5_000, WHOLE]),
            hopeless_jobs: fault(&mut rng, 1_000, 5_000),
            short_escrow: fault(&mut rng, 2_000, WHOLE),
            top_up: pick(&mut rng, &[0, 5_000, WHOLE]),
            late_top_up: pick(&mut rng, &[0, 2_000, WHOLE]),
            rated: fault(&mut rng, 2_000, WHOLE),
            cancels: fault(&mut rng, 1_000, 7_000),
            twins: same_results * fault(&mut rng, 2_000, WHOLE),
            latency_ms_max,
            notice_ms_max: pick(&mut rng, &[10, 1_000, 30_000]),
            flush_ms_max,
            compute_ms_max,
            slow_tasks: fault(&mut rng, 200, 3_000),
            deadline_ms,
            aggregate_ms_max: pick(&mut rng, &[1, 100, 5_000]),
            block_ms: pick(&mut rng, &[1_000, 2_000, 12_000]),
            finality_blocks: pick(&mut rng, &[0, 1, 3, 8]),
            window_s: pick(&mut rng, &[0, 5, 60, 300]),
            chain_lag_s: pick(&mut rng, &[0, 0, 0, 1, 20, 9_000]),
            chain_ahead_s: pick(&mut rng, &[0, 0, 0, 1, 20, 9_000]),
            settle_by_s: pick(&mut rng, &[2, 60, 60, 24 * 3_600]),
            seal_after_ms: pick(&mut rng, &[0, 100, 5_000, 60_000]),
            reconnect_grace_ms: pick(&mut rng, &[100, 5_000, 20_000, 120_000]),
            keep_rounds,
            coordinator_crash_per_effect: fault(&mut rng, 20, 300),
            worker_crash_per_effect: fault(&mut rng, 20, 300),
            down_ms_max: pick(&mut rng, &[1, 1_000, 30_000, 120_000]),
            cut_per_message: fault(&mut rng, 50, 1_000),
            transfer_failures: fault(&mut rng, 100, 3_000),
            vanished_files: fault(&mut rng, 100, 2_000),
            task_failures: fault(&mut rng, 100, 2_000),
            model_failures: fault(&mut rng, 50, 500),
            leaves: fault(&mut rng, 200, 2_000),
            reorganisations: fault(&mut rng, 100, 2_000),
            dropped_posts: pick(&mut rng, &[0, 5_000, WHOLE]),
            lost_transactions: fault(&mut rng, 500, 5_000),
            outages: fault(&mut rng, 50, 300),
            outage_s_max: if long_outages { 9_000 } else { pick(&mut rng, &[10, 60, 300]) },
            lies: pick(&mut rng, &[2_000, 5_000, 9_000, WHOLE]),
            repeats: fault(&mut rng, 500, 3_000),
            stale_results: same_results * fault(&mut rng, 500, 5_000),
            same_results,
            strangers: fault(&mut rng, 500, 5_000),
            bring_data: pick(&mut rng, &[0, 3_000, WHOLE]),
            watchers: pick(&mut rng, &[0, 0, 3_000]),
            batch_data: pick(&mut rng, &[0, 0, 1, 50, 150, 1_000]),
        }
    }

    /// The operator's choice.
    pub fn batch_data(&self) -> BatchData {
        match self.batch_data {
            0 => BatchData::Calldata,
            1 => BatchData::Blobs,
            percent => BatchData::Auto { blobs_at_percent: u16::try_from(percent).unwrap_or(u16::MAX) },
        }
    }

    /// Seconds between a requester's close and the last credit: longer than anything that keeps the coordinator from
    /// posting, or it could not keep its promises.
    pub const fn close_grace_s(&self) -> u64 {
        600 + 2 * self.outage_s_max + 4 * self.down_ms_max / 1_000
    }

    /// Milliseconds of phase two within which everything must have come to its end.
    pub const fn bound_ms(&self) -> u64 {
        let settlements = self.rounds_max * (4 * self.deadline_ms + self.seal_after_ms);
        4 * self.jobs * settlements + 4 * 1_000 * (self.close_grace_s() + self.window_s) + 4 * 3_600_000
    }
}

fn pick(rng: &mut Rng, from: &[u64]) -> u64 {
    from[rng.below(from.len() as u64) as usize]
}

/// Often off, mostly mild, sometimes wild.
fn fault(rng: &mut Rng, mild: u64, wild: u64) -> u64 {
    match rng.below(10) {
        0..5 => 0,
        5..8 => 1 + rng.below(mild),
        _ => 1 + rng.below(wild),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_cluster_and_parameters_survive_the_log() {
        let params = Params::from_seed(7);
        assert_eq!(params, Params::from_seed(7));
        assert_ne!(params, Params::from_seed(8));
        let text = serde_json::to_string(&params).unwrap();
        assert_eq!(serde_json::from_str::<Params>(&text).unwrap(), params);
    }

    #[test]
    fn every_fault_is_off_in_some_clusters_and_on_in_others() {
        let all: Vec<Params> = (0..200).map(Params::from_seed).collect();
        let on = |value: fn(&Params) -> u64| all.iter().filter(|params| value(params) > 0).count();
        let values: [fn(&Params) -> u64; 5] = [
            |p| p.coordinator_crash_per_effect,
            |p| p.worker_crash_per_effect,
            |p| p.cut_per_message,
            |p| p.reorganisations,
            |p| p.liars,
        ];
        for value in values {
            assert!((30..170).contains(&on(value)), "{}", on(value));
        }
    }
}
