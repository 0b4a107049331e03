//! What may be asked of a rollup's service bonds, and sent to them. Amounts are ledger units.

use core::future::Future;

use protocol::amount::Amount;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{Address, BatchId, JobId};
use protocol::job::SignedAcceptance;
use protocol::ledger::fraud::ResultOpening;
use protocol::ledger::omission::{JobInState, Passage, Place};

use crate::base_layer::{BaseLayer, BaseLayerWriter, BatchOnChain, Cost};
use crate::error::ChainError;

/// A coordinator's service bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    /// Held.
    pub total: Amount,
    /// Of it, for jobs.
    pub locked: Amount,
    /// Of the rest, asked back.
    pub exiting: Amount,
    /// Unix seconds from when that may be withdrawn.
    pub exit_at: u64,
}

impl Bond {
    /// What another job can lock.
    pub fn free(&self) -> Amount {
        let taken = self.locked.as_units().saturating_add(self.exiting.as_units());
        Amount::units(self.total.as_units().saturating_sub(taken))
    }
}

/// What a job's workers can draw on before the rest of its coordinator's bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLock {
    /// Whose bond.
    pub coordinator: Address,
    /// What is left of the lock.
    pub locked: Amount,
    /// Whether it was given back: the job is over.
    pub released: bool,
}

/// Somebody asked for a leaf of a batch's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataChallenge {
    /// The batch.
    pub batch: BatchId,
    /// Its commitment: one that was rolled back owes no answer.
    pub commitment: Keccak,
    /// The leaf.
    pub index: u32,
    /// Wei for who answers.
    pub deposit: u128,
    /// Unix seconds: the last at which an answer counts.
    pub until: u64,
}

/// What became of asking for a leaf of a batch's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafState {
    /// Nobody asked, or the batch that was asked about is gone.
    Never,
    /// Somebody did, and waits.
    Open {
        /// Who.
        challenger: Address,
        /// Wei for who answers.
        deposit: u128,
        /// Unix seconds: the last at which an answer counts.
        until: u64,
    },
    /// It was published.
    Answered {
        /// The digest of the credit's receipts.
        receipts: Digest,
        /// The digest of their results.
        results: Digest,
    },
    /// Nobody published it in time.
    Silent,
}

/// Reading bonds and challenges.
pub trait ServiceBonds: BaseLayer {
    /// A coordinator's bond.
    fn bond_of(&self, coordinator: Address) -> impl Future<Output = Result<Bond, ChainError>> + Send;
    /// What is locked for a job.
    fn lock_of(&self, job: JobId) -> impl Future<Output = Result<JobLock, ChainError>> + Send;
    /// What the bond has paid at a place.
    fn omission_paid(&self, place: Place) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// Challenges made in blocks `from..=to` that are open as of now. `to − from` must stay below the blocks that one
    /// question may cover.
    fn open_challenges(
        &self,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Vec<DataChallenge>, ChainError>> + Send;
    /// What became of asking for leaf `index` of a batch's results.
    fn leaf_state(
        &self,
        batch: &BatchOnChain,
        index: u32,
    ) -> impl Future<Output = Result<LeafState, ChainError>> + Send;
}

/// Sending to the bonds, with one key.
pub trait ServiceBondsWriter: ServiceBonds + BaseLayerWriter {
    /// Adds to a coordinator's bond, raising the token's allowance first where it is short.
    fn deposit_bond(
        &self,
        coordinator: Address,
        amount: Amount,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Asks for so much of the sender's free bond back, instead of what it asked for before.
    fn request_bond_exit(&self, amount: Amount) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Takes what was asked back.
    fn withdraw_bond(&self) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Frees the lock of a job that is over in this batch.
    fn release_bond(
        &self,
        batch: &BatchOnChain,
        job: &JobInState,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;

    /// Has the bond pay what this chunk credits less than was signed for; what was paid.
    fn prove_short_credit(
        &self,
        batch: &BatchOnChain,
        passage: &Passage,
        acceptance: &SignedAcceptance,
    ) -> impl Future<Output = Result<(Amount, Cost), ChainError>> + Send;
    /// Has the bond pay what was not settled by this batch, though it is dated past settle-by; what was paid.
    fn prove_unsettled(
        &self,
        batch: &BatchOnChain,
        job: &JobInState,
        acceptance: &SignedAcceptance,
    ) -> impl Future<Output = Result<(Amount, Cost), ChainError>> + Send;

    /// Asks for a leaf of a batch's results, with the deposit that the contract wants.
    fn challenge_data(
        &self,
        batch: &BatchOnChain,
        index: u32,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Publishes a leaf that was asked for.
    fn answer_data(
        &self,
        batch: &BatchOnChain,
        leaf: &ResultOpening,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Ends a challenge that nobody answered, or whose batch was rolled back.
    fn end_challenge(
        &self,
        batch: &BatchOnChain,
        index: u32,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;
}
