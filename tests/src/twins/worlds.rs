//! What a chunk starts from. Every number is now and then one at which something ends.

use core::fmt;
use std::sync::LazyLock;

use protocol::amount::Amount;
use protocol::ids::{AccountIndex, Address, JobId, SpecHash, WorkerId};
use protocol::ledger::state::{OpenSettlement, STATE_LEAVES_MAX};
use protocol::ledger::{Account, Context, Deployment, Job, Op, Queue, QueueAction, QueueItem, State, Terms};
use protocol::rng::Rng;
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;

/// Who posts the batch.
pub const PROPOSER: Address = Address([0xc0; 20]);

/// A state, a queue and a header.
#[derive(Clone)]
pub struct World {
    /// The state before the chunk.
    pub state: State,
    /// The indices of the accounts that it holds, and the first free one.
    pub accounts: Vec<u32>,
    /// The same of jobs.
    pub jobs: Vec<u32>,
    queue: Queue,
    queue_end: u64,
    time: u64,
    close_grace: u64,
}

/// A number of up to 64 bits: small, middling, or near the end of its range.
pub fn number(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => 0,
        1 => u64::MAX - rng.below(3),
        2 => rng.next(),
        3 => 1 << rng.below(64),
        _ => rng.below(1_000),
    }
}

/// An amount of up to 128 bits, likewise.
pub fn amount(rng: &mut Rng) -> Amount {
    Amount::units(match rng.below(8) {
        0 => u128::MAX - u128::from(number(rng)),
        1 => u128::from(number(rng)) << rng.below(65),
        2 => u128::from(number(rng)),
        _ => u128::from(rng.below(100_000)),
    })
}

/// The key that approves settlements of a job.
pub fn requester(job: u32) -> &'static EthKey {
    // Made once: deriving an address costs as much as all of a small case.
    static KEYS: LazyLock<[EthKey; 3]> = LazyLock::new(|| {
        [1, 2, 3].map(|byte| EthKey::from_secret(&[byte; 32]).expect("small numbers are secret keys"))
    });
    &KEYS[job as usize % KEYS.len()]
}

/// The sum's terms: wide ones, so that most credits hold, or any.
fn terms(rng: &mut Rng) -> Terms {
    // Signing and recovering cost more than all else in a case, so a few cases have to do.
    let approve = rng.chance(1, 16);
    let wide = Terms {
        price_cap: 1_000,
        task_cap: 1_000,
        settlements: 5,
        rate: 1_000,
        burst: 1_000_000,
        fee_bps: rng.below(10_001) as u16,
        approve,
        kind: rng.below(2) as u8,
    };
    if rng.chance(3, 4) {
        return wide;
    }
    Terms {
        price_cap: number(rng),
        task_cap: number(rng) as u32,
        settlements: number(rng) as u32,
        rate: number(rng),
        burst: number(rng),
        fee_bps: if rng.chance(1, 2) { number(rng) as u16 } else { wide.fee_bps },
        ..wide
    }
}

fn job(rng: &mut Rng, id: u32) -> Job {
    let terms = terms(rng);
    let plain = rng.chance(2, 3);
    let any = |rng: &mut Rng| if plain { Amount::ZERO } else { amount(rng) };
    let settlement =
        if terms.settlements == 0 { 0 } else { rng.below(u64::from(terms.settlements) + 1) as u32 };
    let open = OpenSettlement {
        tasks: if plain { rng.below(20) as u32 } else { number(rng) as u32 },
        sum: any(rng),
        last_account: if rng.chance(3, 4) { rng.below(3) as u32 } else { number(rng) as u32 },
    };
    Job {
        requester: if rng.chance(1, 20) { Address::ZERO } else { requester(id).address() },
        coordinator: if rng.chance(1, 10) { Address([1; 20]) } else { PROPOSER },
        spec: SpecHash([rng.next() as u8; 32]),
        opened_at: if plain { rng.below(500) } else { number(rng) },
        funded: if plain { Amount::units(1_000_000_000) } else { amount(rng) },
        spent: any(rng),
        refundable: any(rng),
        fees: any(rng),
        terms,
        closing: if rng.chance(3, 4) { 0 } else { number(rng) },
        next_settlement: settlement,
        open: if rng.chance(1, 2) { OpenSettlement::default() } else { open },
    }
}

/// Some indices below `next`, ascending: all of them where `next` is small.
fn indices(rng: &mut Rng, next: u32) -> Vec<u32> {
    if next <= 64 {
        return (0..next).collect();
    }
    let mut indices: Vec<u32> = (0..12)
        .map(|_| match rng.below(3) {
            0 => next - 1 - rng.below(8) as u32,
            1 => rng.below(8) as u32,
            _ => rng.below(next.into()) as u32,
        })
        .collect();
    // A tree that grew has nothing empty to the left of a leaf, and proofs rely on it.
    indices.push(0);
    indices.sort_unstable();
    indices.dedup();
    indices
}

/// How many leaves a tree has: none, a few, or nearly as many as fit.
fn count(rng: &mut Rng) -> u32 {
    match rng.below(8) {
        0 => 0,
        1 => STATE_LEAVES_MAX - rng.below(4) as u32,
        2 => 1 + rng.below(STATE_LEAVES_MAX.into()) as u32,
        _ => 1 + rng.below(24) as u32,
    }
}

fn item(rng: &mut Rng, jobs: &[u32], next_job: u32) -> QueueItem {
    let action = match rng.below(4) {
        0 | 1 => QueueAction::Fund {
            amount: amount(rng),
            coordinator: PROPOSER,
            spec: SpecHash([rng.next() as u8; 32]),
            terms: terms(rng),
        },
        2 => QueueAction::TopUp { amount: amount(rng) },
        _ => QueueAction::Close,
    };
    let opens = matches!(action, QueueAction::Fund { .. });
    let known = jobs.get(rng.below(jobs.len().max(1) as u64) as usize).copied().unwrap_or(next_job);
    // Now and then one that no contract would queue: the function is total all the same.
    let job = if opens != rng.chance(1, 10) { next_job } else { known };
    QueueItem { job: JobId(job), time: number(rng), sender: requester(job).address(), action }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}\n{:?}", self.state.parts(), self.context())?;
        for id in &self.jobs {
            writeln!(f, "job {id}: {:?}", self.state.job(JobId(*id)))?;
        }
        for index in &self.accounts {
            writeln!(f, "account {index}: {:?}", self.state.account(AccountIndex(*index)))?;
        }
        Ok(())
    }
}

impl World {
    /// A world of this seed.
    pub fn random(rng: &mut Rng) -> Self {
        let (next_account, next_job) = (count(rng), count(rng));
        let (accounts, jobs) = (indices(rng, next_account), indices(rng, next_job));
        let account_leaves: Vec<_> = accounts
            .iter()
            .map(|index| {
                let (worker, payout) = (WorkerId([*index as u8; 32]), Address([rng.next() as u8; 20]));
                (AccountIndex(*index), Account { worker, payout, earned: amount(rng) })
            })
            .collect();
        let job_leaves: Vec<_> = jobs.iter().map(|id| (JobId(*id), job(rng, *id))).collect();
        let position = rng.below(3);
        let mut queue = Queue::default();
        for place in 0..position + rng.below(4) {
            let opened = place.saturating_sub(position) as u32;
            queue.push(item(rng, &jobs, next_job.saturating_add(opened)));
        }
        let state = State::sparse(&account_leaves, next_account, &job_leaves, next_job, position)
            .expect("every index lies below the next");
        Self {
            state,
            accounts,
            jobs,
            queue_end: if rng.chance(7, 8) { queue.len() } else { rng.below(queue.len() + 1) },
            queue,
            time: if rng.chance(3, 4) { 500 + rng.below(1_000) } else { number(rng) },
            close_grace: if rng.chance(3, 4) { 20 } else { number(rng) },
        }
    }

    /// What is fixed for the life of the rollup.
    pub const fn deployment(&self) -> Deployment {
        let domain = Domain { chain_id: 31_337, contract: Address([0xee; 20]) };
        Deployment { domain, close_grace: self.close_grace }
    }

    /// What a batch's header gives to each op.
    pub const fn context(&self) -> Context<'_> {
        Context {
            deployment: self.deployment(),
            time: self.time,
            proposer: PROPOSER,
            queue: &self.queue,
            queue_end: self.queue_end,
        }
    }

    /// Whether the op names only leaves that the world holds, or that lie past the last: the others have no history.
    pub fn knows(&self, op: &Op) -> bool {
        let (next_account, next_job) = (self.state.next_account(), self.state.next_job());
        let job = op.job().is_none_or(|job| job.0 >= next_job || self.jobs.contains(&job.0));
        job && match op {
            Op::Credits(op) => op
                .credits
                .iter()
                .all(|credit| credit.account.0 >= next_account || self.accounts.contains(&credit.account.0)),
            Op::Register { .. } | Op::Queue { .. } => true,
        }
    }

    /// The job of the queue's next item.
    pub fn next_queued(&self) -> Option<u32> {
        self.queue.get(self.state.queue_position()).map(|item| item.job.0)
    }
}
