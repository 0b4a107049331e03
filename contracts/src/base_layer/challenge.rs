//! Proving batches wrong, and what it earns.

use core::future::Future;

use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::{ChunkFraud, Fraud, Misfit, ResultFraud, challenge_hash};

use super::{BaseLayer, BaseLayerWriter, BatchOnChain, Cost};
use crate::bindings::Challenges::ChallengesErrors;
use crate::bindings::Rollup::RollupErrors;
use crate::error::{ChainError, Reason};

/// What a proposer has at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    /// Wei.
    pub wei: u128,
    /// Unix seconds from which it can be taken out; `None` while nobody asked.
    pub exit_at: Option<u64>,
}

/// A proof that the contract accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// What the transaction cost.
    pub cost: Cost,
    /// The batch that is gone, and all after it with it.
    pub batch: BatchId,
    /// Whose bond was taken.
    pub proposer: Address,
    /// Wei paid to whoever proved it.
    pub reward: u128,
    /// Wei that nobody has any more.
    pub burnt: u128,
}

/// What came of proving a batch wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenged {
    /// The contract accepted the proof.
    Proven(Proven),
    /// The batch does not stand as it was read: it, or one before it, was proven wrong already.
    Gone,
    /// It was found too late: the batch is final.
    Final,
}

/// Reading what challenges rest on.
pub trait Bonds: BaseLayer {
    /// What a proposer has at stake; nothing for somebody who never made a bond, or lost it.
    fn bond(&self, proposer: Address) -> impl Future<Output = Result<Bond, ChainError>> + Send;
}

/// Proving, with one key, which is also who is rewarded. Anyone may.
///
/// A proof whose commitment ([`protocol::ledger::fraud::challenge_hash`]) stands in an earlier block earns the whole
/// reward; one without earns what its gas costs, since anyone could have copied it. Each call returns once its
/// transaction is in a block, so a proof that is sent after its commitment stands in a later one.
pub trait Challenger: Bonds + BaseLayerWriter {
    /// Adds wei to a proposer's bond.
    fn make_bond(
        &self,
        proposer: Address,
        wei: u128,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;

    /// Asks for the sender's own bond back: it posts no more batches from then on.
    fn ask_bond_back(&self) -> impl Future<Output = Result<Cost, ChainError>> + Send;

    /// Takes the sender's own bond out, once its exit is old enough.
    fn take_bond_back(&self) -> impl Future<Output = Result<Cost, ChainError>> + Send;

    /// Puts a commitment on the base layer. One that stands there already will do as well: whoever sent it, it is
    /// bound to its beneficiary.
    fn commit_challenge(&self, hash: Keccak) -> impl Future<Output = Result<(), ChainError>> + Send;

    /// Shows that a chunk leads elsewhere than its proposer posted.
    fn prove_fraud(
        &self,
        batch: &BatchOnChain,
        fraud: &ChunkFraud,
        salt: &[u8; 32],
    ) -> impl Future<Output = Result<Proven, ChainError>> + Send;

    /// Shows that a batch in blobs does not fit together.
    fn prove_misfit(
        &self,
        batch: &BatchOnChain,
        misfit: &Misfit,
        salt: &[u8; 32],
    ) -> impl Future<Output = Result<Proven, ChainError>> + Send;

    /// Shows that a result is not about its credit, or that there are not as many results as credits.
    fn prove_result(
        &self,
        batch: &BatchOnChain,
        fraud: &ResultFraud,
        salt: &[u8; 32],
    ) -> impl Future<Output = Result<Proven, ChainError>> + Send;
}

/// Proves a batch wrong: a commitment, so that nobody who copies the proof is paid for it, then the proof. The same
/// `salt` makes the same commitment, so that a second call goes on where the first one failed.
///
/// # Errors What the base layer's node or the contract refuses. Nothing is proven twice.
pub async fn challenge(
    chain: &impl Challenger,
    batch: &BatchOnChain,
    fraud: &Fraud,
    salt: &[u8; 32],
) -> Result<Challenged, ChainError> {
    let number = batch.number();
    let stands = chain.batch(number).await?.map(|record| record.commitment);
    if stands != Some(batch.posted.commitment) {
        return Ok(Challenged::Gone);
    }
    if number <= chain.final_batch().await? {
        return Ok(Challenged::Final);
    }
    chain.commit_challenge(challenge_hash(fraud.subject(), chain.sender(), salt)).await?;
    let proven = match fraud {
        Fraud::Chunk(fraud) => chain.prove_fraud(batch, fraud, salt).await,
        Fraud::Misfit(misfit) => chain.prove_misfit(batch, misfit, salt).await,
        Fraud::Result(fraud) => chain.prove_result(batch, fraud, salt).await,
    };
    match proven {
        Ok(proven) => Ok(Challenged::Proven(proven)),
        Err(error) if is_gone(&error) => Ok(Challenged::Gone),
        Err(error) => Err(error),
    }
}

/// Whether the batch stands no more as it was read: somebody has proven it, or one before it, wrong.
fn is_gone(error: &ChainError) -> bool {
    match error.reason() {
        Some(Reason::Challenges(reason)) => {
            matches!(**reason, ChallengesErrors::NotPending(_) | ChallengesErrors::WrongSummary(_))
        }
        // Both contracts know this error, and the rollup's comes first when it is read.
        Some(Reason::Rollup(reason)) => matches!(**reason, RollupErrors::WrongSummary(_)),
        _ => false,
    }
}
