//! `fedroll chain pledge …`: what parties to disputes have at stake before their referees.

use contracts::base_layer::{BaseLayerWriter as _, Cost};
use contracts::rpc::{RpcChain, RpcDisputes, RpcDisputesWriter};
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{Address, WorkerId};
use serde::Serialize;

use crate::args::KeyArgs;
use crate::args::pledge::{DisputesArgs, Leave, Pledge};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Page, utc};

#[derive(Serialize)]
struct Pledged {
    #[serde(with = "text")]
    disputes: Address,
    #[serde(with = "text")]
    referee: Address,
    #[serde(with = "text")]
    owner: Address,
    /// The key that it stands behind.
    #[serde(with = "text")]
    party: WorkerId,
    #[serde(with = "text")]
    pledge: Amount,
    /// What a party may count on: nothing once it was asked back.
    #[serde(with = "text")]
    counts: Amount,
    since: Option<u64>,
    exit_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Transaction>,
}

#[derive(Serialize)]
struct Transaction {
    #[serde(with = "text")]
    hash: Keccak,
    gas: u64,
}

impl Report for Pledged {
    fn text(&self, page: &mut Page) {
        page.heading(format_args!("Pledge of {}", self.owner));
        let since = self.since.map_or_else(|| "-".to_owned(), utc);
        let counts = match self.exit_at {
            Some(at) => format!("no: asked back, leaves from {}", utc(at)),
            None if self.since.is_some() => format!("in disputes over jobs funded after {since}"),
            None => "no: nothing is pledged".to_owned(),
        };
        page.facts(&[
            ("referee", &self.referee),
            ("behind the key", &self.party),
            ("tokens", &self.pledge),
            ("counts", &counts),
        ]);
        if let Some(transaction) = &self.transaction {
            page.line(format_args!("transaction {} ({} gas)", transaction.hash, transaction.gas));
        }
    }
}

/// Runs one of the pledge commands.
pub async fn run(command: &Pledge, out: &Output) -> anyhow::Result<ExitStatus> {
    let (reader, [referee, owner], party, cost) = match command {
        Pledge::Show(args) => (open(&args.disputes).await?.0, [args.referee, args.owner], args.party, None),
        Pledge::Deposit(args) => {
            let (reader, writer, sender) = connect(&args.disputes, &args.key).await?;
            let owner = args.owner.unwrap_or(sender);
            let cost = writer.pledge(args.referee, owner, args.party, args.amount).await?;
            (reader, [args.referee, owner], args.party, Some(cost))
        }
        Pledge::Exit(Leave { referee, party, disputes, key }) => {
            let (reader, writer, sender) = connect(disputes, key).await?;
            let cost = writer.request_pledge_exit(*referee, *party).await?;
            (reader, [*referee, sender], *party, Some(cost))
        }
        Pledge::Withdraw(Leave { referee, party, disputes, key }) => {
            let (reader, writer, sender) = connect(disputes, key).await?;
            let cost = writer.withdraw_pledge(*referee, *party).await?;
            (reader, [*referee, sender], *party, Some(cost))
        }
    };
    let found = reader.pledge_of(referee, owner, party).await?;
    let pledge = found.map_or(Amount::ZERO, |found| found.amount);
    out.answer(&Pledged {
        disputes: reader.domain().contract,
        referee,
        owner,
        party,
        pledge,
        counts: found.filter(|found| found.exit_at.is_none()).map_or(Amount::ZERO, |found| found.amount),
        since: found.map(|found| found.since),
        exit_at: found.and_then(|found| found.exit_at),
        transaction: cost.map(|Cost { tx, gas, .. }| Transaction { hash: tx, gas }),
    })
}

/// The contract, and the network around it.
pub async fn open(args: &DisputesArgs) -> anyhow::Result<(RpcDisputes, Network)> {
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let address = args.disputes.or_else(|| network.disputes()).ok_or_else(|| CliError::Unknown {
        what: "the address of the dispute bonds",
        fix: "name it with --disputes ADDRESS (`fedroll chain deploy` says it)".to_owned(),
    })?;
    Ok((RpcChain::connect(&rpc, rollup).await?.disputes(address).await?, network))
}

async fn connect(
    args: &DisputesArgs,
    key: &KeyArgs,
) -> anyhow::Result<(RpcDisputes, RpcDisputesWriter, Address)> {
    let (reader, network) = open(args).await?;
    let writer = reader.rollup().clone().with_key(&network.key(key)?);
    let sender = writer.sender();
    Ok((reader.clone(), reader.with_writer(&writer), sender))
}
