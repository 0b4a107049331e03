//! `fedroll chain stake …`: what workers have at stake.

use std::collections::{BTreeMap, BTreeSet};

use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, BatchOnChain, Cost, ProvenAccount};
use contracts::rpc::{RpcChain, RpcRegistry, RpcRegistryWriter, RpcWriter};
use contracts::stakes::{Stakes as _, StakesWriter as _, commitment};
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, WorkerId};
use protocol::job::stake::agreement_digest;
use protocol::stakes::{Stake as Staked, StakeChange};
use serde::Serialize;

use crate::args::KeyArgs;
use crate::args::stake::{Join, Leave, Prove, RegistryArgs, Show, Stake};
use crate::contradiction::Contradiction;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Column, Page, utc};
use crate::{keys, replay};

#[derive(Serialize)]
struct AtStake {
    #[serde(with = "text")]
    registry: Address,
    stakes: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Transaction>,
}

#[derive(Serialize)]
struct Line {
    #[serde(with = "text")]
    account: AccountIndex,
    #[serde(with = "text::option")]
    worker: Option<WorkerId>,
    #[serde(with = "text")]
    staker: Address,
    #[serde(with = "text")]
    signer: Address,
    #[serde(with = "text")]
    stake: Amount,
    /// What a job may count on: nothing once it was asked back.
    #[serde(with = "text")]
    counts: Amount,
    exit_at: Option<u64>,
}

#[derive(Serialize)]
struct Transaction {
    #[serde(with = "text")]
    hash: Keccak,
    gas: u64,
}

impl From<Cost> for Transaction {
    fn from(cost: Cost) -> Self {
        Self { hash: cost.tx, gas: cost.gas }
    }
}

impl Report for AtStake {
    fn text(&self, page: &mut Page) {
        page.heading(format_args!("Stakes in {}", self.registry));
        let columns = [
            Column::Right("account"),
            Column::Right("tokens"),
            Column::Left("counts"),
            Column::Left("staker"),
            Column::Left("signer"),
        ];
        let rows = self.stakes.iter().map(|line| {
            let counts = match line.exit_at {
                None => "yes".to_owned(),
                Some(at) => format!("no: asked back, leaves from {}", utc(at)),
            };
            let (staker, signer) = (line.staker.to_string(), line.signer.to_string());
            vec![line.account.to_string(), line.stake.to_string(), counts, staker, signer]
        });
        page.table(&columns, rows, "nobody has staked");
        if let Some(transaction) = &self.transaction {
            page.line(format_args!("transaction {} ({} gas)", transaction.hash, transaction.gas));
        }
    }
}

#[derive(Serialize)]
struct Taken {
    #[serde(with = "text")]
    account: AccountIndex,
    #[serde(with = "text")]
    signer: Address,
    #[serde(with = "text")]
    beneficiary: Address,
    #[serde(with = "text")]
    reward: Amount,
    #[serde(with = "text")]
    burnt: Amount,
    transaction: Transaction,
}

impl Report for Taken {
    fn text(&self, page: &mut Page) {
        page.line(format_args!(
            "the stake of account {} is taken: {} tokens went to {}, {} are burnt",
            self.account, self.reward, self.beneficiary, self.burnt
        ));
        page.line(format_args!(
            "its signer {} cannot stake again; transaction {} ({} gas)",
            self.signer, self.transaction.hash, self.transaction.gas
        ));
    }
}

/// Runs one of the stake commands.
pub async fn run(command: &Stake, out: &Output) -> anyhow::Result<ExitStatus> {
    match command {
        Stake::Show(args) => show(args, out).await,
        Stake::Join(args) => join(args, out).await,
        Stake::Exit(args) => {
            let (writer, _) = connect(&args.registry, &args.key).await?;
            let account = staked_by(&writer, args).await?;
            let cost = writer.registry.request_stake_exit(account).await?;
            out.answer(&writer.answer(account, cost).await?)
        }
        Stake::Withdraw(args) => {
            let (writer, _) = connect(&args.registry, &args.key).await?;
            let account = staked_by(&writer, args).await?;
            let cost = writer.registry.withdraw_stake(account).await?;
            out.answer(&writer.answer(account, cost).await?)
        }
        Stake::Prove(args) => prove(args, out).await,
    }
}

/// A registry with a key.
struct Writer {
    reader: RpcRegistry,
    registry: RpcRegistryWriter,
    writer: RpcWriter,
}

impl Writer {
    async fn answer(&self, account: AccountIndex, cost: Cost) -> anyhow::Result<AtStake> {
        let staked = self.reader.stake_of(account).await?;
        let stakes = staked.map(|staked| line(account, None, &staked)).into_iter().collect();
        Ok(AtStake { registry: self.reader.registry().contract, stakes, transaction: Some(cost.into()) })
    }
}

async fn open(args: &RegistryArgs) -> anyhow::Result<(RpcRegistry, Network)> {
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let address = args.registry.or_else(|| network.registry()).ok_or_else(|| CliError::Unknown {
        what: "the worker registry's address",
        fix: "name it with --registry ADDRESS (`fedroll chain deploy` says it)".to_owned(),
    })?;
    let registry = RpcChain::connect(&rpc, rollup).await?.registry(address).await?;
    Ok((registry, network))
}

async fn connect(args: &RegistryArgs, key: &KeyArgs) -> anyhow::Result<(Writer, Network)> {
    let (reader, network) = open(args).await?;
    let writer = reader.rollup().clone().with_key(&network.key(key)?);
    let registry = reader.clone().with_writer(&writer);
    Ok((Writer { reader, registry, writer }, network))
}

fn line(account: AccountIndex, worker: Option<WorkerId>, staked: &Staked) -> Line {
    let Staked { staker, signer, amount, exit_at } = *staked;
    Line { account, worker, staker, signer, stake: amount, counts: staked.counts(), exit_at }
}

/// Everybody who ever joined, with the worker of the account.
async fn joined(registry: &RpcRegistry) -> anyhow::Result<BTreeMap<AccountIndex, WorkerId>> {
    let chain = registry.rollup();
    let events = registry.stake_events(chain.deployed_block(), chain.head().await?.number).await?;
    let joined = events.into_iter().filter_map(|event| match event.change {
        StakeChange::Joined { worker, .. } => Some((event.account, worker)),
        _ => None,
    });
    Ok(joined.collect())
}

async fn show(args: &Show, out: &Output) -> anyhow::Result<ExitStatus> {
    let (registry, _) = open(&args.registry).await?;
    let mut stakes = Vec::new();
    for (account, worker) in joined(&registry).await? {
        if args.account.is_some_and(|only| only != account) {
            continue;
        }
        if let Some(staked) = registry.stake_of(account).await? {
            stakes.push(line(account, Some(worker), &staked));
        }
    }
    out.answer(&AtStake { registry: registry.registry().contract, stakes, transaction: None })
}

async fn join(args: &Join, out: &Output) -> anyhow::Result<ExitStatus> {
    let (writer, _) = connect(&args.registry, &args.key).await?;
    let sender = writer.writer.sender();
    let (batch, proven) = own_account(&writer, args, out).await?;
    if let Some(staked) = writer.reader.stake_of(proven.index).await? {
        if staked.staker != sender {
            let what = format!("account {} was staked for by {}", proven.index, staked.staker);
            return Err(CliError::Mismatch { what, fix: "use the payout key of the account" }.into());
        }
        let cost = writer.registry.add_stake(proven.index, args.amount).await?;
        return out.answer(&writer.answer(proven.index, cost).await?);
    }
    let Some(file) = &args.signer else {
        let fix = "name its file with --signer FILE: signer.key in the worker's directory".to_owned();
        return Err(CliError::Unknown { what: "the worker's signer key", fix }.into());
    };
    let signer = keys::read_eth(file)?;
    if writer.reader.has_equivocated(signer.address()).await? {
        let what = format!("{} has signed two results for one task, and can never stake", signer.address());
        return Err(CliError::Mismatch { what, fix: "give the worker another signer key" }.into());
    }
    let agreed = signer.sign(&agreement_digest(&writer.reader.registry(), proven.index, sender));
    let cost = writer.registry.join(&batch, &proven, signer.address(), agreed, args.amount).await?;
    out.answer(&writer.answer(proven.index, cost).await?)
}

/// The account in the last final state whose earnings go to the key.
async fn own_account(
    writer: &Writer,
    args: &Join,
    out: &Output,
) -> anyhow::Result<(BatchOnChain, ProvenAccount)> {
    let spinner = out.spinner("rebuilding the ledger from the base layer");
    let replay = replay::replay(writer.reader.rollup(), &spinner).await?;
    spinner.finish_and_clear();
    let payout = writer.writer.sender();
    let fix = "a worker gets its account with its coordinator's first batch after it joined; stake once that is final";
    let none =
        || CliError::Mismatch { what: format!("no final batch has an account that pays {payout}"), fix };
    let (batch, state) = replay.last_final.ok_or_else(none)?;
    let mut found = state.accounts().filter(|(index, account)| {
        account.payout == payout && args.account.is_none_or(|only| only == *index)
    });
    let (index, account) = found.next().ok_or_else(none)?;
    if let Some((other, _)) = found.next() {
        let what = format!("accounts {index} and {other} both pay {payout}");
        return Err(CliError::Mismatch { what, fix: "say which with --account N" }.into());
    }
    let proof = state.prove_account(index).expect("the state lists this account");
    Ok((batch, ProvenAccount { index, account: *account, proof }))
}

/// The account that the key has staked for.
async fn staked_by(writer: &Writer, args: &Leave) -> anyhow::Result<AccountIndex> {
    if let Some(account) = args.account {
        return Ok(account);
    }
    let sender = writer.writer.sender();
    let mut mine = BTreeSet::new();
    for account in joined(&writer.reader).await?.into_keys() {
        if writer.reader.stake_of(account).await?.is_some_and(|staked| staked.staker == sender) {
            mine.insert(account);
        }
    }
    let (mine, fix) = (mine.into_iter().collect::<Vec<_>>(), "say which with --account N");
    match mine[..] {
        [account] => Ok(account),
        [] => {
            let what = format!("{sender} has staked for no account");
            Err(CliError::Mismatch { what, fix: "use the key that staked: the payout key" }.into())
        }
        _ => {
            let what = format!("{sender} has staked for {} accounts", mine.len());
            Err(CliError::Mismatch { what, fix }.into())
        }
    }
}

async fn prove(args: &Prove, out: &Output) -> anyhow::Result<ExitStatus> {
    let (writer, _) = connect(&args.registry, &args.key).await?;
    let (proof, signer) = Contradiction::read(&args.file, &writer.reader.registry())?;
    let mut whose = None;
    for account in joined(&writer.reader).await?.into_keys() {
        if writer.reader.stake_of(account).await?.is_some_and(|staked| staked.signer == signer) {
            whose = Some(account);
            break;
        }
    }
    let Some(account) = whose else {
        let what = if writer.reader.has_equivocated(signer).await? {
            format!("the stake behind {signer} was taken before")
        } else {
            format!("{signer} signed both results, and no account that is staked has it as its signer")
        };
        return Err(CliError::Mismatch { what, fix: "there is nothing to take" }.into());
    };
    let salt = keys::random_secret()?;
    let beneficiary = writer.writer.sender();
    out.note(format_args!("committing to a proof against account {account}"));
    writer.registry.commit_equivocation(commitment(account, &proof, beneficiary, &salt)).await?;
    out.note(format_args!("proving that {signer} signed two results for one task"));
    let slashed = writer.registry.prove_equivocation(account, &proof, &salt).await?;
    out.answer(&Taken {
        account,
        signer,
        beneficiary: slashed.beneficiary,
        reward: slashed.reward,
        burnt: slashed.burnt,
        transaction: slashed.cost.into(),
    })
}
