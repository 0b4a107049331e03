//! What a chunk's ops read of the state: the contract holds only the root, so a proof brings the rest.
//!
//! Each leaf stands as it is at that moment, and each path leads to its tree's root at that moment. A path is taken
//!
//! - for a registration that finds room: the empty leaf of the next account;
//! - for credits to a job that exists: the job, whether or not they hold; and if they hold, each account in order;
//! - for a queue item that opens a job: the empty leaf of the next job; for one about a job that exists: the job.
//!
//! Ops that their chunk's order of jobs rules out read nothing, and a chunk with a wrong declaration has no ops.

use crate::ids::{AccountIndex, Address, JobId};
use crate::ledger::apply::{Context, JobOrder, apply_op};
use crate::ledger::op::{Credits, Op, parse_chunk};
use crate::ledger::queue::{QueueAction, QueueItem};
use crate::ledger::state::{Account, Job, STATE_LEAVES_MAX, State, StateProof};

/// Everything that a chunk's ops read, in the order in which they read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Jobs.
    pub jobs: Vec<(JobId, Job)>,
    /// Accounts.
    pub accounts: Vec<(AccountIndex, Account)>,
    /// One for each leaf that is read or appended, jobs and accounts mixed.
    pub paths: Vec<StateProof>,
    /// Queue items from the position before the chunk on.
    pub items: Vec<QueueItem>,
}

/// Applies a chunk as [`apply_chunk`](crate::ledger::apply_chunk) does, and notes what it read.
///
/// The trees are brought up to date after each leaf that is written, which costs more than once a chunk.
pub fn replay(state: &mut State, bytes: &[u8], declared: u8, context: &Context<'_>) -> Witness {
    let mut witness = Witness::default();
    let parsed = parse_chunk(bytes);
    if parsed.credit_count != u32::from(declared) {
        return witness;
    }
    let first_item = state.queue_position();
    let mut order = JobOrder::default();
    for op in &parsed.ops {
        let mut after = state.clone();
        let may_follow = op.job().is_none_or(|job| order.allows(job).is_ok());
        let holds = apply_op(&mut after, op, &mut order, context).is_ok();
        after.commit();
        if may_follow {
            match op {
                Op::Register { payout, .. } => witness.register(state, *payout),
                Op::Credits(credits) => witness.credits(state, credits, holds.then_some(&after)),
                Op::Queue { job } => witness.consume(state, *job, first_item, context),
            }
        }
        *state = after;
    }
    witness
}

impl Witness {
    fn register(&mut self, state: &State, payout: Address) {
        let index = state.next_account();
        if payout != Address::ZERO && index < STATE_LEAVES_MAX {
            self.paths.push(state.account_path(AccountIndex(index)));
        }
    }

    /// `after` is the state that they lead to, if they hold.
    fn credits(&mut self, state: &State, op: &Credits, after: Option<&State>) {
        let Some(job) = state.job(op.job) else { return };
        self.job(state, op.job, *job);
        let Some(after) = after else { return };
        let mut state = state.clone();
        for credit in &op.credits {
            let (before, paid) = (state.account(credit.account), after.account(credit.account));
            let (Some(before), Some(paid)) = (before, paid) else { return };
            self.accounts.push((credit.account, *before));
            self.paths.push(state.account_path(credit.account));
            *state.account_mut(credit.account) = *paid;
            state.commit();
        }
    }

    fn consume(&mut self, state: &State, id: JobId, first_item: u64, context: &Context<'_>) {
        let position = state.queue_position();
        if position >= context.queue_end {
            return;
        }
        let Some(item) = context.queue.get(position) else { return };
        // An item that an earlier op read and left behind is read again.
        if position - first_item == self.items.len() as u64 {
            self.items.push(*item);
        }
        if item.job != id {
            return;
        }
        match item.action {
            QueueAction::Fund { .. } if id.0 == state.next_job() && id.0 < STATE_LEAVES_MAX => {
                self.paths.push(state.job_path(id));
            }
            QueueAction::Fund { .. } => {}
            QueueAction::TopUp { .. } | QueueAction::Close => {
                if let Some(job) = state.job(id) {
                    self.job(state, id, *job);
                }
            }
        }
    }

    fn job(&mut self, state: &State, id: JobId, job: Job) {
        self.jobs.push((id, job));
        self.paths.push(state.job_path(id));
    }
}
