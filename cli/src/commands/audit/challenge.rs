//! Proving the first wrong batch wrong: a commitment, then the proof.

use core::fmt;

use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Challenger as _, Proven};
use contracts::bindings::Challenges::ChallengesErrors;
use contracts::error::{ChainError, Reason};
use contracts::rpc::RpcWriter;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::{challenge_hash, wrong_chunk};
use serde::Serialize;

use crate::keys::random_secret;
use crate::output::Output;
use crate::page::ether;
use crate::replay::Replay;

/// What came of a challenge.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Challenged {
    /// The contract accepted the proof.
    Proven {
        /// The batch.
        #[serde(with = "text")]
        batch: BatchId,
        /// The first of its chunks that is wrong.
        chunk: u32,
        /// Who lost its bond.
        #[serde(with = "text")]
        proposer: Address,
        /// The transaction.
        #[serde(with = "text")]
        transaction: Keccak,
        /// Its gas.
        gas: u64,
        /// Wei that the key received.
        #[serde(with = "text")]
        reward_wei: u128,
    },
    /// Somebody else was faster.
    ProvenByAnother {
        /// The batch.
        #[serde(with = "text")]
        batch: BatchId,
    },
    /// It was found too late.
    Final {
        /// The batch.
        #[serde(with = "text")]
        batch: BatchId,
    },
    /// What is wrong is not where a chunk leads.
    NotProvable {
        /// The batch.
        #[serde(with = "text")]
        batch: BatchId,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for Challenged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven { batch, chunk, proposer, gas, reward_wei, .. } => write!(
                f,
                "proven: chunk {chunk} of batch {batch} is wrong, the batch is gone, {proposer} lost its bond; \
                 reward {} ether, {gas} gas",
                ether(*reward_wei)
            ),
            Self::ProvenByAnother { batch } => write!(f, "somebody else proved batch {batch} wrong"),
            Self::Final { batch } => write!(f, "batch {batch} is final: it is too late to prove it wrong"),
            Self::NotProvable { batch, why } => write!(f, "nothing to prove against batch {batch}: {why}"),
        }
    }
}

/// Proves the first wrong batch wrong, if there is one.
///
/// # Errors What the base layer's node refuses. The proof can be sent again then: nothing is proven twice.
pub async fn first_fault(
    chain: &RpcWriter,
    replay: &Replay,
    out: &Output,
) -> anyhow::Result<Option<Challenged>> {
    let Some(wrong) = replay.first_fault() else { return Ok(None) };
    let number = wrong.batch.number();
    if number <= chain.final_batch().await? {
        return Ok(Some(Challenged::Final { batch: number }));
    }
    let Some(fraud) = wrong_chunk(&replay.deriver, &wrong.batch.posted) else {
        let why = wrong.verdict.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        return Ok(Some(Challenged::NotProvable { batch: number, why }));
    };
    let salt = random_secret()?;
    out.note(format_args!("committing to a proof against batch {number}"));
    chain.commit_challenge(challenge_hash(fraud.subject(), chain.sender(), &salt)).await?;
    out.note(format_args!("proving chunk {} of batch {number} wrong", fraud.opening.index));
    match chain.prove_fraud(&wrong.batch, &fraud, &salt).await {
        Ok(Proven { cost, batch, proposer, reward, .. }) => Ok(Some(Challenged::Proven {
            batch,
            chunk: fraud.opening.index,
            proposer,
            transaction: cost.tx,
            gas: cost.gas,
            reward_wei: reward,
        })),
        Err(error) if is_gone(&error) => Ok(Some(Challenged::ProvenByAnother { batch: number })),
        Err(error) => Err(error.into()),
    }
}

/// Whether the batch no more stands as it was read: somebody has proven it, or one before it, wrong.
fn is_gone(error: &ChainError) -> bool {
    match error.reason() {
        Some(Reason::Challenges(reason)) => {
            matches!(**reason, ChallengesErrors::NotPending(_) | ChallengesErrors::WrongSummary(_))
        }
        // Both contracts know this error, and the rollup's comes first when it is read.
        Some(Reason::Rollup(reason)) => {
            matches!(**reason, contracts::bindings::Rollup::RollupErrors::WrongSummary(_))
        }
        _ => false,
    }
}
