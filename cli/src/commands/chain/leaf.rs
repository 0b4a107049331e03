//! `fedroll chain leaf …`: asking on the base layer for what a coordinator does not show.

use contracts::base_layer::{BatchOnChain, Cost};
use contracts::bonds::{LeafState, ServiceBonds as _, ServiceBondsWriter as _};
use contracts::rpc::RpcChain;
use protocol::api::text;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{Address, BatchId};
use serde::Serialize;

use super::ether;
use crate::args::leaf::{Leaf, Sent, Which};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Page, utc};
use crate::replay;

#[derive(Serialize)]
struct Asked {
    #[serde(with = "text")]
    batch: BatchId,
    leaf: u32,
    #[serde(flatten)]
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Transaction>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
enum State {
    Never,
    Open {
        #[serde(with = "text")]
        challenger: Address,
        #[serde(with = "text")]
        deposit_wei: u128,
        until: u64,
    },
    Answered {
        #[serde(with = "text")]
        receipts: Digest,
        #[serde(with = "text")]
        results: Digest,
    },
    Silent,
}

#[derive(Serialize)]
struct Transaction {
    #[serde(with = "text")]
    hash: Keccak,
    gas: u64,
}

impl From<LeafState> for State {
    fn from(state: LeafState) -> Self {
        match state {
            LeafState::Never => Self::Never,
            LeafState::Open { challenger, deposit, until } => {
                Self::Open { challenger, deposit_wei: deposit, until }
            }
            LeafState::Answered { receipts, results } => Self::Answered { receipts, results },
            LeafState::Silent => Self::Silent,
        }
    }
}

impl Report for Asked {
    fn text(&self, page: &mut Page) {
        let Self { batch, leaf, .. } = self;
        match &self.state {
            State::Never => page.line(format_args!("nobody has asked for leaf {leaf} of batch {batch}")),
            State::Open { challenger, deposit_wei, until } => {
                page.line(format_args!(
                    "{challenger} asked for leaf {leaf} of batch {batch}; whoever publishes it until {} has {} ether",
                    utc(*until),
                    ether(*deposit_wei)
                ));
                page.line("after that: fedroll chain leaf end");
            }
            State::Answered { receipts, results } => {
                page.line(format_args!("leaf {leaf} of batch {batch} was published"));
                page.facts(&[("receipts", receipts), ("results", results)]);
            }
            State::Silent => page.line(format_args!("nobody published leaf {leaf} of batch {batch} in time")),
        }
        if let Some(transaction) = &self.transaction {
            page.line(format_args!("transaction {} ({} gas)", transaction.hash, transaction.gas));
        }
    }
}

/// Runs one of the leaf commands.
pub async fn run(command: &Leaf, out: &Output) -> anyhow::Result<ExitStatus> {
    let (Leaf::Show(which) | Leaf::Ask(Sent { which, .. }) | Leaf::End(Sent { which, .. })) = command;
    let network = Network::find(&which.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?.with_blobs(network.blobs()?);
    let batch = find(&chain, which.batch, out).await?;
    let cost = match command {
        Leaf::Show(_) => None,
        Leaf::Ask(sent) => {
            let writer = chain.clone().with_key(&network.key(&sent.key)?);
            Some(writer.challenge_data(&batch, which.leaf).await?)
        }
        Leaf::End(sent) => {
            let writer = chain.clone().with_key(&network.key(&sent.key)?);
            Some(writer.end_challenge(&batch, which.leaf).await?)
        }
    };
    out.answer(&state(&chain, which, &batch, cost).await?)
}

async fn state(
    chain: &RpcChain,
    which: &Which,
    batch: &BatchOnChain,
    cost: Option<Cost>,
) -> anyhow::Result<Asked> {
    let state = chain.leaf_state(batch, which.leaf).await?.into();
    let transaction = cost.map(|cost| Transaction { hash: cost.tx, gas: cost.gas });
    Ok(Asked { batch: which.batch, leaf: which.leaf, state, transaction })
}

async fn find(chain: &RpcChain, number: BatchId, out: &Output) -> anyhow::Result<BatchOnChain> {
    let spinner = out.spinner("reading the base layer");
    let replay = replay::newest(chain, &spinner).await?;
    spinner.finish_and_clear();
    let found = replay.batch(number).ok_or_else(|| CliError::Mismatch {
        what: format!("the rollup has no batch {number}"),
        fix: "fedroll audit lists all batches",
    })?;
    Ok(found.batch.clone())
}
