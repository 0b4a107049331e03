//! What lies behind the credits: receipts signed by workers, acceptances signed by the coordinator.

use std::collections::BTreeMap;

use protocol::api::{self, CreditEvidence};
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::job::{Receipt, SignedAcceptance};
use protocol::ledger::op::{Credit, Op};
use protocol::ledger::results::{ResultLeaf, results_root, results_tree};
use protocol::ledger::share::digest_of;
use protocol::sign::eip712::Domain;
use protocol::sign::{Signed, Unverified};
use protocol::wire::codec;

use super::report::AuditReport;
use crate::error::CliError;
use crate::hex;
use crate::page::count;
use crate::replay::{Replay, Replayed};

/// Bytes of one receipt or acceptance.
const EVIDENCE_BYTES_MAX: usize = 4096;

/// What was found in a coordinator's evidence.
#[derive(Debug)]
pub struct Evidence {
    domain: Domain,
    operator: Address,
    workers: BTreeMap<AccountIndex, (WorkerId, Address)>,
    specs: BTreeMap<JobId, SpecHash>,
    receipts: u64,
    acceptances: u64,
    unaccepted: u64,
    batches: u64,
    problems: Vec<String>,
    missing: Vec<String>,
}

/// The results root of a batch without credits.
pub fn no_results() -> Keccak {
    results_tree(&[]).map(|tree| results_root(&tree)).expect("a tree of no leaves is allowed")
}

impl Evidence {
    /// Nothing checked yet.
    pub fn new(domain: Domain, operator: Address, replay: &Replay) -> Self {
        let state = replay.deriver.state();
        Self {
            domain,
            operator,
            workers: state
                .accounts()
                .map(|(index, account)| (index, (account.worker, account.payout)))
                .collect(),
            specs: state.jobs().map(|(id, job)| (id, job.spec)).collect(),
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

    /// Checks the evidence of one batch against what the base layer has of it; whether it holds.
    pub fn check(&mut self, replayed: &Replayed, shown: &api::Evidence) -> bool {
        let before = self.problems.len();
        self.compare(replayed, shown);
        self.problems.len() == before
    }

    fn compare(&mut self, replayed: &Replayed, shown: &api::Evidence) {
        let number = replayed.batch.number();
        let credits = credits_of(replayed);
        if credits.len() != shown.credits.len() {
            let (got, want) = (shown.credits.len(), credits.len());
            self.problems.push(format!("batch {number}: evidence for {got} credits, the batch has {want}"));
            return;
        }
        let mut leaves = Vec::with_capacity(credits.len());
        for (at, ((job, settlement, credit), shown)) in credits.iter().zip(&shown.credits).enumerate() {
            let is_it = (shown.job, shown.settlement, shown.account) == (*job, *settlement, credit.account)
                && shown.tasks == credit.tasks
                && shown.amount.as_units() == u128::from(credit.amount);
            if !is_it {
                self.problems
                    .push(format!("batch {number}, credit {at}: the evidence is about another credit"));
                return;
            }
            match self.check_credit(shown) {
                Ok((receipts, results)) => {
                    leaves.push(ResultLeaf {
                        job: *job,
                        settlement: *settlement,
                        credit: *credit,
                        receipts,
                        results,
                    });
                }
                Err(why) => {
                    self.problems.push(format!("batch {number}, credit {at}: {why}"));
                    return;
                }
            }
        }
        let want = replayed.batch.posted.header.results_root;
        let got = results_tree(&leaves).map(|tree| results_root(&tree));
        if got.ok() != Some(want) {
            self.problems.push(format!("batch {number}: the evidence does not lead to its results root"));
            return;
        }
        self.batches += 1;
    }

    /// The digests of a credit's receipts and of their results, once all signatures hold.
    fn check_credit(&mut self, shown: &CreditEvidence) -> Result<(Digest, Digest), String> {
        let (worker, payout) = *self.workers.get(&shown.account).ok_or("nobody has this account")?;
        if shown.receipts.len() != usize::from(shown.tasks) {
            return Err(format!("{} receipts for {} tasks", shown.receipts.len(), shown.tasks));
        }
        let mut receipts = Vec::with_capacity(shown.receipts.len());
        for text in &shown.receipts {
            let bytes = hex::decode(text, EVIDENCE_BYTES_MAX).ok_or("a receipt is no hexadecimal text")?;
            let receipt: Unverified<Receipt> = codec::decode_within(&bytes, EVIDENCE_BYTES_MAX)
                .map_err(|error| format!("a receipt cannot be read: {error}"))?;
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
            receipts.push(receipt);
        }
        if !receipts.is_sorted_by(|a, b| a.body().task.slot < b.body().task.slot) {
            return Err("its receipts are not in the order of their tasks, each once".to_owned());
        }
        match &shown.acceptance {
            Some(text) => self.check_acceptance(text, shown, payout, &receipts)?,
            None => self.unaccepted += 1,
        }
        Ok((
            digest_of(receipts.iter().map(Signed::digest)),
            digest_of(receipts.iter().map(|r| r.body().result)),
        ))
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
        if self.specs.get(&said.job) != Some(&said.spec) {
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
        report.not_checked.extend(self.missing);
        report.problems.extend(self.problems);
    }
}

/// A batch's credits in their order.
fn credits_of(replayed: &Replayed) -> Vec<(JobId, u32, Credit)> {
    let ops = replayed.verdict.chunks.iter().flat_map(|chunk| &chunk.parsed.ops);
    ops.filter_map(|op| match op {
        Op::Credits(credits) => Some(credits),
        Op::Register { .. } | Op::Queue { .. } => None,
    })
    .flat_map(|op| op.credits.iter().map(move |credit| (op.job, op.settlement, *credit)))
    .collect()
}
