//! The transition function. It is total: any bytes are a chunk, an op that breaks a rule changes nothing, and the
//! result is the same on every machine. Solidity's `Ledger` library is its twin.
//!
//! Nothing here can overflow: sums that could are checked, and one past the range of `u128` is over every limit.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::hash::Keccak;
use crate::ids::{Address, JobId};
use crate::ledger::op::{Credits, Op, ParsedChunk, parse_chunk};
use crate::ledger::outcome::{Effect, NoOp, OpOutcome};
use crate::ledger::queue::{Queue, QueueAction};
use crate::ledger::state::{Account, Job, OpenSettlement, State};
use crate::sign::eip712::{self, Domain};

/// What is fixed for the life of a rollup and enters the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The chain and the contract that signatures are for.
    pub domain: Domain,
    /// Seconds between a job's closing and the last batch that may credit it.
    pub close_grace: u64,
}

/// What a batch's header and the base layer give to every op of the batch.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The rollup.
    pub deployment: Deployment,
    /// The batch's time, in Unix seconds: the only time there is.
    pub time: u64,
    /// Who posts the batch.
    pub proposer: Address,
    /// The queue, at least up to `queue_end`.
    pub queue: &'a Queue,
    /// The batch sees only the items before this one.
    pub queue_end: u64,
}

/// A chunk's ops and what became of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedChunk {
    /// The ops as they were read.
    pub parsed: ParsedChunk,
    /// One for each op.
    pub outcomes: Vec<OpOutcome>,
}

/// Applies a chunk to the state. Total: never fails, never panics, whatever the bytes are.
pub fn apply_chunk(state: &mut State, bytes: &[u8], declared: u8, context: &Context<'_>) -> AppliedChunk {
    let parsed = parse_chunk(bytes);
    let carried = parsed.credit_count;
    let outcomes = if carried == u32::from(declared) {
        let mut order = JobOrder::default();
        let outcomes = parsed.ops.iter().map(|op| apply_op(state, op, &mut order, context)).collect();
        state.commit();
        outcomes
    } else {
        vec![Err(NoOp::WrongDeclaration { declared, carried }); parsed.ops.len()]
    };
    AppliedChunk { parsed, outcomes }
}

/// The largest job id that the chunk's ops have named: each must name a larger one, so that a chunk touches a job once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JobOrder(Option<JobId>);

impl JobOrder {
    /// Whether an op on this job may follow.
    pub(super) fn allows(self, job: JobId) -> Result<(), NoOp> {
        match self.0 {
            Some(largest) if job <= largest => Err(NoOp::JobOrder { largest }),
            _ => Ok(()),
        }
    }

    pub(super) fn advance(&mut self, job: JobId) -> Result<(), NoOp> {
        self.allows(job)?;
        self.0 = Some(job);
        Ok(())
    }
}

/// Applies one op; the trees lag behind until [`State::commit`].
pub(super) fn apply_op(state: &mut State, op: &Op, order: &mut JobOrder, context: &Context<'_>) -> OpOutcome {
    match op {
        Op::Register { worker, payout } => {
            if *payout == Address::ZERO {
                return Err(NoOp::NoPayout);
            }
            let account = Account { worker: *worker, payout: *payout, earned: Amount::ZERO };
            state.append_account(account).map(Effect::Registered).ok_or(NoOp::AccountsFull)
        }
        Op::Credits(credits) => {
            order.advance(credits.job)?;
            apply_credits(state, credits, context)
        }
        Op::Queue { job } => {
            order.advance(*job)?;
            consume(state, *job, context)
        }
    }
}

fn consume(state: &mut State, id: JobId, context: &Context<'_>) -> OpOutcome {
    let position = state.queue_position();
    let item = Some(position)
        .filter(|position| *position < context.queue_end)
        .and_then(|position| context.queue.get(position))
        .ok_or(NoOp::QueueEmpty { position })?;
    if item.job != id {
        return Err(NoOp::QueueJob { actual: item.job });
    }
    if let QueueAction::Fund { amount, coordinator, spec, terms } = item.action {
        let job = Job {
            requester: item.sender,
            coordinator,
            spec,
            opened_at: item.time,
            funded: amount,
            terms,
            ..Job::UNUSED
        };
        // The base layer numbers jobs in order; were it otherwise, nothing would move.
        if id.0 != state.next_job() || state.append_job(job).is_none() {
            return Err(NoOp::QueueJob { actual: item.job });
        }
    } else {
        if state.job(id).is_none() {
            return Err(NoOp::NoSuchJob);
        }
        let job = state.job_mut(id);
        match item.action {
            // Money that comes too late to be spent goes back; it is never lost.
            QueueAction::TopUp { amount } if job.is_over_at(context.time) => {
                job.refundable = plus(job.refundable, amount);
            }
            QueueAction::TopUp { amount } => job.funded = plus(job.funded, amount),
            QueueAction::Close if job.closing == 0 => {
                job.closing = item.time.max(context.time).saturating_add(context.deployment.close_grace);
            }
            QueueAction::Close | QueueAction::Fund { .. } => {}
        }
    }
    state.advance_queue();
    Ok(Effect::Consumed(position))
}

/// The contract keeps every amount below 2^96, so that nothing saturates; the function stays total without it.
fn plus(a: Amount, b: Amount) -> Amount {
    Amount::units(a.as_units().saturating_add(b.as_units()))
}

fn apply_credits(state: &mut State, op: &Credits, context: &Context<'_>) -> OpOutcome {
    let job = state.job(op.job).ok_or(NoOp::NoSuchJob)?;
    let (job, effect) = judge(job, op, state.next_account(), context)?;
    *state.job_mut(op.job) = job;
    for credit in &op.credits {
        let account = state.account_mut(credit.account);
        account.earned = plus(account.earned, Amount::units(credit.amount.into()));
    }
    Ok(effect)
}

/// The rule for credits: the job as it is afterwards, or the first limit they break.
///
/// It does not look at how many credits there are, so the sealer can judge a whole settlement before it splits it.
pub(super) fn judge(
    job: &Job,
    op: &Credits,
    accounts: u32,
    context: &Context<'_>,
) -> Result<(Job, Effect), NoOp> {
    let terms = &job.terms;
    if job.coordinator != context.proposer {
        return Err(NoOp::NotTheCoordinator { coordinator: job.coordinator });
    }
    if op.settlement != job.next_settlement {
        return Err(NoOp::NotNext { next: job.next_settlement });
    }
    if op.settlement >= terms.settlements {
        return Err(NoOp::NoSettlementsLeft { limit: terms.settlements });
    }
    if job.is_closed_at(context.time) {
        return Err(NoOp::Closed { closing: job.closing });
    }
    if op.credits.is_empty() && !op.last {
        return Err(NoOp::Empty);
    }
    let group = add_up(op, job, accounts)?;
    let tasks = u64::from(job.open.tasks).saturating_add(group.tasks);
    let limit = terms.task_cap;
    let tasks = u32::try_from(tasks).ok().filter(|tasks| *tasks <= limit);
    let tasks = tasks
        .ok_or(NoOp::OverTaskCap { tasks: u64::from(job.open.tasks).saturating_add(group.tasks), limit })?;

    let sum = job.open.sum.as_units().checked_add(group.sum).ok_or(NoOp::OverFunded)?;
    let fee = if op.last { fee_of(sum, terms.fee_bps).ok_or(NoOp::OverFunded)? } else { 0 };
    let spent = job.spent.as_units().checked_add(group.sum).and_then(|spent| spent.checked_add(fee));
    let spent = spent.filter(|spent| *spent <= job.funded.as_units()).ok_or(NoOp::OverFunded)?;
    let elapsed = context.time.saturating_sub(job.opened_at);
    // (2^64 − 1)² + 2^64 − 1 < 2^128.
    if spent > u128::from(terms.burst) + u128::from(terms.rate) * u128::from(elapsed) {
        return Err(NoOp::OverRate);
    }
    // What pays nothing needs nobody's word: a job that ends early closes what it did not use by itself.
    if terms.approve && sum > 0 {
        check_approval(job, op, sum, &context.deployment.domain)?;
    }

    let open = OpenSettlement { tasks, sum: Amount::units(sum), last_account: group.last_account };
    let after = Job {
        spent: Amount::units(spent),
        fees: plus(job.fees, Amount::units(fee)),
        next_settlement: op.settlement + u32::from(op.last),
        open: if op.last { OpenSettlement::default() } else { open },
        ..*job
    };
    let effect = Effect::Credited { sum: Amount::units(group.sum), fee: Amount::units(fee), closed: op.last };
    Ok((after, effect))
}

struct Group {
    tasks: u64,
    sum: u128,
    last_account: u32,
}

fn add_up(op: &Credits, job: &Job, accounts: u32) -> Result<Group, NoOp> {
    let mut group = Group { tasks: 0, sum: 0, last_account: job.open.last_account };
    for credit in &op.credits {
        let account = credit.account;
        // `last_account` is one more than the index before, so "not smaller" is "strictly ascending".
        if account.0 < group.last_account {
            return Err(NoOp::AccountOrder { account });
        }
        if account.0 >= accounts {
            return Err(NoOp::NoSuchAccount { account });
        }
        if credit.tasks == 0 {
            return Err(NoOp::NoTasks { account });
        }
        if u128::from(credit.amount) > u128::from(credit.tasks) * u128::from(job.terms.price_cap) {
            return Err(NoOp::OverPriceCap { account });
        }
        group.last_account = account.0 + 1;
        group.tasks += u64::from(credit.tasks);
        group.sum += u128::from(credit.amount);
    }
    Ok(group)
}

/// `⌊sum × bps / 10 000⌋`, without needing more than 128 bits for the product; `None` past `u128`.
fn fee_of(sum: u128, bps: u16) -> Option<u128> {
    let (whole, rest) = (sum / 10_000, sum % 10_000);
    whole.checked_mul(bps.into())?.checked_add(rest * u128::from(bps) / 10_000)
}

fn check_approval(job: &Job, op: &Credits, sum: u128, domain: &Domain) -> Result<(), NoOp> {
    let approval = op.approval.ok_or(NoOp::NotApproved)?;
    if sum > u128::from(approval.sum_max) {
        return Err(NoOp::OverApproval { sum_max: approval.sum_max });
    }
    let digest = approval_digest(domain, op.job, op.settlement, approval.sum_max);
    if approval.signature.recover(&digest) == Some(job.requester) {
        Ok(())
    } else {
        Err(NoOp::ForeignApproval)
    }
}

/// What a requester signs to let a settlement cost up to `sum_max` units (EIP-712 `SettlementApproval`).
pub fn approval_digest(domain: &Domain, job: JobId, settlement: u32, sum_max: u64) -> Keccak {
    domain.digest(
        "SettlementApproval(uint32 job,uint32 settlement,uint64 sumMax)",
        &[eip712::word(job.0.into()), eip712::word(settlement.into()), eip712::word(sum_max.into())],
    )
}

#[cfg(test)]
mod tests;
