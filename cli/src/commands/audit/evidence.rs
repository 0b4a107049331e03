//! What lies behind the credits: receipts signed by workers, acceptances signed by the coordinator.

use std::collections::BTreeMap;

use protocol::api::{self, CreditEvidence};
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, Nonce, TaskId};
use protocol::job::{Receipt, SignedAcceptance};
use protocol::ledger::Account;
use protocol::ledger::batch::root_of_results;
use protocol::ledger::fraud::{ResultFraud, wrong_result};
use protocol::ledger::op::Credit;
use protocol::ledger::results::ResultLeaf;
use protocol::ledger::share::digest_of;
use protocol::sign::eip712::Domain;
use protocol::sign::{Signed, Unverified};
use protocol::wire::codec;

use super::report::AuditReport;
use crate::error::CliError;
use crate::hex;
use crate::page::count;
use crate::replay::{Posting, Replay, Replayed};

/// Bytes of one receipt or acceptance.
pub const EVIDENCE_BYTES_MAX: usize = 4096;

/// What the evidence of one batch is worth.
#[derive(Debug)]
pub enum Finding {
    /// Everything about it holds.
    Holds,
    /// It does not hold, and this is why; nothing that the base layer could judge.
    Wrong(String),
    /// It shows that the batch's results are not about its credits: anyone can prove that on the base layer.
    Provable(Box<ResultFraud>),
}

/// A credit of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CreditAt {
    posting: Posting,
    /// Its place in the batch.
    place: usize,
    account: AccountIndex,
}

/// What was paid for, by evidence that leads to its batch's results root, from whatever source: a task, and the nonce
/// that it was handed out with, is paid for once.
#[derive(Debug, Default)]
pub struct Seen {
    tasks: BTreeMap<TaskId, CreditAt>,
    nonces: BTreeMap<Nonce, CreditAt>,
}

impl Seen {
    /// Takes up what a credit is for; the other credit that is for the same.
    fn take(&mut self, at: CreditAt, receipt: &Receipt, replay: &Replay) -> Option<CreditAt> {
        let other = |seen: Option<CreditAt>| {
            // What was rolled back may be paid again.
            seen.filter(|seen| *seen != at && replay.posted(seen.posting).is_some())
        };
        let task = other(self.tasks.insert(receipt.task, at));
        let nonce = other(self.nonces.insert(receipt.nonce, at));
        task.or(nonce)
    }
}

/// What was found in a coordinator's evidence.
#[derive(Debug)]
pub struct Evidence<'a> {
    domain: Domain,
    operator: Address,
    replay: &'a Replay,
    seen: &'a mut Seen,
    receipts: u64,
    acceptances: u64,
    unaccepted: u64,
    batches: u64,
    problems: Vec<String>,
    missing: Vec<String>,
}

/// The results root of a batch without credits.
pub fn no_results() -> Keccak {
    root_of_results(&[]).expect("a tree of no leaves is allowed")
}

impl<'a> Evidence<'a> {
    /// Nothing checked yet, but for what was `seen`.
    pub fn new(domain: Domain, operator: Address, replay: &'a Replay, seen: &'a mut Seen) -> Self {
        Self {
            domain,
            operator,
            replay,
            seen,
            receipts: 0,
            acceptances: 0,
            unaccepted: 0,
            batches: 0,
            problems: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Notes a batch whose evidence nobody shows.
    pub fn miss(&mut self, batch: BatchId, error: &CliError) {
        self.missing.push(format!("what lies behind batch {batch}: {error}"));
    }

    /// Checks the evidence of one batch against what the base layer has of it.
    pub fn check(&mut self, replayed: &Replayed, shown: &api::Evidence) -> Finding {
        let finding = self.compare(replayed, shown).unwrap_or_else(Finding::Wrong);
        let number = replayed.batch.number();
        match &finding {
            Finding::Holds => self.batches += 1,
            Finding::Wrong(why) => self.problems.push(format!("batch {number}: {why}")),
            Finding::Provable(fraud) => {
                self.problems.push(format!("batch {number}: {}", wrong_result_of(fraud)))
            }
        }
        finding
    }

    fn compare(&mut self, replayed: &Replayed, shown: &api::Evidence) -> Result<Finding, String> {
        let posted = &replayed.batch.posted;
        let receipts = shown.credits.iter().enumerate();
        let receipts: Vec<_> = receipts
            .map(|(place, credit)| receipts_of(credit).map_err(|why| at(place, why)))
            .collect::<Result<_, _>>()?;
        let leaves = shown.credits.iter().zip(&receipts).enumerate();
        let leaves: Vec<_> = leaves
            .map(|(place, (credit, receipts))| leaf_of(credit, receipts).map_err(|why| at(place, why)))
            .collect::<Result<_, _>>()?;
        if root_of_results(&leaves) != Some(posted.header.results_root) {
            // A signature that does not hold says more about it.
            self.check_credits(shown, receipts)?;
            return Err("the evidence does not lead to its results root".to_owned());
        }
        if let Some(fraud) = wrong_result(posted, &leaves) {
            return Ok(Finding::Provable(Box::new(fraud)));
        }
        if leaves.len() as u64 != u64::from(replayed.batch.chunks.credit_count) {
            let (got, want) = (leaves.len(), replayed.batch.chunks.credit_count);
            return Err(format!("evidence for {got} credits, the batch has {want}"));
        }
        let paid_for: Vec<Vec<Receipt>> =
            receipts.iter().map(|of| of.iter().map(|one| one.body.clone()).collect()).collect();
        let signed = self.check_credits(shown, receipts);
        // Also where a signature does not hold: the batch has committed to these receipts.
        self.check_once(replayed, shown, &paid_for)?;
        signed?;
        Ok(Finding::Holds)
    }

    /// Nothing is paid for twice, not in one credit nor in two, whoever signed.
    fn check_once(
        &mut self,
        replayed: &Replayed,
        shown: &api::Evidence,
        paid_for: &[Vec<Receipt>],
    ) -> Result<(), String> {
        let state = self.replay.deriver.state();
        let worker = |account| state.account(account).map(|account| account.worker);
        let mut twice = Vec::new();
        for (place, (credit, receipts)) in shown.credits.iter().zip(paid_for).enumerate() {
            let at = CreditAt { posting: replayed.posting(), place, account: credit.account };
            for receipt in receipts {
                if let Some(other) = self.seen.take(at, receipt, self.replay) {
                    twice.push((at, receipt.task, other));
                }
            }
        }
        let Some((at, task, other)) = twice.first() else { return Ok(()) };
        let mut why = format!(
            "task {task} is paid to account {}, and in credit {} of batch {} to account {}",
            at.account,
            other.place,
            other.posting.number(),
            other.account
        );
        if at.account != other.account && worker(at.account) == worker(other.account) {
            why += ", which is registered for the same worker";
        }
        if let more @ 1.. = twice.len() - 1 {
            why += &format!(" ({more} more tasks of this batch are paid twice)");
        }
        Err(self::at(at.place, why))
    }

    fn check_credits(
        &mut self,
        shown: &api::Evidence,
        receipts: Vec<Vec<Unverified<Receipt>>>,
    ) -> Result<(), String> {
        for (place, (credit, receipts)) in shown.credits.iter().zip(receipts).enumerate() {
            self.check_credit(credit, receipts).map_err(|why| at(place, why))?;
        }
        Ok(())
    }

    /// All signatures behind a credit.
    fn check_credit(
        &mut self,
        shown: &CreditEvidence,
        receipts: Vec<Unverified<Receipt>>,
    ) -> Result<(), String> {
        let state = self.replay.deriver.state();
        let Account { worker, payout, .. } =
            *state.account(shown.account).ok_or("nobody has this account")?;
        if receipts.len() != usize::from(shown.tasks) {
            return Err(format!("{} receipts for {} tasks", receipts.len(), shown.tasks));
        }
        let mut signed = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let receipt = receipt.verify().map_err(|error| error.to_string())?;
            if receipt.signer() != worker {
                return Err(format!(
                    "a receipt is signed by {}, the account belongs to {worker}",
                    receipt.signer()
                ));
            }
            let task = receipt.body().task;
            if (task.job, task.settlement) != (shown.job, shown.settlement) {
                return Err(format!("a receipt is for task {task}"));
            }
            self.receipts += 1;
            signed.push(receipt);
        }
        if !signed.is_sorted_by(|a, b| a.body().task.slot < b.body().task.slot) {
            return Err("its receipts are not in the order of their tasks, each once".to_owned());
        }
        match &shown.acceptance {
            Some(text) => self.check_acceptance(text, shown, payout, &signed)?,
            None => self.unaccepted += 1,
        }
        Ok(())
    }

    fn check_acceptance(
        &mut self,
        text: &str,
        shown: &CreditEvidence,
        payout: Address,
        receipts: &[Signed<Receipt>],
    ) -> Result<(), String> {
        let bytes = hex::decode(text, EVIDENCE_BYTES_MAX).ok_or("the acceptance is no hexadecimal text")?;
        let signed: SignedAcceptance = codec::decode_within(&bytes, EVIDENCE_BYTES_MAX)
            .map_err(|error| format!("the acceptance cannot be read: {error}"))?;
        if !signed.is_from(self.operator, &self.domain) {
            return Err("the acceptance is not signed by the operator".to_owned());
        }
        let said = &signed.acceptance;
        if (said.job, said.settlement, said.account, said.payout)
            != (shown.job, shown.settlement, shown.account, payout)
        {
            return Err("the acceptance is about another credit".to_owned());
        }
        if self.replay.deriver.state().job(said.job).is_none_or(|job| job.spec != said.spec) {
            return Err(format!(
                "the acceptance is for the spec {}, which is not job {}'s",
                said.spec, said.job
            ));
        }
        if u128::from(said.owed) != shown.amount.as_units() || said.tasks != u32::from(shown.tasks) {
            return Err(format!(
                "{} units for {} tasks were promised, {} for {} were credited",
                said.owed,
                said.tasks,
                shown.amount.as_units(),
                shown.tasks
            ));
        }
        if !receipts.iter().any(|receipt| receipt.digest() == said.receipt) {
            return Err("the acceptance answers a receipt that is not shown".to_owned());
        }
        self.acceptances += 1;
        Ok(())
    }

    /// Adds what was found to the report.
    pub fn conclude(self, report: &mut AuditReport) {
        report.checked.push(format!(
            "evidence of {}: {} signed by their workers, {} signed by the operator, results roots",
            count(self.batches, "batch", "batches"),
            count(self.receipts, "receipt", "receipts"),
            count(self.acceptances, "acceptance", "acceptances")
        ));
        if self.unaccepted > 0 {
            report.not_checked.push(format!("acceptances of {} credits: none is shown", self.unaccepted));
        }
        if !self.missing.is_empty() {
            report.not_checked.extend(self.missing);
            let ask = "who misses a result can ask for it on the base layer: fedroll chain leaf ask";
            report.not_checked.push(ask.to_owned());
        }
        report.problems.extend(self.problems);
    }
}

fn at(credit: usize, why: String) -> String {
    format!("credit {credit}: {why}")
}

/// The receipts that are shown for a credit, unchecked.
fn receipts_of(shown: &CreditEvidence) -> Result<Vec<Unverified<Receipt>>, String> {
    let decoded = shown.receipts.iter().map(|text| {
        let bytes = hex::decode(text, EVIDENCE_BYTES_MAX).ok_or("a receipt is no hexadecimal text")?;
        codec::decode_within(&bytes, EVIDENCE_BYTES_MAX)
            .map_err(|error| format!("a receipt cannot be read: {error}"))
    });
    decoded.collect()
}

/// The leaf of the results tree that is shown for a credit, whatever the credit on the base layer.
fn leaf_of(shown: &CreditEvidence, receipts: &[Unverified<Receipt>]) -> Result<ResultLeaf, String> {
    let amount = u64::try_from(shown.amount.as_units())
        .map_err(|_| format!("{} tokens are more than a credit can be", shown.amount))?;
    Ok(ResultLeaf {
        job: shown.job,
        settlement: shown.settlement,
        credit: Credit { account: shown.account, tasks: shown.tasks, amount },
        receipts: digest_of(receipts.iter().map(Unverified::digest)),
        results: digest_of(receipts.iter().map(|receipt| receipt.body.result)),
    })
}

/// What is wrong with it, in words.
pub fn wrong_result_of(fraud: &ResultFraud) -> String {
    format!("result {} of its results tree is not about credit {0}", fraud.result.index)
}
