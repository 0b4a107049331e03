//! Proving the first wrong batch wrong: a commitment, then the proof.

use core::fmt;
use std::collections::BTreeMap;

use contracts::base_layer::{self, BaseLayer as _, Proven};
use contracts::rpc::RpcWriter;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::{Fraud, Part, ResultFraud};
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

impl Challenged {
    /// Which batch it was about.
    pub const fn batch(&self) -> BatchId {
        match self {
            Self::Proven { batch, .. }
            | Self::ProvenByAnother { batch }
            | Self::Final { batch }
            | Self::NotProvable { batch, .. } => *batch,
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
    let standing = wrong_results.iter().filter_map(|(number, fraud)| {
        let stands = |replayed: &&Replayed| replayed.batch.posted.commitment == fraud.commitment;
        Some((replay.batch(*number).filter(stands)?, fraud))
    });
    // One that is final can only be said; it must not keep a later one from being proven.
    let in_results = standing.clone().find(|(replayed, _)| !replayed.is_final);
    let in_results = in_results.or_else(|| standing.clone().next().filter(|_| in_chunks.is_none()));
    // Results are looked at only where a batch's chunks hold, so these two are never the same batch.
    let comes_first = |(replayed, _): &(&Replayed, _)| {
        in_chunks.is_none_or(|first| replayed.batch.number() < first.batch.number())
    };
    let (wrong, fraud) = match (in_results.filter(comes_first), in_chunks) {
        (Some((replayed, fraud)), _) => (replayed, Some(Fraud::Result(Box::new(fraud.clone())))),
        // Nothing is known to be wrong there.
        (None, Some(first)) if first.unreadable() => return Ok(None),
        (None, Some(first)) => (first, Fraud::of(&replay.deriver, &first.batch.posted)),
        (None, None) => return Ok(None),
    };
    let number = wrong.batch.number();
    let Some(fraud) = fraud else {
        if number <= chain.final_batch().await? {
            return Ok(Some(Challenged::Final { batch: number }));
        }
        let why = wrong.verdict.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        return Ok(Some(Challenged::NotProvable { batch: number, why }));
    };
    let stored = chain.batch(number).await?.map(|record| record.commitment);
    if stored != Some(wrong.batch.posted.commitment) {
        return Ok(Some(Challenged::ProvenByAnother { batch: number }));
    }
    let part = fraud.part();
    out.note(format_args!("committing to a proof against batch {number}, then proving {part} of it wrong"));
    let challenged = base_layer::challenge(chain, &wrong.batch, &fraud, &*random_secret()?).await?;
    Ok(Some(match challenged {
        base_layer::Challenged::Proven(Proven { cost, batch, proposer, reward, .. }) => Challenged::Proven {
            batch,
            part,
            proposer,
            transaction: cost.tx,
            gas: cost.gas,
            reward_wei: reward,
        },
        base_layer::Challenged::Gone => Challenged::ProvenByAnother { batch: number },
        base_layer::Challenged::Final => Challenged::Final { batch: number },
    }))
}
