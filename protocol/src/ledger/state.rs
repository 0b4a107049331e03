//! The state: accounts and jobs, each in a positional tree, and three counters; all of it behind one root.

mod leaf;
mod paged;
mod tree;

use serde::{Deserialize, Serialize};

pub use leaf::{Account, Job, JobKind, OpenSettlement, TERMS_BYTES, Terms};
use paged::Paged;
pub use tree::{STATE_LEAVES_MAX, StateProof, StateProofError, StateTree, empty_nodes};

use crate::hash::{Keccak, Tag, tagged};
use crate::ids::{AccountIndex, JobId};

/// The preimage of a state root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateParts {
    /// The root of the account tree: the commitment to rewards.
    pub accounts_root: Keccak,
    /// The root of the job tree.
    pub jobs_root: Keccak,
    /// The index the next account gets.
    pub next_account: u32,
    /// The index the next job gets.
    pub next_job: u32,
    /// Items of the base layer's queue that were consumed.
    pub queue_position: u64,
}

impl StateParts {
    /// The state root.
    pub fn root(&self) -> Keccak {
        tagged(
            Tag::State,
            &[
                &self.accounts_root.0,
                &self.jobs_root.0,
                &self.next_account.to_be_bytes(),
                &self.next_job.to_be_bytes(),
                &self.queue_position.to_be_bytes(),
            ],
        )
    }
}

/// The whole ledger at one moment. About 150 bytes an account; a clone shares its pages with the original, so keeping
/// one for each batch that is not final costs only what changed since.
#[derive(Clone, Debug)]
pub struct State {
    accounts: Leaves<Account>,
    jobs: Leaves<Job>,
    queue_position: u64,
}

/// Values appended one after another, their tree, and which of them the tree has not seen yet.
#[derive(Clone, Debug)]
struct Leaves<T> {
    values: Paged<T>,
    count: u32,
    tree: StateTree,
    touched: Vec<u32>,
}

impl<T: Copy> Leaves<T> {
    fn new(unused: T) -> Self {
        Self { values: Paged::new(unused), count: 0, tree: StateTree::default(), touched: Vec::new() }
    }

    fn get(&self, index: u32) -> Option<&T> {
        (index < self.count).then(|| self.values.get(index))
    }

    /// # Panics
    /// If the index is not in use.
    fn get_mut(&mut self, index: u32) -> &mut T {
        assert!(index < self.count, "leaf {index} is written before it exists");
        self.touched.push(index);
        self.values.get_mut(index)
    }

    fn append(&mut self, value: T) -> Option<u32> {
        let index = self.count;
        if index >= STATE_LEAVES_MAX {
            return None;
        }
        self.count += 1;
        *self.get_mut(index) = value;
        Some(index)
    }

    fn commit(&mut self, leaf: impl Fn(&T) -> Keccak) {
        self.touched.sort_unstable();
        self.touched.dedup();
        let leaves: Vec<_> =
            self.touched.iter().map(|index| (*index, leaf(self.values.get(*index)))).collect();
        self.tree.update(&leaves);
        self.touched.clear();
    }
}

impl Default for State {
    fn default() -> Self {
        Self { accounts: Leaves::new(Account::UNUSED), jobs: Leaves::new(Job::UNUSED), queue_position: 0 }
    }
}

impl State {
    /// The state with these accounts and jobs, index by index. `None` if either list is over [`STATE_LEAVES_MAX`].
    pub fn restore(accounts: &[Account], jobs: &[Job], queue_position: u64) -> Option<Self> {
        let mut state = Self { queue_position, ..Self::default() };
        for account in accounts {
            state.accounts.append(*account)?;
        }
        for job in jobs {
            state.jobs.append(*job)?;
        }
        state.commit();
        Some(state)
    }

    /// A state of which only these leaves were ever written, wherever they lie: what happens near the trees' capacity
    /// can be tried without filling the trees. An index below `next_account` or `next_job` that is not given has the
    /// empty leaf, which no history leads to: ops must not name it.
    ///
    /// `None` if an index is not below the next one, or the next one is over [`STATE_LEAVES_MAX`].
    pub fn sparse(
        accounts: &[(AccountIndex, Account)],
        next_account: u32,
        jobs: &[(JobId, Job)],
        next_job: u32,
        queue_position: u64,
    ) -> Option<Self> {
        if next_account.max(next_job) > STATE_LEAVES_MAX
            || accounts.iter().any(|(index, _)| index.0 >= next_account)
            || jobs.iter().any(|(id, _)| id.0 >= next_job)
        {
            return None;
        }
        let mut state = Self { queue_position, ..Self::default() };
        (state.accounts.count, state.jobs.count) = (next_account, next_job);
        accounts.iter().for_each(|(index, account)| *state.account_mut(*index) = *account);
        jobs.iter().for_each(|(id, job)| *state.job_mut(*id) = *job);
        state.commit();
        Some(state)
    }

    /// What the root is the hash of.
    pub fn parts(&self) -> StateParts {
        assert!(
            self.accounts.touched.is_empty() && self.jobs.touched.is_empty(),
            "every change is committed before the state is read"
        );
        StateParts {
            accounts_root: self.accounts.tree.root(),
            jobs_root: self.jobs.tree.root(),
            next_account: self.accounts.count,
            next_job: self.jobs.count,
            queue_position: self.queue_position,
        }
    }

    /// The state root.
    pub fn root(&self) -> Keccak {
        self.parts().root()
    }

    /// An account, if the index is in use.
    pub fn account(&self, index: AccountIndex) -> Option<&Account> {
        self.accounts.get(index.0)
    }

    /// A job, if the index is in use.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id.0)
    }

    /// Every account, in order.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountIndex, &Account)> {
        (0..self.accounts.count).map(|index| (AccountIndex(index), self.accounts.values.get(index)))
    }

    /// Every job, in order.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        (0..self.jobs.count).map(|index| (JobId(index), self.jobs.values.get(index)))
    }

    /// The index the next account gets; also how many there are.
    pub const fn next_account(&self) -> u32 {
        self.accounts.count
    }

    /// The index the next job gets; also how many there are.
    pub const fn next_job(&self) -> u32 {
        self.jobs.count
    }

    /// Items of the queue that were consumed.
    pub const fn queue_position(&self) -> u64 {
        self.queue_position
    }

    /// The proof of an account against [`StateParts::accounts_root`]; `None` if the index is not in use.
    pub fn prove_account(&self, index: AccountIndex) -> Option<StateProof> {
        self.account(index).and_then(|_| self.accounts.tree.proof(index.0))
    }

    /// The proof of a job against [`StateParts::jobs_root`]; `None` if the index is not in use.
    pub fn prove_job(&self, id: JobId) -> Option<StateProof> {
        self.job(id).and_then(|_| self.jobs.tree.proof(id.0))
    }

    /// The path to an account's place, used or not. Panics past the tree's capacity.
    pub(super) fn account_path(&self, index: AccountIndex) -> StateProof {
        self.accounts.tree.proof(index.0).expect("no account lies past the tree's capacity")
    }

    /// The path to a job's place, used or not. Panics past the tree's capacity.
    pub(super) fn job_path(&self, id: JobId) -> StateProof {
        self.jobs.tree.proof(id.0).expect("no job lies past the tree's capacity")
    }

    /// Appends an account; `None` if there is no room.
    pub(super) fn append_account(&mut self, account: Account) -> Option<AccountIndex> {
        self.accounts.append(account).map(AccountIndex)
    }

    /// Appends a job; `None` if there is no room.
    pub(super) fn append_job(&mut self, job: Job) -> Option<JobId> {
        self.jobs.append(job).map(JobId)
    }

    /// An account to change. Panics if the index is not in use.
    pub(super) fn account_mut(&mut self, index: AccountIndex) -> &mut Account {
        self.accounts.get_mut(index.0)
    }

    /// A job to change. Panics if the index is not in use.
    pub(super) fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(id.0)
    }

    /// Moves past one queue item.
    pub(super) const fn advance_queue(&mut self) {
        self.queue_position = self.queue_position.saturating_add(1);
    }

    /// Brings the trees up to date with every change since the last call: once a chunk, not once an op.
    pub(super) fn commit(&mut self) {
        self.accounts.commit(Account::leaf);
        self.jobs.commit(Job::leaf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Amount;
    use crate::ids::{Address, WorkerId};

    fn account(number: u8) -> Account {
        Account { worker: WorkerId([number; 32]), payout: Address([number; 20]), earned: Amount::ZERO }
    }

    #[test]
    fn the_root_binds_every_part() {
        let mut state = State::restore(&[account(1), account(2)], &[], 3).unwrap();
        let before = state.parts();
        assert_eq!(state.next_account(), 2);
        state.account_mut(AccountIndex(1)).earned = Amount::units(5);
        state.commit();
        assert_ne!(state.parts().accounts_root, before.accounts_root);
        for parts in [
            StateParts { accounts_root: before.jobs_root, ..before },
            StateParts { jobs_root: before.accounts_root, ..before },
            StateParts { next_account: 3, ..before },
            StateParts { next_job: 1, ..before },
            StateParts { queue_position: 4, ..before },
        ] {
            assert_ne!(parts.root(), before.root());
        }
    }

    #[test]
    fn an_account_proves_itself_and_no_other() {
        let state = State::restore(&[account(1), account(2)], &[], 0).unwrap();
        let proof = state.prove_account(AccountIndex(1)).unwrap();
        let root = state.parts().accounts_root;
        assert_eq!(proof.verify(root, 1, account(2).leaf()), Ok(()));
        assert!(proof.verify(root, 1, account(1).leaf()).is_err());
        assert_eq!(state.prove_account(AccountIndex(2)), None);
    }

    #[test]
    fn state_grown_step_by_step_is_state_restored() {
        let mut state = State::default();
        state.append_account(account(1)).unwrap();
        state.commit();
        state.append_account(account(2)).unwrap();
        state.commit();
        assert_eq!(state.root(), State::restore(&[account(1), account(2)], &[], 0).unwrap().root());
    }
}
