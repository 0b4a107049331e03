//! The core's state in the shapes of the API.

use protocol::amount::Amount;
use protocol::api::{
    ApprovalStatus, BatchList, BatchStatus, CreditEvidence, EligibleWorker, EvaluatedBy, Evidence,
    IneligibleWorker, JobPhase, JobStatus, LogEntry, LogPage, Plan, RoundStatus, RunningTask, SCHEMA,
    TaskHistory, WorkerHistory, WorkerList, WorkerStatus,
};
use protocol::ids::{BatchId, JobId, SpecHash, TaskId, WorkerId};
use protocol::job::{Evaluation, JobSpec, TrainData, Work};
use protocol::ledger::{Op, parse_chunk};
use protocol::wire::codec;

use super::Api;
use crate::core::Coordinator;
use crate::core::jobs::{Job, Round};
use crate::core::settlement::AcceptedReceipt;
use crate::core::workers::{TaskEnd, Worker};

/// What a job asks for beside data, in words.
fn staked(spec: &JobSpec) -> String {
    spec.stake
        .map_or(String::new(), |asked| format!(" and {} tokens at stake", Amount::units(asked.least.into())))
}

/// What a job would cost and who could do it.
pub fn plan(core: &Coordinator, spec: &JobSpec) -> Plan {
    let (mut eligible, mut ineligible) = (Vec::new(), Vec::new());
    for (worker, known) in core.workers().iter().filter(|(_, worker)| worker.session.is_some()) {
        match known.unfit(spec, core.stakes()) {
            Some(reason) => ineligible.push(IneligibleWorker { worker, reason }),
            None => eligible.push(EligibleWorker { worker, examples: examples(known, spec) }),
        }
    }
    let mut problems = Vec::new();
    let tag = match &spec.work {
        Work::Train(train) => train.data.tag(),
        Work::Infer(_) => None,
    };
    if let (Work::Train(train), Some(tag)) = (&spec.work, tag)
        && (eligible.len() as u64) < u64::from(train.round.quorum)
    {
        problems.push(format!(
            "a round needs {} workers with data tagged '{}'{}; {} are connected",
            train.round.quorum,
            tag,
            staked(spec),
            eligible.len()
        ));
    }
    if tag.is_none() && eligible.is_empty() {
        problems.push(match spec.stake {
            Some(_) => format!("no worker that could do it{} is connected", staked(spec)),
            None => "no worker is connected".into(),
        });
    }
    problems.extend(core.stakes().unwatched(spec).map(|reason| reason.to_string()));
    Plan {
        schema: SCHEMA,
        spec: spec.hash(),
        budget: Amount::units(spec.budget()),
        eligible,
        ineligible,
        problems,
    }
}

fn examples(worker: &Worker, spec: &JobSpec) -> u64 {
    match (&spec.work, &worker.session) {
        (Work::Train(train), Some(session)) => match &train.data {
            TrainData::Local(tag) => session.abilities.data.examples(tag).unwrap_or(0),
            TrainData::Job(_) => 0,
        },
        _ => 0,
    }
}

/// A job by its spec's hash: funded, or still waiting for its funding.
pub fn by_spec(core: &Coordinator, hash: SpecHash) -> Option<JobStatus> {
    if let Some(job) = core.jobs().values().rev().find(|job| job.spec_hash == hash) {
        return Some(self::job(core, job, true));
    }
    let known = core.specs().get(&hash)?;
    let mut unfunded = Job::new(JobId(0), hash, known.requester);
    unfunded.spec = Some(known.spec.clone());
    unfunded.phase = JobPhase::Unfunded;
    let mut status = self::job(core, &unfunded, false);
    status.job = None;
    status.funded = Amount::ZERO;
    status.spent = Amount::ZERO;
    status.why = "its funding has not been seen in a final block of the base layer".into();
    Some(status)
}

/// A job, with its rounds or without.
pub fn job(core: &Coordinator, job: &Job, with_rounds: bool) -> JobStatus {
    let leaf = core.batches().state().job(job.id);
    let spent = leaf.map_or(Amount::ZERO, |leaf| leaf.spent);
    let funded = Amount::units(core.batches().escrow_left(job.id) + spent.as_units());
    let rounds: Vec<RoundStatus> = if with_rounds {
        (0..).zip(&job.rounds).map(|(number, round)| self::round(job, number, round)).collect()
    } else {
        Vec::new()
    };
    let settled = (0..job.next_sealed).filter(|number| job.pays_in(*number)).count() as u32;
    let done = job.phase == JobPhase::Settling || job.phase == JobPhase::Done;
    JobStatus {
        schema: SCHEMA,
        job: Some(job.id),
        spec: job.spec_hash,
        name: job.spec.as_ref().map_or(String::new(), |spec| spec.name.to_string()),
        kind: match job.spec.as_ref().map(|spec| &spec.work) {
            Some(Work::Train(_)) => "train",
            Some(Work::Infer(_)) => "infer",
            None => "unknown",
        }
        .into(),
        requester: Some(job.requester),
        phase: job.phase,
        why: core.why(job),
        funded,
        spent,
        round_count: job.spec.as_ref().map_or(0, |spec| spec.work.rounds()),
        settled,
        settlements: job.spec.as_ref().map_or(0, |spec| spec.full_settlements()).max(settled),
        approval: job.spec.as_ref().filter(|spec| spec.approve).map(|spec| ApprovalStatus {
            next: job.next_to_approve(),
            settlements: spec.settlements(),
            up_to: Amount::units(spec.settlement_pay().into()),
            awaited: job.is_live() && job.round_to_open().is_some() && job.unapproved(core.now()).is_some(),
        }),
        model: job.model,
        evaluated_by: match job.spec.as_ref().map(|spec| &spec.work) {
            Some(Work::Train(train)) => match train.evaluation {
                Evaluation::None => EvaluatedBy::Nobody,
                Evaluation::Workers => EvaluatedBy::Workers,
                Evaluation::Coordinator { .. } => EvaluatedBy::Coordinator,
            },
            Some(Work::Infer(_)) | None => EvaluatedBy::Nobody,
        },
        evaluated: job.rounds.iter().rev().find_map(|round| round.evaluated),
        items: job.items,
        answers: if done { job.answers.iter().flatten().copied().collect() } else { Vec::new() },
        bytes_up: job.bytes_up,
        bytes_down: job.bytes_down,
        rounds,
    }
}

fn round(job: &Job, number: u32, round: &Round) -> RoundStatus {
    let running =
        job.open.iter().find_map(|(settlement, open)| Some((*settlement, open, open.part(number)?)));
    let running = running.map(|(settlement, open, part)| {
        open.assignments_in(part.slots.clone())
            .map(|(slot, assignment)| RunningTask {
                task: TaskId { job: job.id, settlement, slot },
                worker: assignment.worker,
                done: assignment.progress.0,
                of: assignment.progress.1,
            })
            .collect()
    });
    RoundStatus {
        round: number,
        began_ms: round.began.0,
        closed_ms: round.closed.map(|at| at.0),
        asked: round.asked,
        accepted: round.accepted.len() as u32,
        model: round.model,
        loss: round.loss,
        evaluated: round.evaluated,
        running: running.unwrap_or_default(),
    }
}

/// A job's log after an entry.
pub fn log(job: &Job, after: u64) -> LogPage {
    let entries = job.log.iter().filter(|(seq, ..)| *seq > after);
    let entries = entries.map(|(seq, at, text)| LogEntry { seq: *seq, at_ms: at.0, text: text.clone() });
    LogPage { schema: SCHEMA, entries: entries.collect() }
}

/// Every worker, by account.
pub fn workers(core: &Coordinator) -> WorkerList {
    let mut workers: Vec<_> = core.workers().iter().map(|(id, worker)| status(core, id, worker)).collect();
    workers.sort_by_key(|worker| worker.account);
    WorkerList { schema: SCHEMA, workers }
}

fn status(core: &Coordinator, id: WorkerId, worker: &Worker) -> WorkerStatus {
    let earned =
        core.batches().state().account(worker.account).map_or(Amount::ZERO, |account| account.earned);
    WorkerStatus {
        worker: id,
        account: worker.account,
        payout: worker.payout,
        connected: worker.session.is_some(),
        running: worker.assigned.len() as u32,
        accepted: worker.accepted,
        failed: worker.failed,
        earned,
    }
}

/// What became of a worker's tasks.
pub fn worker_history(core: &Coordinator, id: WorkerId) -> Option<WorkerHistory> {
    let worker = core.workers().get(id)?;
    let tasks = worker.history.iter().map(|record| {
        let (outcome, why, owed, batch) = match &record.end {
            None => ("running", String::new(), 0, None),
            Some(TaskEnd::Accepted { owed, batch }) => ("accepted", String::new(), *owed, *batch),
            Some(TaskEnd::Ended { outcome, why }) => (outcome.word(), why.to_string(), 0, None),
        };
        TaskHistory {
            task: record.task,
            assigned_ms: record.at.0,
            outcome: outcome.into(),
            why,
            owed: Amount::units(owed.into()),
            batch,
        }
    });
    Some(WorkerHistory { schema: SCHEMA, worker: status(core, id, worker), tasks: tasks.collect() })
}

/// Every batch.
pub fn batches(core: &Coordinator) -> BatchList {
    let finalised = core.batches().finalised();
    let batches = core.batches().records().iter().enumerate().map(|(place, record)| BatchStatus {
        batch: record.header.number,
        state: match record.posted {
            None => "sealed",
            Some(_) if place < finalised => "final",
            Some(_) => "posted",
        }
        .into(),
        root: record.header.post.root(),
        credits: record.credits,
        bytes: record.bytes,
        transaction: record.posted.map(|posted| posted.transaction),
        gas: record.posted.map(|posted| posted.gas),
        final_at: record.posted.map(|posted| posted.final_at),
    });
    BatchList { schema: SCHEMA, batches: batches.collect() }
}

/// Why there is no evidence to give.
#[derive(Clone, Copy, Debug)]
pub enum NoEvidence {
    /// No such batch.
    UnknownBatch,
    /// It is kept no longer.
    Gone {
        /// The job.
        job: JobId,
        /// The settlement.
        settlement: u32,
    },
}

/// What lies behind a batch's credits, in their order.
pub fn evidence(core: &Coordinator, number: BatchId, api: &Api) -> Result<Evidence, NoEvidence> {
    let place = (number.0 as usize).checked_sub(1).ok_or(NoEvidence::UnknownBatch)?;
    let record = core.batches().records().get(place).ok_or(NoEvidence::UnknownBatch)?;
    let mut credits = Vec::new();
    for bytes in &record.chunks {
        for op in parse_chunk(bytes).ops {
            let Op::Credits(group) = op else { continue };
            let gone = NoEvidence::Gone { job: group.job, settlement: group.settlement };
            let job = core.jobs().get(&group.job).ok_or(gone)?;
            let settlement = job.closed.get(&group.settlement).ok_or(gone)?;
            let spec = job.spec.as_ref().ok_or(gone)?;
            for credit in group.credits {
                let receipts: Vec<&AcceptedReceipt> = settlement
                    .receipts()
                    .map(|(_, accepted)| accepted)
                    .filter(|accepted| accepted.account == credit.account)
                    .collect();
                let promise =
                    receipts.last().and_then(|last| core.promise(job, settlement, group.settlement, last));
                credits.push(CreditEvidence {
                    job: group.job,
                    settlement: group.settlement,
                    account: credit.account,
                    tasks: credit.tasks,
                    amount: Amount::units(credit.amount.into()),
                    receipts: receipts
                        .iter()
                        .map(|accepted| hex(&codec::encode(&accepted.receipt.clone().into_wire())))
                        .collect(),
                    check_secret: (spec.checks.rate_bps > 0)
                        .then(|| core.check_secret(group.job, group.settlement)),
                    acceptance: promise.map(|promise| hex(&codec::encode(&api.sign(promise)))),
                });
            }
        }
    }
    Ok(Evidence { schema: SCHEMA, credits })
}

/// Bytes as the API writes them.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
