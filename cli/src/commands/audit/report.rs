//! What an audit found.

use core::fmt;

use contracts::base_layer::BaseLayer;
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, WorkerId};
use serde::Serialize;

use super::challenge::Challenged;
use super::reexecute::Reexecuted;
use super::statements::Found;
use crate::exit::ExitStatus;
use crate::output::Report;
use crate::page::{Column, Page, bytes, short};
use crate::replay::{Fallen, Replay, Replayed};

/// What no audit can find.
const TRUSTED: [&str; 3] = [
    "that somebody watches: a wrong batch that nobody proves wrong within its challenge window becomes final",
    "that the work was done: a coordinator can credit accounts it controls for work not done, \
     up to the job's limits",
    "that the base layer's node tells the truth: use one of your own",
];

/// The answer of `fedroll audit`.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    /// Whether everything that was checked holds.
    pub ok: bool,
    chain_id: u64,
    development_chain: bool,
    client: String,
    #[serde(with = "text")]
    rollup: Address,
    #[serde(with = "text")]
    operator: Address,
    from_block: u64,
    to_block: u64,
    #[serde(with = "text::option")]
    pub(super) state_root: Option<Keccak>,
    /// The first batch whose blobs are not to be had: from there on there is no answer.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    pub(super) unread_from: Option<BatchId>,
    /// What does not match.
    pub problems: Vec<String>,
    pub(super) checked: Vec<String>,
    pub(super) not_checked: Vec<String>,
    pub(super) totals: Totals,
    /// Every batch.
    pub batches: Vec<BatchLine>,
    /// Batches that were rolled back; they count for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rolled_back: Vec<FallenLine>,
    /// Workers that stated two results for one task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) contradictions: Vec<Found>,
    /// The tasks that were run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reexecuted: Option<Reexecuted>,
    /// The proof that was sent against the first wrong batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) challenge: Option<Challenged>,
    /// The one that was sent before it, against a later batch, where evidence then showed results to be wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) challenge_after: Option<Challenged>,
    accounts: Vec<AccountLine>,
    jobs: Vec<JobLine>,
}

/// Sums over the ledger.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    pub(super) accounts: u64,
    pub(super) jobs: u64,
    #[serde(with = "text")]
    pub(super) paid_in: Amount,
    #[serde(with = "text")]
    pub(super) spent: Amount,
    #[serde(with = "text")]
    pub(super) fees: Amount,
    #[serde(with = "text")]
    pub(super) earned: Amount,
    #[serde(with = "text")]
    pub(super) claimed: Amount,
}

/// One batch.
#[derive(Debug, Serialize)]
pub struct BatchLine {
    /// Its number.
    #[serde(with = "text")]
    pub batch: BatchId,
    /// Credits in it.
    pub credits: u32,
    payload_bytes: usize,
    ops: usize,
    no_ops: usize,
    #[serde(with = "text")]
    state_root: Keccak,
    #[serde(rename = "final")]
    is_final: bool,
    /// The first thing that is wrong with it.
    pub fault: Option<String>,
    /// Why it cannot be said whether it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<String>,
}

#[derive(Debug, Serialize)]
struct FallenLine {
    #[serde(with = "text")]
    batch: BatchId,
    #[serde(with = "text")]
    proposer: Address,
    proven_wrong: bool,
    in_block: u64,
}

impl FallenLine {
    fn new(fallen: &Fallen) -> Self {
        Self {
            batch: fallen.number,
            proposer: fallen.proposer,
            proven_wrong: fallen.proven,
            in_block: fallen.block.number,
        }
    }
}

impl fmt::Display for FallenLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.proven_wrong { "was proven wrong" } else { "was built on one that was" };
        write!(f, "batch {} of {} {why}: gone since block {}", self.batch, self.proposer, self.in_block)
    }
}

#[derive(Debug, Serialize)]
struct AccountLine {
    #[serde(with = "text")]
    account: AccountIndex,
    #[serde(with = "text")]
    worker: WorkerId,
    #[serde(with = "text")]
    payout: Address,
    #[serde(with = "text")]
    earned: Amount,
}

#[derive(Debug, Serialize)]
struct JobLine {
    #[serde(with = "text")]
    job: JobId,
    #[serde(with = "text")]
    requester: Address,
    #[serde(with = "text")]
    funded: Amount,
    #[serde(with = "text")]
    spent: Amount,
    settled: u32,
    settlements: u32,
    closed: bool,
}

impl BatchLine {
    pub(super) fn new(replayed: &Replayed) -> Self {
        let header = &replayed.batch.posted.header;
        let outcomes = || replayed.verdict.chunks.iter().flat_map(|chunk| &chunk.outcomes);
        Self {
            batch: header.number,
            credits: replayed.batch.chunks.credit_count,
            payload_bytes: replayed.batch.posted.data_bytes(),
            ops: outcomes().count(),
            no_ops: outcomes().filter(|outcome| outcome.is_err()).count(),
            state_root: header.post.root(),
            is_final: replayed.is_final,
            fault: replayed.verdict.fault.as_ref().map(ToString::to_string),
            unknown: None,
        }
    }
}

impl BatchLine {
    const fn holds(&self) -> &'static str {
        match (&self.fault, &self.unknown) {
            (Some(_), _) => "NO",
            (None, Some(_)) => "unknown",
            (None, None) => "yes",
        }
    }
}

impl AuditReport {
    pub(super) fn new(chain: &RpcChain, replay: &Replay) -> Self {
        let state = replay.deriver.state();
        let accounts = state.accounts().map(|(account, leaf)| AccountLine {
            account,
            worker: leaf.worker,
            payout: leaf.payout,
            earned: leaf.earned,
        });
        let jobs = state.jobs().map(|(job, leaf)| JobLine {
            job,
            requester: leaf.requester,
            funded: leaf.funded,
            spent: leaf.spent,
            settled: leaf.next_settlement,
            settlements: leaf.terms.settlements,
            closed: leaf.closing != 0,
        });
        Self {
            ok: false,
            chain_id: chain.chain().chain_id,
            development_chain: chain.chain().is_development(),
            client: chain.chain().client.clone(),
            rollup: chain.contract(),
            operator: chain.config().proposer,
            from_block: chain.deployed_block(),
            to_block: replay.head.number,
            state_root: None,
            unread_from: None,
            problems: Vec::new(),
            checked: Vec::new(),
            not_checked: Vec::new(),
            totals: Totals::default(),
            batches: Vec::new(),
            rolled_back: replay.fallen.iter().map(FallenLine::new).collect(),
            contradictions: Vec::new(),
            reexecuted: None,
            challenge: None,
            challenge_after: None,
            accounts: accounts.collect(),
            jobs: jobs.collect(),
        }
    }

    pub(super) fn conclude(&mut self) {
        self.not_checked.extend(TRUSTED.map(str::to_owned));
        self.ok = self.problems.is_empty() && self.unread_from.is_none();
    }
}

impl Report for AuditReport {
    fn text(&self, page: &mut Page) {
        let label = if self.development_chain { " (development chain)" } else { "" };
        page.heading(format_args!("Audit of {} on chain {}{label}", self.rollup, self.chain_id));
        let blocks = format!("{} to {}, read from {}", self.from_block, self.to_block, self.client);
        let root = self.state_root.map_or_else(|| "-".to_owned(), |root| root.to_string());
        page.facts(&[("blocks", &blocks), ("operator", &self.operator), ("state root", &root)]);
        page.heading("Batches");
        let columns = [
            Column::Right("batch"),
            Column::Right("credits"),
            Column::Right("ops"),
            Column::Right("no-ops"),
            Column::Right("payload"),
            Column::Left("state root"),
            Column::Left("final"),
            Column::Left("holds"),
        ];
        let rows = self.batches.iter().map(|line| {
            vec![
                line.batch.to_string(),
                line.credits.to_string(),
                line.ops.to_string(),
                line.no_ops.to_string(),
                bytes(line.payload_bytes as u64),
                short(line.state_root),
                if line.is_final { "yes" } else { "not yet" }.to_owned(),
                line.holds().to_owned(),
            ]
        });
        page.table(&columns, rows, "none has been posted");
        self.rolled_back.iter().for_each(|line| page.line(line));
        self.balances(page);
        page.heading("Checked");
        self.checked.iter().for_each(|line| page.line(format_args!("- {line}")));
        page.heading("Not checked");
        self.not_checked.iter().for_each(|line| page.line(format_args!("- {line}")));
        page.gap();
        for problem in &self.problems {
            let bad = page.bad("does not match");
            page.line(format_args!("{bad}: {problem}"));
        }
        self.challenge.iter().chain(&self.challenge_after).for_each(|challenge| page.line(challenge));
        let conclusion = match self.unread_from {
            None if self.ok => page.good("everything that was checked holds"),
            Some(first) if self.problems.is_empty() => {
                page.bad(format_args!("no answer: from batch {first} on, blobs are not to be had"))
            }
            _ => page.bad("the audit does not hold"),
        };
        page.line(conclusion);
    }

    fn status(&self) -> ExitStatus {
        match self.unread_from {
            Some(_) if self.problems.is_empty() => ExitStatus::Error,
            _ => ExitStatus::from_answer(self.ok),
        }
    }
}

impl AuditReport {
    fn balances(&self, page: &mut Page) {
        match self.batches.iter().find(|line| line.holds() != "yes") {
            None => page.heading("Balances"),
            Some(wrong) => page.heading(format_args!("Balances before batch {}", wrong.batch)),
        }
        let columns = [
            Column::Right("account"),
            Column::Left("worker"),
            Column::Left("payout"),
            Column::Right("earned"),
        ];
        let rows = self.accounts.iter().map(|line| {
            vec![
                line.account.to_string(),
                short(line.worker),
                line.payout.to_string(),
                line.earned.to_string(),
            ]
        });
        page.table(&columns, rows, "nobody has an account");
        page.heading("Jobs");
        let columns = [
            Column::Right("job"),
            Column::Left("requester"),
            Column::Right("settled"),
            Column::Right("spent"),
            Column::Right("funded"),
        ];
        let rows = self.jobs.iter().map(|line| {
            vec![
                line.job.to_string(),
                line.requester.to_string(),
                format!("{}/{}", line.settled, line.settlements),
                line.spent.to_string(),
                line.funded.to_string(),
            ]
        });
        page.table(&columns, rows, "no job has been funded");
    }
}
