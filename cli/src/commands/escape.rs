//! `fedroll escape`: a requester's escrow comes back although nobody serves the rollup. All it needs is the base layer:
//! the state is rebuilt from there, and every step is one that the contract lets anyone take.

mod plan;

use std::time::Duration;

use contracts::base_layer::{BaseLayer, BaseLayerWriter, Challenger, Exits, Leaver, ProvenJob};
use contracts::error::ChainError;
use contracts::rpc::{RpcChain, RpcWriter};
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::JobId;
use protocol::ledger::{QueueAction, State};
use serde::Serialize;

use self::plan::{JobStanding, Situation, Step};
use crate::args::escape::Escape;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Page, utc};
use crate::replay::{self, Replay};
use crate::standin::{self, MayPost};

/// Steps that one run tries, waits not counted: far more than any escape takes.
const STEPS_MAX: usize = 100;
/// Seconds between two looks at the chain while waiting, at most.
const LOOK_S_MAX: u64 = 30;

#[derive(Debug, Serialize)]
struct Escaped {
    #[serde(with = "text")]
    job: JobId,
    /// Whether nothing of the job's escrow is left inside.
    done: bool,
    dry_run: bool,
    #[serde(with = "text")]
    came_back: Amount,
    #[serde(with = "text")]
    left: Amount,
    steps: Vec<Taken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Unix seconds of the base layer before which the next step cannot be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Taken {
    what: String,
    #[serde(with = "text")]
    transaction: Keccak,
    gas: u64,
}

impl Report for Escaped {
    fn text(&self, page: &mut Page) {
        for step in &self.steps {
            page.line(format_args!("{} (transaction {}, {} gas)", step.what, step.transaction, step.gas));
        }
        if self.done {
            let job = self.job;
            page.line(match self.came_back {
                Amount::ZERO => format!("job {job} has nothing left in escrow"),
                amount => format!("{amount} tokens of job {job} came back; nothing is left in escrow"),
            });
        } else {
            page.line(format_args!("{} tokens of job {} are still inside", self.left, self.job));
        }
        if let Some(next) = &self.next {
            page.line(format_args!("next: {next}"));
        }
        if self.dry_run {
            page.line("nothing was sent (--dry-run)");
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(self.done || self.dry_run)
    }
}

/// Takes the steps that can be taken, and answers.
pub async fn run(args: &Escape, out: &Output) -> anyhow::Result<ExitStatus> {
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?.with_blobs(network.blobs()?);
    let chain = chain.with_key(&network.key(&args.key)?);
    let mut report = Escaped {
        job: args.job,
        done: false,
        dry_run: args.dry_run,
        came_back: Amount::ZERO,
        left: Amount::ZERO,
        steps: Vec::new(),
        next: None,
        not_before: None,
    };
    let mut read = None;
    // Not only those that cost something: a step that finds itself done, again and again, must end as well.
    let mut tried = 0;
    while tried < STEPS_MAX {
        let place = match Place::look(&chain, args, &mut read, out).await {
            // Whoever waits for days outlives a node that is away for an hour.
            Err(error) if args.wait && error.downcast_ref().is_some_and(ChainError::is_retry) => {
                out.warn(format_args!("{error}; trying again"));
                tokio::time::sleep(Duration::from_secs(LOOK_S_MAX)).await;
                continue;
            }
            place => place?,
        };
        report.left = place.left();
        let step = plan::next(&place.situation);
        match &step {
            Step::Done => {
                report.done = true;
                return out.answer(&report);
            }
            Step::Wait { until, why } if args.wait => {
                wait(out, place.situation.now, *until, why).await;
                continue;
            }
            Step::Wait { until, why } => {
                report.next = Some(format!("wait until {}: {why}", utc(*until)));
                report.not_before = Some(*until);
                return out.answer(&report);
            }
            step if args.dry_run => {
                report.next = Some(name(step));
                return out.answer(&report);
            }
            _ => {}
        }
        tried += 1;
        let before = report.steps.len();
        place.take(&chain, &step, args.job, &mut report).await?;
        if report.steps.len() == before {
            // Somebody else has done it, and what was read does not show it yet.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Err(CliError::Input(format!("job {}: no end after {STEPS_MAX} steps", args.job)).into())
}

async fn wait(out: &Output, now: u64, until: u64, why: &str) {
    let seconds = until.saturating_sub(now);
    let spinner = out.spinner(&format!("waiting until {} ({seconds} s): {why}", utc(until)));
    tokio::time::sleep(Duration::from_secs(seconds.clamp(1, LOOK_S_MAX))).await;
    spinner.finish_and_clear();
}

fn name(step: &Step) -> String {
    match step {
        Step::Done => "nothing".to_owned(),
        Step::Wait { why, .. } => format!("wait: {why}"),
        Step::Close => "ask for the job to be closed".to_owned(),
        Step::Nudge => {
            "pay in one unit: what waits in the queue must be consumed, or anyone may freeze".to_owned()
        }
        Step::MakeBond => "make a bond, to post the missing batches with".to_owned(),
        Step::Post => "post a batch that consumes the queue".to_owned(),
        Step::Freeze => "freeze the rollup: nobody has served it for too long".to_owned(),
        Step::Refund => "claim the refund".to_owned(),
        Step::ExitEscrow => "take the escrow out by the last state".to_owned(),
        Step::ExitQueued(items) => format!("take {} queue item(s) back that no batch consumed", items.len()),
    }
}

/// The ledger as the base layer gives it, and what follows for one job.
struct Place<'a> {
    replay: &'a Replay,
    situation: Situation,
}

impl<'a> Place<'a> {
    /// Reads on from what was read before.
    async fn look(
        chain: &RpcWriter,
        args: &Escape,
        read: &'a mut Option<Replay>,
        out: &Output,
    ) -> anyhow::Result<Self> {
        let spinner = out.spinner("rebuilding the ledger from the base layer");
        let replay = match read {
            Some(replay) => {
                replay.advance_newest(chain, &spinner).await?;
                replay
            }
            None => read.insert(replay::newest(chain, &spinner).await?),
        };
        spinner.finish_and_clear();
        standin::holds(replay)?;
        let config = chain.config();
        let (now, frozen_at) = (chain.now().await?, chain.frozen_at().await?);
        let last = replay.batches.last();
        let may_post = if args.bond { MayPost::look(chain, replay).await? } else { MayPost::No };
        let (state, queue) = (replay.deriver.state(), replay.deriver.queue());
        let waiting =
            (state.queue_position()..queue.len()).filter_map(|index| Some((index, queue.get(index)?)));
        let mut queued = Vec::new();
        for (index, item) in waiting.clone().filter(|(_, item)| item.job == args.job) {
            if item.action != QueueAction::Close && !chain.exited(index).await? {
                queued.push(index);
            }
        }
        let had = chain.claimed_refund(args.job).await?;
        let job = state.job(args.job);
        if job.is_none() && !queue_names(replay, args.job) {
            let what = format!("the rollup has no job {}", args.job);
            return Err(CliError::Mismatch { what, fix: "fedroll audit lists all jobs" }.into());
        }
        let date = last.map_or(0, |replayed| replayed.batch.posted.header.time);
        let standing = job.map(|job| JobStanding {
            left: Amount::units(job.funded.as_units() + job.refundable.as_units() - job.spent.as_units())
                .sub(had)
                .unwrap_or(Amount::ZERO),
            is_over: job.is_over_at(date),
            closing: job.closing,
        });
        let due = replay.last_final.as_ref().and_then(|(batch, state)| {
            state.job(args.job)?.refund_at(batch.posted.header.time).sub(had).ok()
        });
        let situation = Situation {
            now,
            frozen_at,
            can_freeze: frozen_at.is_none() && chain.can_freeze().await?,
            last_final_at: last
                .filter(|replayed| !replayed.is_final)
                .map(|replayed| replayed.batch.posted_at() + config.challenge_window),
            may_post,
            queue_freezes_at: waiting
                .clone()
                .next()
                .map(|(_, item)| item.time + config.inclusion_window + config.freeze_overdue + 1),
            queued,
            job: standing,
            close_queued: waiting
                .clone()
                .any(|(_, item)| item.job == args.job && item.action == QueueAction::Close),
            refund_due: due.unwrap_or(Amount::ZERO),
        };
        Ok(Self { replay, situation })
    }

    /// What of the job's money is inside.
    fn left(&self) -> Amount {
        let queue = self.replay.deriver.queue();
        let queued = self.situation.queued.iter().filter_map(|index| queue.get(*index));
        let queued = queued.map(|item| match item.action {
            QueueAction::Fund { amount, .. } | QueueAction::TopUp { amount } => amount.as_units(),
            QueueAction::Close => 0,
        });
        let escrow = self.situation.job.map_or(0, |job| job.left.as_units());
        Amount::units(escrow + queued.sum::<u128>())
    }

    async fn take(
        &self,
        chain: &RpcWriter,
        step: &Step,
        job: JobId,
        report: &mut Escaped,
    ) -> anyhow::Result<()> {
        let mut costs = Vec::new();
        match step {
            Step::Done | Step::Wait { .. } => {}
            Step::Close => costs.push(chain.close_job(job).await?),
            Step::Nudge => costs.push(chain.top_up(job, Amount::units(1)).await?),
            Step::MakeBond => costs.push(chain.make_bond(chain.sender(), chain.config().fraud_bond).await?),
            Step::Post => costs.extend(standin::post(chain, self.replay, self.situation.now).await?),
            Step::Freeze => costs.push(chain.freeze().await?),
            Step::Refund | Step::ExitEscrow => {
                let (batch, state) = self.replay.last_final.as_ref().expect("a state that it is due by");
                let proven = prove(state, job).expect("the state that it is due by has the job");
                let (amount, cost) = if *step == Step::Refund {
                    chain.claim_refund(batch, &proven).await?
                } else {
                    chain.exit_escrow(batch, &proven).await?
                };
                report.came_back = report.came_back.add(amount)?;
                costs.push(cost);
            }
            Step::ExitQueued(items) => {
                for index in items {
                    let item = self.replay.deriver.queue().get(*index).expect("it was found there");
                    let (amount, cost) = chain.exit_queued(*index, item).await?;
                    report.came_back = report.came_back.add(amount)?;
                    costs.push(cost);
                }
            }
        }
        report.steps.extend(costs.into_iter().map(|cost| Taken {
            what: name(step),
            transaction: cost.tx,
            gas: cost.gas,
        }));
        Ok(())
    }
}

fn queue_names(replay: &Replay, job: JobId) -> bool {
    let queue = replay.deriver.queue();
    (0..queue.len()).any(|index| queue.get(index).is_some_and(|item| item.job == job))
}

fn prove(state: &State, id: JobId) -> Option<ProvenJob> {
    Some(ProvenJob { id, job: *state.job(id)?, proof: state.prove_job(id)? })
}
