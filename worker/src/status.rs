//! What a worker did and is owed, out of its records alone.

use std::fmt::Write as _;

use protocol::amount::Amount;
use serde::Serialize;

use crate::core::{Fact, JobKey, JobTotals, Outcome, Pin, Records, RestoreError, Stage};
use crate::output::{Answer, SCHEMA};

/// Ended tasks that are listed one by one.
const LATEST_MAX: usize = 20;

/// The answer to `status`.
#[derive(Debug, Serialize)]
pub struct Status {
    schema: u32,
    coordinator: Option<Coordinator>,
    jobs: Vec<Job>,
    /// Units over all jobs.
    owed: u128,
    open: Vec<Open>,
    latest: Vec<Ended>,
    refusals: Vec<Refusal>,
    passed_over: Vec<PassedOver>,
}

#[derive(Debug, Serialize)]
struct Coordinator {
    id: String,
    signs_with: String,
    chain_id: u64,
    rollup: String,
    account: u32,
    payout: String,
}

#[derive(Debug, Serialize)]
struct Job {
    job: u32,
    rollup: String,
    accepted: u64,
    owed: u128,
    rejected: u64,
    disputed: u64,
    declined: u64,
    dropped: u64,
    stopped: Option<String>,
    /// Settlements that are on the base layer, as the coordinator says.
    posted: u32,
}

#[derive(Debug, Serialize)]
struct Open {
    task: String,
    price: u64,
    stage: &'static str,
}

#[derive(Debug, Serialize)]
struct Ended {
    task: String,
    at_ms: u64,
    outcome: &'static str,
    earned: u64,
    why: Option<String>,
}

/// A job of the coordinator that the worker gets no task of.
#[derive(Debug, Serialize)]
struct PassedOver {
    job: u32,
    why: String,
}

#[derive(Debug, Serialize)]
struct Refusal {
    at_ms: u64,
    why: String,
}

impl Status {
    /// Folds the facts.
    ///
    /// # Errors
    /// [`RestoreError`] if they contradict each other.
    pub fn from_facts(facts: &[Fact]) -> Result<Self, RestoreError> {
        let mut records = Records::default();
        facts.iter().try_for_each(|fact| records.apply(fact))?;
        Ok(Self::new(&records))
    }

    /// Out of a worker's records.
    pub fn new(records: &Records) -> Self {
        let open = records.open.values().map(|open| Open {
            task: open.task.id.to_string(),
            price: open.task.price,
            stage: match open.stage {
                Stage::Taken => "taken",
                Stage::Computed(_) => "computed",
                Stage::Finished { .. } => "receipt unanswered",
            },
        });
        let latest = records.ended.iter().rev().take(LATEST_MAX).map(|ended| {
            let (outcome, earned, why) = words(&ended.outcome);
            Ended { task: ended.task.to_string(), at_ms: ended.at.0, outcome, earned, why }
        });
        let passed_over = records.passed_over.iter();
        let passed_over = passed_over.map(|(key, why)| PassedOver { job: key.job.0, why: why.to_string() });
        let refusals = records.refusals.iter().rev();
        let refusals = refusals.map(|(at, reason)| Refusal { at_ms: at.0, why: reason.to_string() });
        Self {
            schema: SCHEMA,
            coordinator: records.pin().map(coordinator),
            jobs: jobs(records),
            owed: records.jobs.values().map(|totals| totals.owed).sum(),
            open: open.collect(),
            latest: latest.collect(),
            refusals: refusals.collect(),
            passed_over: passed_over.collect(),
        }
    }
}

fn coordinator(pin: &Pin) -> Coordinator {
    Coordinator {
        id: pin.node.to_string(),
        signs_with: pin.coordinator.to_string(),
        chain_id: pin.domain.chain_id,
        rollup: pin.domain.contract.to_string(),
        account: pin.account.0,
        payout: pin.payout.to_string(),
    }
}

fn jobs(records: &Records) -> Vec<Job> {
    let jobs = records.jobs.iter().map(|(key, totals)| job(records, key, totals));
    jobs.collect()
}

fn job(records: &Records, key: &JobKey, totals: &JobTotals) -> Job {
    let posted = records.posted.get(key).copied().unwrap_or(0);
    Job {
        posted,
        job: key.job.0,
        rollup: records
            .pins
            .get(key.pin as usize)
            .map_or_else(String::new, |pin| pin.domain.contract.to_string()),
        accepted: totals.accepted,
        owed: totals.owed,
        rejected: totals.rejected,
        disputed: totals.disputed,
        declined: totals.declined,
        dropped: totals.dropped,
        stopped: records.stopped.get(key).map(ToString::to_string),
    }
}

fn words(outcome: &Outcome) -> (&'static str, u64, Option<String>) {
    let why = |reason: &protocol::job::Reason| Some(reason.to_string());
    match outcome {
        Outcome::Accepted { earned } => ("accepted", *earned, None),
        Outcome::Rejected(reason) => ("rejected", 0, why(reason)),
        Outcome::Declined(reason) => ("declined", 0, why(reason)),
        Outcome::GivenUp(reason) => ("given up", 0, why(reason)),
        Outcome::Cancelled(reason) => ("cancelled", 0, why(reason)),
        Outcome::Disputed(dispute) => ("disputed", 0, Some(dispute.wrong.to_string())),
    }
}

fn tokens(units: u128) -> Amount {
    Amount::units(units)
}

impl Answer for Status {
    fn text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a String takes everything");
        text
    }
}

impl Status {
    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        match &self.coordinator {
            None => writeln!(text, "This worker has never been welcomed by a coordinator.")?,
            Some(coordinator) => {
                writeln!(text, "coordinator  {}", coordinator.id)?;
                writeln!(text, "contract     {} on chain {}", coordinator.rollup, coordinator.chain_id)?;
                writeln!(text, "account      {}, paid to {}", coordinator.account, coordinator.payout)?;
                writeln!(
                    text,
                    "owed so far  {} tokens (promised and signed; `fedroll claim` takes what is final)",
                    tokens(self.owed)
                )?;
            }
        }
        self.write_jobs(text)?;
        if !self.open.is_empty() {
            writeln!(text, "\nUnder way:")?;
            for open in &self.open {
                writeln!(text, "  {:<14} {:<20} worth {}", open.task, open.stage, tokens(open.price.into()))?;
            }
        }
        if !self.latest.is_empty() {
            writeln!(text, "\nLatest tasks (job/settlement/slot), newest first:")?;
            for ended in &self.latest {
                let earned = tokens(ended.earned.into());
                let why = ended.why.as_deref().unwrap_or("");
                writeln!(
                    text,
                    "{}",
                    format!("  {:<14} {:<10} {earned:>12}  {why}", ended.task, ended.outcome).trim_end()
                )?;
            }
        }
        for job in &self.passed_over {
            writeln!(text, "\nNo task of job {} comes here: the worker {}", job.job, job.why)?;
        }
        if let Some(last) = self.refusals.first() {
            writeln!(text, "\nLast refusal: {}", last.why)?;
        }
        Ok(())
    }

    fn write_jobs(&self, text: &mut String) -> std::fmt::Result {
        if self.jobs.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n   job  accepted          owed  rejected  disputed  declined   dropped")?;
        for job in &self.jobs {
            writeln!(
                text,
                "{:>6}  {:>8}  {:>12}  {:>8}  {:>8}  {:>8}  {:>8}",
                job.job,
                job.accepted,
                tokens(job.owed).to_string(),
                job.rejected,
                job.disputed,
                job.declined,
                job.dropped
            )?;
            if let Some(why) = &job.stopped {
                writeln!(text, "        stopped: {why}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::{AccountIndex, Address, CoordinatorId, JobId, Nonce, TaskId};
    use protocol::sign::eip712::Domain;
    use protocol::time::Millis;

    use super::*;

    #[test]
    fn an_empty_worker_and_one_that_declined_are_told_apart() {
        let empty = Status::from_facts(&[]).unwrap();
        assert_eq!(empty.text(), "This worker has never been welcomed by a coordinator.\n");
        let pin = Pin {
            node: CoordinatorId([1; 32]),
            coordinator: Address([2; 20]),
            domain: Domain { chain_id: 31337, contract: Address([3; 20]) },
            account: AccountIndex(4),
            payout: Address([5; 20]),
        };
        let task = TaskId { job: JobId(7), settlement: 1, slot: 0 };
        let facts = [
            Fact::Pinned(pin),
            Fact::Declined {
                at: Millis(5),
                task,
                nonce: Nonce([6; 32]),
                price: 9,
                reason: "too cheap".into(),
            },
            Fact::Refused { at: Millis(6), reason: "full".into() },
            Fact::PassedOver { job: JobId(8), reason: "has nothing at stake".into() },
        ];
        let status = Status::from_facts(&facts).unwrap();
        let text = status.text();
        assert!(text.contains("7/1/0          declined") && text.contains("too cheap"), "{text}");
        assert!(text.contains("Last refusal: full"), "{text}");
        assert!(text.contains("No task of job 8 comes here: the worker has nothing at stake"), "{text}");
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["jobs"][0]["declined"], 1);
        assert_eq!(json["latest"][0]["why"], "too cheap");
    }
}
