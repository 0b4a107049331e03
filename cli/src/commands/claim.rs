//! `fedroll claim`: the state rebuilt from the base layer, the proof made here, the claim sent by whoever
//! pays the gas.

mod omitted;

use contracts::base_layer::{
    BaseLayer, BaseLayerWriter, BatchOnChain, CLAIMS_MAX, ClaimOutcome, ProvenAccount, ProvenJob,
};
use contracts::rpc::{RpcChain, RpcWriter};
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId};
use protocol::ledger::{Account, State};
use serde::Serialize;

use crate::args::money::Claim;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Column, Page, utc};
use crate::replay;

/// The answer of `fedroll claim`.
#[derive(Debug, Default, Serialize)]
pub struct Claimed {
    #[serde(with = "text::option")]
    batch: Option<BatchId>,
    dry_run: bool,
    /// What has to happen before there is something to claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    /// What was paid, or would be.
    pub paid: Vec<Payment>,
    skipped: Vec<String>,
    transactions: Vec<Transaction>,
}

/// One payment.
#[derive(Debug, Serialize)]
pub struct Payment {
    what: String,
    #[serde(with = "text")]
    to: Address,
    /// How much.
    #[serde(with = "text")]
    pub amount: Amount,
}

#[derive(Debug, Serialize)]
struct Transaction {
    #[serde(with = "text")]
    hash: Keccak,
    gas: u64,
}

impl Report for Claimed {
    fn text(&self, page: &mut Page) {
        let columns = [Column::Left("for"), Column::Left("to"), Column::Right("tokens")];
        let rows = self
            .paid
            .iter()
            .map(|paid| vec![paid.what.clone(), paid.to.to_string(), paid.amount.to_string()]);
        page.table(&columns, rows, "there is nothing to claim in final batches");
        if let Some(waits_for) = &self.waits_for {
            page.line(waits_for);
        }
        for skipped in &self.skipped {
            page.line(format_args!("skipped: {skipped}"));
        }
        for transaction in &self.transactions {
            page.line(format_args!("transaction {} ({} gas)", transaction.hash, transaction.gas));
        }
        if self.dry_run {
            page.line("nothing was sent (--dry-run)");
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(self.skipped.is_empty())
    }
}

/// The state that claims are proven against: right after the last final batch.
#[derive(Debug)]
pub struct Claims<C> {
    chain: C,
    batch: BatchOnChain,
    state: State,
    /// After the last batch that holds, final or not: only to say what is on its way.
    newest: State,
}

/// Claims and answers.
pub async fn run(args: &Claim, out: &Output) -> anyhow::Result<ExitStatus> {
    if let Some(file) = &args.omitted {
        return omitted::run(args, file, out).await;
    }
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?.with_blobs(network.blobs()?);
    let Some(claims) = Claims::rebuild(chain, out).await? else {
        let waits_for = Some("no batch is final yet: `fedroll chain status` shows when one is".to_owned());
        return out.answer(&Claimed { dry_run: args.dry_run, waits_for, ..Claimed::default() });
    };
    if let Some(job) = args.refund {
        let claim = claims.refund(job).await?;
        let report = match (claim, args.dry_run) {
            (None, _) => {
                let waits_for = claims.refund_waits_for(job);
                Claimed { batch: Some(claims.batch.number()), waits_for, ..Claimed::default() }
            }
            (Some((_, payment)), true) => claims.planned(vec![payment]),
            (Some((proven, payment)), false) => {
                claims.with_key(&network.key(&args.key)?).pay_refund(&proven, payment).await?
            }
        };
        return out.answer(&report);
    }
    let matches = |index, account: &Account| {
        args.all || args.account == Some(index) || args.worker == Some(account.worker)
    };
    let due = claims.due(matches).await?;
    if due.is_empty() || args.dry_run {
        let waits_for = if due.is_empty() { claims.on_its_way(matches).await? } else { None };
        let planned = due.into_iter().map(|(_, payment)| payment).collect();
        return out.answer(&Claimed { dry_run: args.dry_run, waits_for, ..claims.planned(planned) });
    }
    let writer = claims.with_key(&network.key(&args.key)?);
    out.answer(&writer.pay(due.into_iter().map(|(proven, _)| proven).collect(), out).await?)
}

impl<C: BaseLayer> Claims<C> {
    /// Rebuilds the state; `None` while no batch is final.
    pub async fn rebuild(chain: C, out: &Output) -> anyhow::Result<Option<Self>> {
        let spinner = out.spinner("rebuilding the ledger from the base layer");
        let replay = replay::replay(&chain, &spinner).await?;
        spinner.finish_and_clear();
        if let Some(fault) = replay.first_fault() {
            let fault = format!(
                "batch {} does not hold; only what lies before it can be claimed",
                fault.batch.number()
            );
            out.warn(fault);
        }
        let newest = replay.deriver.state().clone();
        Ok(replay.last_final.map(|(batch, state)| Self { chain, batch, state, newest }))
    }

    /// Accounts that match and have something to claim.
    pub async fn due(
        &self,
        matches: impl Fn(AccountIndex, &Account) -> bool,
    ) -> anyhow::Result<Vec<(ProvenAccount, Payment)>> {
        let mut due = Vec::new();
        for (index, account) in self.state.accounts() {
            if !matches(index, account) {
                continue;
            }
            let amount = account.earned.sub(self.chain.claimed(index).await?).unwrap_or(Amount::ZERO);
            if amount == Amount::ZERO {
                continue;
            }
            let proof = self.state.prove_account(index).expect("the state lists this account");
            let what = format!("account {index}");
            let payment = Payment { what, to: account.payout, amount };
            due.push((ProvenAccount { index, account: *account, proof }, payment));
        }
        if self.newest.accounts().any(|(index, account)| matches(index, account)) {
            return Ok(due);
        }
        let what = "the rollup has no such account".to_owned();
        Err(CliError::Mismatch { what, fix: "fedroll audit lists all accounts and their workers" }.into())
    }

    /// What matching accounts have earned in batches that are not final.
    async fn on_its_way(
        &self,
        matches: impl Fn(AccountIndex, &Account) -> bool,
    ) -> anyhow::Result<Option<String>> {
        let mut sum = Amount::ZERO;
        for (index, account) in self.newest.accounts().filter(|(index, account)| matches(*index, account)) {
            let before = self.state.account(index).map_or(Amount::ZERO, |account| account.earned);
            sum = sum.add(account.earned.sub(before).unwrap_or(Amount::ZERO))?;
        }
        let window = self.chain.config().challenge_window;
        Ok((sum > Amount::ZERO).then(|| {
            format!(
                "{sum} tokens lie in batches that are not final yet (that takes {window} s from posting): \
                 claim again then"
            )
        }))
    }

    async fn refund(&self, id: JobId) -> anyhow::Result<Option<(ProvenJob, Payment)>> {
        let Some(job) = self.state.job(id) else {
            if self.newest.job(id).is_some() {
                return Ok(None);
            }
            let what = format!("the rollup's batches have no job {id}");
            return Err(CliError::Mismatch { what, fix: "fedroll audit lists all jobs" }.into());
        };
        let due = job.refund_at(self.batch.posted.header.time).sub(self.chain.claimed_refund(id).await?);
        let amount = due.unwrap_or(Amount::ZERO);
        if amount == Amount::ZERO {
            return Ok(None);
        }
        let proof = self.state.prove_job(id).expect("the state lists this job");
        let payment = Payment { what: format!("refund of job {id}"), to: job.requester, amount };
        Ok(Some((ProvenJob { id, job: *job, proof }, payment)))
    }

    /// Why a job has nothing to give back.
    fn refund_waits_for(&self, id: JobId) -> Option<String> {
        let Some(job) = self.state.job(id) else {
            return Some(format!("no batch with job {id} in it is final yet: claim again when one is"));
        };
        let (closing, time) = (job.closing, self.batch.posted.header.time);
        if job.is_finished() {
            return None; // it has spent everything, or its rest was claimed before
        }
        if closing == 0 {
            return Some(format!(
                "job {id} has settled {} of {} up to batch {}, the last final one: what it does not spend comes \
                 back after its last settlement, or after `fedroll job cancel {id}`",
                job.next_settlement,
                job.terms.settlements,
                self.batch.number()
            ));
        }
        (time <= closing).then(|| {
            format!(
                "job {id} may settle until {}; no batch after that is final, the last one is of {}",
                utc(closing),
                utc(time)
            )
        })
    }

    fn planned(&self, paid: Vec<Payment>) -> Claimed {
        Claimed { batch: Some(self.batch.number()), dry_run: true, paid, ..Claimed::default() }
    }
}

impl Claims<RpcChain> {
    /// The same with a key that pays the gas.
    pub fn with_key(self, key: &protocol::sign::EthKey) -> Claims<RpcWriter> {
        Claims { chain: self.chain.with_key(key), batch: self.batch, state: self.state, newest: self.newest }
    }
}

impl<C: BaseLayerWriter> Claims<C> {
    /// Sends the claims, as many in one transaction as it takes.
    pub async fn pay(&self, due: Vec<ProvenAccount>, out: &Output) -> anyhow::Result<Claimed> {
        let mut report = Claimed { batch: Some(self.batch.number()), ..Claimed::default() };
        if let [one] = due.as_slice() {
            report.add(self.chain.claim(&self.batch, one).await?);
            return Ok(report);
        }
        let bar = out.bar(due.len() as u64, "claiming");
        for group in due.chunks(CLAIMS_MAX) {
            report.add(self.chain.claim_many(&self.batch, group).await?);
            bar.inc(group.len() as u64);
        }
        bar.finish_and_clear();
        Ok(report)
    }

    async fn pay_refund(&self, job: &ProvenJob, payment: Payment) -> anyhow::Result<Claimed> {
        let (amount, cost) = self.chain.claim_refund(&self.batch, job).await?;
        Ok(Claimed {
            batch: Some(self.batch.number()),
            paid: vec![Payment { amount, ..payment }],
            transactions: vec![Transaction { hash: cost.tx, gas: cost.gas }],
            ..Claimed::default()
        })
    }
}

impl Claimed {
    /// Everything that was paid.
    pub fn total(&self) -> Amount {
        Amount::units(self.paid.iter().map(|paid| paid.amount.as_units()).sum())
    }

    fn add(&mut self, outcome: ClaimOutcome) {
        self.transactions.push(Transaction { hash: outcome.cost.tx, gas: outcome.cost.gas });
        self.paid.extend(outcome.paid.into_iter().map(|(index, to, amount)| Payment {
            what: format!("account {index}"),
            to,
            amount,
        }));
        let skipped =
            outcome.skipped.iter().map(|index| format!("account {index}: the token refuses to pay it"));
        self.skipped.extend(skipped);
    }
}
