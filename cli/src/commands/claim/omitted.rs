//! `fedroll claim --omitted`: what coordinators signed for and the ledger did not pay, claimed from their bonds.

mod findings;
mod plan;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use contracts::base_layer::{BaseLayer, BaseLayerWriter as _, Challenger as _, Cost};
use contracts::bonds::{ServiceBonds, ServiceBondsWriter};
use contracts::error::ChainError;
use contracts::rpc::{RpcChain, RpcWriter};
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, JobId};
use protocol::job::SignedAcceptance;
use protocol::ledger::omission::Place;
use protocol::wire::codec;
use serde::{Deserialize, Serialize};

use self::findings::{Fate, Findings, Waits};
use self::plan::Step;
use crate::args::money::Claim;
use crate::error::{CliError, file};
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Column, Page, utc};
use crate::replay::{self, Replay};
use crate::standin::{self, MayPost};

/// Steps that one run tries, waits not counted.
const STEPS_MAX: usize = 100;
/// Seconds between two looks at the chain while waiting, at most.
const LOOK_S_MAX: u64 = 30;
/// Bytes of a file of acceptances: some 50,000 of them.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one acceptance.
const ACCEPTANCE_BYTES_MAX: usize = 4096;

/// What a worker exports: `fedroll worker acceptances`.
#[derive(Debug, Deserialize)]
struct Exported {
    acceptances: Vec<String>,
}

/// The answer of `fedroll claim --omitted`.
#[derive(Debug, Default, Serialize)]
pub struct Omitted {
    dry_run: bool,
    /// Promises that the ledger has kept.
    kept: usize,
    /// Promises that nothing final decides.
    waiting: usize,
    /// Promises of another rollup, or signed by somebody else than the job's coordinator.
    foreign: usize,
    /// Promises that were not kept.
    omissions: Vec<Line>,
    /// What the waiting ones wait for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<WaitLine>,
    /// What was done so that they can be proven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Taken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Unix seconds of the base layer before which the next step cannot be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
}

/// One promise of which it cannot be said that it is broken.
#[derive(Debug, Serialize)]
struct WaitLine {
    #[serde(with = "text")]
    job: JobId,
    settlement: u32,
    #[serde(with = "text")]
    account: AccountIndex,
    #[serde(with = "text")]
    promised: Amount,
    why: String,
}

#[derive(Debug, Serialize)]
struct Taken {
    what: &'static str,
    #[serde(with = "text")]
    transaction: Keccak,
    gas: u64,
}

/// One promise that was not kept.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(with = "text")]
    job: JobId,
    settlement: u32,
    #[serde(with = "text")]
    account: AccountIndex,
    /// What was signed for.
    #[serde(with = "text")]
    promised: Amount,
    /// What the ledger credited.
    #[serde(with = "text")]
    credited: Amount,
    /// What the bond has paid.
    #[serde(with = "text")]
    paid: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(with = "text::option")]
    transaction: Option<Keccak>,
    /// What is the matter.
    why: String,
}

impl Line {
    fn is_due(&self) -> bool {
        self.credited.as_units() + self.paid.as_units() < self.promised.as_units()
    }
}

impl Report for Omitted {
    fn text(&self, page: &mut Page) {
        let columns = [
            Column::Right("job"),
            Column::Right("settlement"),
            Column::Right("promised"),
            Column::Right("credited"),
            Column::Right("bond paid"),
            Column::Left("why"),
        ];
        let rows = self.omissions.iter().map(|line| {
            vec![
                line.job.to_string(),
                (line.settlement + 1).to_string(),
                line.promised.to_string(),
                line.credited.to_string(),
                line.paid.to_string(),
                line.why.clone(),
            ]
        });
        page.table(&columns, rows, "no promise is broken");
        page.line(format_args!("{} promises are kept, {} wait", self.kept, self.waiting));
        for wait in &self.waits {
            let (job, settlement) = (wait.job, wait.settlement + 1);
            page.line(format_args!("{} of job {job}, settlement {settlement}: {}", wait.promised, wait.why));
        }
        if self.foreign > 0 {
            page.line(format_args!(
                "{} are not signed by their job's coordinator for this rollup",
                self.foreign
            ));
        }
        for step in &self.steps {
            page.line(format_args!("{} (transaction {}, {} gas)", step.what, step.transaction, step.gas));
        }
        if let Some(next) = &self.next {
            page.line(format_args!("next: {next}"));
        }
        if self.dry_run {
            page.line("nothing was sent (--dry-run)");
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(!self.omissions.iter().any(Line::is_due))
    }
}

/// Compares, proves and answers; under `--wait`, until nothing more can come of it.
pub async fn run(args: &Claim, file: &Path, out: &Output) -> anyhow::Result<ExitStatus> {
    let open = findings::latest(read(file)?);
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?.with_blobs(network.blobs()?);
    let mut key = if args.dry_run { None } else { Some(network.key(&args.key)) };
    let writer = key.as_ref().and_then(|key| Some(chain.clone().with_key(key.as_ref().ok()?)));
    let mut claim = Claimant { args, out, chain, writer, lines: BTreeMap::new(), steps: Vec::new() };
    let (mut read, mut tried) = (None, 0);
    while tried < STEPS_MAX {
        let (findings, step) = match claim.look(&mut read, &open).await {
            // Whoever waits for days outlives a node that is away for an hour.
            Err(error) if args.wait && error.downcast_ref().is_some_and(ChainError::is_retry) => {
                out.warn(format_args!("{error}; trying again"));
                tokio::time::sleep(Duration::from_secs(LOOK_S_MAX)).await;
                continue;
            }
            looked => looked?,
        };
        // Without a key one can look, as long as there is nothing to do.
        if let Some(Err(_)) = &key
            && (args.bond || claim.lines.values().any(Line::is_due))
            && let Some(Err(error)) = key.take()
        {
            return Err(error.into());
        }
        let (Some(writer), Some(replay)) = (&claim.writer, &read) else {
            return out.answer(&claim.report(findings, step).await?);
        };
        match step {
            Step::Wait { until, why } if args.wait => wait(out, writer.now().await?, until, why).await,
            Step::Done | Step::Wait { .. } | Step::NeedsBond => {
                return out.answer(&claim.report(findings, step).await?);
            }
            Step::MakeBond | Step::Post => {
                tried += 1;
                match take(writer, replay, step).await? {
                    Some(cost) => {
                        claim.steps.push(Taken { what: name(step), transaction: cost.tx, gas: cost.gas });
                    }
                    // Somebody else has done it, and what was read does not show it yet.
                    None => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        }
    }
    Err(CliError::Input(format!("no end after {STEPS_MAX} steps")).into())
}

async fn take(writer: &RpcWriter, replay: &Replay, step: Step) -> anyhow::Result<Option<Cost>> {
    if step == Step::MakeBond {
        return Ok(Some(writer.make_bond(writer.sender(), writer.config().fraud_bond).await?));
    }
    standin::post(writer, replay, writer.now().await?).await
}

async fn wait(out: &Output, now: u64, until: u64, why: &str) {
    let seconds = until.saturating_sub(now);
    let spinner = out.spinner(&format!("waiting until {} ({seconds} s): {why}", utc(until)));
    tokio::time::sleep(Duration::from_secs(seconds.clamp(1, LOOK_S_MAX))).await;
    spinner.finish_and_clear();
}

const fn name(step: Step) -> &'static str {
    match step {
        Step::Done => "nothing",
        Step::Wait { why, .. } => why,
        Step::NeedsBond => "wait for somebody to post, or post yourself with --bond",
        Step::MakeBond => "make a bond, to post the missing batch with",
        Step::Post => "post a batch that shows that time has passed",
    }
}

/// Who claims, and what has come of it.
struct Claimant<'a> {
    args: &'a Claim,
    out: &'a Output,
    chain: RpcChain,
    writer: Option<RpcWriter>,
    /// Every broken promise that was looked at.
    lines: BTreeMap<Place, Line>,
    steps: Vec<Taken>,
}

impl Claimant<'_> {
    /// Reads what came, proves what is broken, and says what comes next.
    async fn look(
        &mut self,
        read: &mut Option<Replay>,
        open: &BTreeMap<Place, SignedAcceptance>,
    ) -> anyhow::Result<(Findings, Step)> {
        let spinner = self.out.spinner("reading the base layer");
        let replay = match read {
            Some(replay) => {
                replay.advance_newest(&self.chain, &spinner).await?;
                replay
            }
            None => read.insert(replay::newest(&self.chain, &spinner).await?),
        };
        let findings = findings::compare(&self.chain, replay, open.clone()).await?;
        spinner.finish_and_clear();
        for (acceptance, fate) in &findings.broken {
            let place = Place::from(&acceptance.acceptance);
            if !self.lines.contains_key(&place) {
                let line = self.prove(acceptance, fate).await?;
                self.lines.insert(place, line);
            }
        }
        let may_post = match &self.writer {
            Some(writer) if self.args.bond => MayPost::look(writer, replay).await?,
            _ => MayPost::No,
        };
        let waits: Vec<Waits> = findings.waiting.iter().map(|(_, waits)| *waits).collect();
        let step = plan::next(&waits, self.chain.now().await?, may_post);
        Ok((findings, step))
    }

    /// Has the bond pay what is missing, if there is a key.
    async fn prove(&self, acceptance: &SignedAcceptance, fate: &Fate) -> anyhow::Result<Line> {
        let mut found = line(&self.chain, acceptance, fate).await?;
        let Some(writer) = self.writer.as_ref().filter(|_| found.is_due()) else {
            return Ok(found);
        };
        let proven = match fate {
            Fate::Short(short) => writer.prove_short_credit(&short.0, &short.1, acceptance).await,
            Fate::Late(late) => writer.prove_unsettled(&late.0, &late.1, acceptance).await,
        };
        match proven {
            Ok((paid, cost)) => {
                found.paid = found.paid.add(paid)?;
                found.transaction = Some(cost.tx);
            }
            // One that the bond cannot pay must not keep the others from being paid.
            Err(error) if error.reason().is_some() => found.why = format!("{}; {error}", found.why),
            Err(error) => return Err(error.into()),
        }
        Ok(found)
    }

    async fn report(self, findings: Findings, step: Step) -> anyhow::Result<Omitted> {
        let waits = findings.waiting.iter().map(|(signed, waits)| {
            let said = &signed.acceptance;
            WaitLine {
                job: said.job,
                settlement: said.settlement,
                account: said.account,
                promised: Amount::units(said.owed.into()),
                why: waits.words(said.settle_by),
            }
        });
        let not_before = if let Step::Wait { until, .. } = step { Some(until) } else { None };
        let next = match step {
            Step::Done => None,
            Step::Wait { until, why } => Some(format!("wait until {}: {why}", utc(until))),
            step => Some(name(step).to_owned()),
        };
        Ok(Omitted {
            dry_run: self.args.dry_run,
            kept: findings.kept,
            waiting: findings.waiting.len(),
            foreign: findings.foreign,
            waits: waits.collect(),
            omissions: self.lines.into_values().collect(),
            steps: self.steps,
            next,
            not_before,
        })
    }
}

async fn line(chain: &impl ServiceBonds, acceptance: &SignedAcceptance, fate: &Fate) -> anyhow::Result<Line> {
    let said = &acceptance.acceptance;
    let (credited, why) = match fate {
        Fate::Short(short) => (short.1.credited, format!("batch {} went past the account", short.0.number())),
        Fate::Late(_) => (0, format!("it was to be settled by {}", utc(said.settle_by))),
    };
    let paid = chain.omission_paid(Place::from(said)).await?;
    Ok(Line {
        job: said.job,
        settlement: said.settlement,
        account: said.account,
        promised: Amount::units(said.owed.into()),
        credited: Amount::units(credited.into()),
        paid: Amount::units(paid.into()),
        transaction: None,
        why,
    })
}

fn read(path: &Path) -> Result<Vec<SignedAcceptance>, CliError> {
    let length = std::fs::metadata(path).map_err(file("read", path))?.len();
    let wrong = |why: String| CliError::Input(format!("{}: {why}", path.display()));
    if length > FILE_BYTES_MAX {
        return Err(wrong(format!("{length} bytes are over the limit of {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read(path).map_err(file("read", path))?;
    let exported: Exported = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    exported
        .acceptances
        .iter()
        .map(|hex| decode(hex).ok_or_else(|| wrong(format!("not an acceptance: {hex}"))))
        .collect()
}

fn decode(text: &str) -> Option<SignedAcceptance> {
    let bytes = crate::hex::decode(text, ACCEPTANCE_BYTES_MAX)?;
    codec::decode_within(&bytes, ACCEPTANCE_BYTES_MAX).ok()
}
