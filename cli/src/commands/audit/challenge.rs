//! Proving the first wrong batch wrong: a commitment, then the proof.

use core::fmt;
use std::collections::BTreeMap;

use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Challenger as _, Proven};
use contracts::bindings::Challenges::ChallengesErrors;
use contracts::error::{ChainError, Reason};
use contracts::rpc::RpcWriter;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::{ChunkFraud, Misfit, ResultFraud, challenge_hash, misfit, wrong_chunk};
use serde::Serialize;

use crate::keys::random_secret;
use crate::output::Output;
use crate::page::ether;
use crate::replay::{Replay, Replayed};

/// What came of a challenge.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Challenged {
    /// The contract accepted the proof.
    Proven {
        /// The batch.
        #[serde(with = "text")]
        batch: BatchId,
        /// What of it is wrong.
        #[serde(flatten)]
        part: Part,
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
    /// What is wrong is neither where a chunk leads nor what a result is about.
    NotProvable {
        /// The batch.
        #[serde(with = "text")]
        batch: BatchId,
        /// What is wrong.
        why: String,
    },
}

/// The part of a batch that is wrong.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A chunk does not lead to its root.
    Chunk(u32),
    /// A chunk in a blob does not go on from the one before it, or does not end as the batch says.
    Misfit(u32),
    /// A result is not about its credit.
    Result(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(index) => write!(f, "chunk {index}"),
            Self::Misfit(index) => write!(f, "the fit of chunk {index}"),
            Self::Result(index) => write!(f, "result {index}"),
        }
    }
}

impl fmt::Display for Challenged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven { batch, part, proposer, gas, reward_wei, .. } => write!(
                f,
                "proven: {part} of batch {batch} is wrong, the batch is gone, {proposer} lost its bond; \
                 reward {} ether, {gas} gas",
                ether(*reward_wei)
            ),
            Self::ProvenByAnother { batch } => write!(f, "somebody else proved batch {batch} wrong"),
            Self::Final { batch } => write!(f, "batch {batch} is final: it is too late to prove it wrong"),
            Self::NotProvable { batch, why } => write!(f, "nothing to prove against batch {batch}: {why}"),
        }
    }
}

/// A proof that the contract takes.
enum Fraud<'a> {
    Chunk(Box<ChunkFraud>),
    Misfit(Box<Misfit>),
    Result(&'a ResultFraud),
}

impl Fraud<'_> {
    fn part(&self) -> Part {
        match self {
            Self::Chunk(fraud) => Part::Chunk(fraud.opening.index),
            Self::Misfit(misfit) => Part::Misfit(misfit.opening.index),
            Self::Result(fraud) => Part::Result(fraud.result.index),
        }
    }

    fn subject(&self) -> Keccak {
        match self {
            Self::Chunk(fraud) => fraud.subject(),
            Self::Misfit(misfit) => misfit.subject(),
            Self::Result(fraud) => fraud.subject(),
        }
    }
}

/// Proves the first wrong batch wrong, if there is one; `wrong_results` is what evidence showed of batches whose chunks
/// hold. All batches after it fall with it.
///
/// # Errors What the base layer's node refuses. The proof can be sent again then: nothing is proven twice.
pub async fn first_fault(
    chain: &RpcWriter,
    replay: &Replay,
    wrong_results: &BTreeMap<BatchId, ResultFraud>,
    out: &Output,
) -> anyhow::Result<Option<Challenged>> {
    let in_chunks = replay.first_fault();
    let in_results = wrong_results.iter().find_map(|(number, fraud)| {
        let stands = |replayed: &&Replayed| replayed.batch.posted.commitment == fraud.commitment;
        Some((replay.batch(*number).filter(stands)?, fraud))
    });
    // Results are looked at only where a batch's chunks hold, so these two are never the same batch.
    let comes_first = |(replayed, _): &(&Replayed, _)| {
        in_chunks.is_none_or(|first| replayed.batch.number() < first.batch.number())
    };
    let (wrong, fraud) = match (in_results.filter(comes_first), in_chunks) {
        (Some((replayed, fraud)), _) => (replayed, Some(Fraud::Result(fraud))),
        // Nothing is known to be wrong there.
        (None, Some(first)) if first.unreadable() => return Ok(None),
        (None, Some(first)) => {
            let posted = &first.batch.posted;
            let fraud = wrong_chunk(&replay.deriver, posted).map(|fraud| Fraud::Chunk(Box::new(fraud)));
            (first, fraud.or_else(|| misfit(posted).map(|misfit| Fraud::Misfit(Box::new(misfit)))))
        }
        (None, None) => return Ok(None),
    };
    let number = wrong.batch.number();
    if number <= chain.final_batch().await? {
        return Ok(Some(Challenged::Final { batch: number }));
    }
    let Some(fraud) = fraud else {
        let why = wrong.verdict.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        return Ok(Some(Challenged::NotProvable { batch: number, why }));
    };
    let (part, salt) = (fraud.part(), random_secret()?);
    out.note(format_args!("committing to a proof against batch {number}"));
    chain.commit_challenge(challenge_hash(fraud.subject(), chain.sender(), &salt)).await?;
    out.note(format_args!("proving {part} of batch {number} wrong"));
    let proven = match &fraud {
        Fraud::Chunk(fraud) => chain.prove_fraud(&wrong.batch, fraud, &salt).await,
        Fraud::Misfit(misfit) => chain.prove_misfit(&wrong.batch, misfit, &salt).await,
        Fraud::Result(fraud) => chain.prove_result(&wrong.batch, fraud, &salt).await,
    };
    match proven {
        Ok(Proven { cost, batch, proposer, reward, .. }) => Ok(Some(Challenged::Proven {
            batch,
            part,
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
