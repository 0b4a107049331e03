//! `fedroll chain bond …`: what an operator has at stake.

use contracts::base_layer::{BaseLayer, BaseLayerWriter as _, Bonds as _, Challenger as _, Cost};
use contracts::bonds::{ServiceBonds as _, ServiceBondsWriter as _};
use contracts::rpc::{RpcChain, RpcWriter};
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::Address;
use serde::Serialize;

use super::ether;
use crate::args::bond::{Bond, BondKind};
use crate::args::{KeyArgs, NetworkArgs};
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Page, utc};

/// Wei in 10⁻⁶ ether.
const MICROETHER: u128 = 1_000_000_000_000;

#[derive(Serialize)]
struct AtStake {
    #[serde(with = "text")]
    operator: Address,
    service: Service,
    fraud: Fraud,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Transaction>,
}

#[derive(Serialize)]
struct Service {
    #[serde(with = "text")]
    total: Amount,
    #[serde(with = "text")]
    locked: Amount,
    #[serde(with = "text")]
    exiting: Amount,
    #[serde(with = "text")]
    free: Amount,
    exit_at: Option<u64>,
}

#[derive(Serialize)]
struct Fraud {
    ether: String,
    /// What whoever posts must have.
    needed: String,
    exit_at: Option<u64>,
    may_post: bool,
}

#[derive(Serialize)]
struct Transaction {
    #[serde(with = "text")]
    hash: Keccak,
    gas: u64,
}

impl Report for AtStake {
    fn text(&self, page: &mut Page) {
        page.heading(format_args!("Bonds of {}", self.operator));
        let leaves = |at: Option<u64>| at.map_or(String::new(), |at| format!(", leaves from {}", utc(at)));
        let Service { total, locked, exiting, free, exit_at } = &self.service;
        let service = format!(
            "{total} tokens: {locked} locked for jobs, {free} free, {exiting} asked back{}",
            leaves(*exit_at)
        );
        let posts = if self.fraud.may_post { "may post batches" } else { "may not post batches" };
        let fraud = format!(
            "{} ether of {} needed: {posts}{}",
            self.fraud.ether,
            self.fraud.needed,
            leaves(self.fraud.exit_at)
        );
        page.facts(&[("service bond", &service), ("fraud bond", &fraud)]);
        if let Some(transaction) = &self.transaction {
            page.line(format_args!("transaction {} ({} gas)", transaction.hash, transaction.gas));
        }
    }
}

/// Runs one of the bond commands.
pub async fn run(command: &Bond, out: &Output) -> anyhow::Result<ExitStatus> {
    match command {
        Bond::Show(args) => {
            let (rpc, rollup) = Network::find(&args.network)?.base_layer()?;
            let chain = RpcChain::connect(&rpc, rollup).await?;
            let operator = args.operator.unwrap_or(chain.config().proposer);
            out.answer(&at_stake(&chain, operator, None).await?)
        }
        Bond::Deposit(args) => {
            let (chain, writer) = connect(&args.network, &args.key).await?;
            let operator = args.operator.unwrap_or(chain.config().proposer);
            let cost = match args.kind {
                BondKind::Service => writer.deposit_bond(operator, args.amount).await?,
                BondKind::Fraud => {
                    writer.make_bond(operator, args.amount.as_units().saturating_mul(MICROETHER)).await?
                }
            };
            out.answer(&at_stake(&chain, operator, Some(cost)).await?)
        }
        Bond::Exit(args) => {
            let (chain, writer) = connect(&args.network, &args.key).await?;
            let cost = match args.kind {
                BondKind::Service => writer.request_bond_exit(args.amount.unwrap_or(Amount::ZERO)).await?,
                BondKind::Fraud => writer.ask_bond_back().await?,
            };
            out.answer(&at_stake(&chain, writer.sender(), Some(cost)).await?)
        }
        Bond::Withdraw(args) => {
            let (chain, writer) = connect(&args.network, &args.key).await?;
            let cost = match args.kind {
                BondKind::Service => writer.withdraw_bond().await?,
                BondKind::Fraud => writer.take_bond_back().await?,
            };
            out.answer(&at_stake(&chain, writer.sender(), Some(cost)).await?)
        }
    }
}

async fn connect(network: &NetworkArgs, key: &KeyArgs) -> anyhow::Result<(RpcChain, RpcWriter)> {
    let network = Network::find(network)?;
    let key = network.key(key)?;
    let (rpc, rollup) = network.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?;
    let writer = chain.clone().with_key(&key);
    Ok((chain, writer))
}

async fn at_stake(chain: &RpcChain, operator: Address, cost: Option<Cost>) -> anyhow::Result<AtStake> {
    let (service, fraud) = (chain.bond_of(operator).await?, chain.bond(operator).await?);
    let needed = chain.config().fraud_bond;
    Ok(AtStake {
        operator,
        service: Service {
            total: service.total,
            locked: service.locked,
            exiting: service.exiting,
            free: service.free(),
            exit_at: (service.exiting > Amount::ZERO).then_some(service.exit_at),
        },
        fraud: Fraud {
            ether: ether(fraud.wei),
            needed: ether(needed),
            exit_at: fraud.exit_at,
            may_post: fraud.wei >= needed && fraud.exit_at.is_none(),
        },
        transaction: cost.map(|cost| Transaction { hash: cost.tx, gas: cost.gas }),
    })
}
