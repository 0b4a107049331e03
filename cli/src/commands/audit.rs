//! `fedroll audit`: every balance rebuilt from the base layer alone, every root compared.
//!
//! Nothing here links the coordinator or the worker, so the answer owes nothing to the audited.

mod challenge;
mod draws;
mod evidence;
mod exhibit;
mod metrics;
mod reexecute;
mod report;
mod serve;
mod statements;
mod watch;
mod works;

use std::collections::BTreeMap;
use std::path::Path;

use contracts::base_layer::{BaseLayer, Exits as _};
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::ResultFraud;
use protocol::ledger::{QueueAction, State};
use protocol::sign::EthKey;

use self::draws::Draws;
use self::evidence::{Evidence, Finding, Seen};
use self::exhibit::{Exhibit, Specs};
pub use self::report::AuditReport;
use self::report::{BatchLine, Totals};
use self::statements::Statements;
use self::works::{Paid, Works};
use crate::args::money::Audit;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::Output;
use crate::page::{bytes, count};
use crate::replay::{self, Replay, Replayed};
use crate::rerun::Blobs;
use crate::source::{Mirror, Source};

/// Accounts and jobs for which the token's flow is compared one by one (a call to the node each).
const FLOW_LEAVES_MAX: usize = 10_000;

/// Audits and answers.
pub async fn run(args: &Audit, out: &Output) -> anyhow::Result<ExitStatus> {
    if let Some(address) = args.serve {
        return serve::run(args, address, out).await;
    }
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let key = args.challenge.then(|| network.key(&args.key)).transpose()?;
    let chain = RpcChain::connect(&rpc, rollup).await?.with_blobs(network.blobs()?);
    if args.follow {
        let registry = args.registry.or_else(|| network.registry());
        return watch::run(args, chain, registry, key, out).await;
    }
    let shown = Shown {
        evidence: &args.evidence,
        mirror: args.mirror.as_deref(),
        registry: args.registry.or_else(|| network.registry()),
        contradictions: &args.contradictions,
        reexecute: args.reexecute,
        seed: args.sample_seed,
    };
    let report = audit(&chain, Some(shown), key.as_ref(), out).await?;
    out.answer(&report)
}

/// Evidence to look at, and what to do with it.
#[derive(Debug)]
pub struct Shown<'a> {
    /// Who shows it: coordinators and mirrors.
    evidence: &'a [String],
    /// Where to keep what holds.
    mirror: Option<&'a Path>,
    /// Where workers stake.
    registry: Option<Address>,
    /// Where to write down what contradicts itself.
    contradictions: &'a Path,
    /// The share of the tasks to run again.
    reexecute: Option<f64>,
    /// What they are drawn by, if not by chance.
    seed: Option<Keccak>,
}

/// Audits a rollup, and what is shown of it; blobs are kept in the mirror, too.
pub async fn audit(
    chain: &RpcChain,
    shown: Option<Shown<'_>>,
    key: Option<&EthKey>,
    out: &Output,
) -> anyhow::Result<AuditReport> {
    let chain = &chain.clone().with_gaps();
    let spinner = out.spinner("reading the base layer");
    let replay = replay::replay(chain, &spinner).await?;
    spinner.finish_and_clear();
    let mut report = AuditReport::new(chain, &replay);
    let mut first_wrong = None;
    for replayed in &replay.batches {
        if let Some(mirror) = shown.as_ref().and_then(|shown| shown.mirror) {
            Mirror(mirror).keep_batch_blobs(&replayed.batch.posted)?;
        }
        let mut line = BatchLine::new(replayed);
        if let Some(first) = report.unread_from {
            line.fault = None;
            line.unknown = Some(format!("it builds on batch {first}, which cannot be read"));
        } else if replayed.unreadable() {
            line.unknown = line.fault.take();
            report.unread_from = Some(line.batch);
        }
        if let (Some(fault), Some(first)) = (&mut line.fault, first_wrong) {
            // Without it the state that this one builds on cannot be derived.
            *fault = format!("it builds on batch {first}, which does not hold");
        }
        first_wrong = first_wrong.or_else(|| line.fault.as_ref().map(|_| line.batch));
        if let Some(fault) = &line.fault {
            report.problems.push(format!("batch {}: {fault}", line.batch));
            report.problems.extend(void_ops(replayed));
        }
        report.batches.push(line);
    }
    name_missing(chain, &replay, &mut report).await;
    check_contract(chain, &replay, &mut report).await?;
    check_flow(chain, &replay, &mut report).await?;
    let challenger = key.map(|key| chain.clone().with_key(key));
    if let Some(challenger) = &challenger {
        // Who shows evidence may take his time: what the base layer alone shows to be wrong does not wait for him.
        report.challenge = challenge::first_fault(challenger, &replay, &BTreeMap::new(), out).await?;
    }
    let mut wrong_results = BTreeMap::new();
    match shown.filter(|shown| !shown.evidence.is_empty()) {
        Some(shown) => match check_evidence(&shown, chain, &replay, &mut report, out).await {
            Ok(wrong) => wrong_results = wrong,
            Err(error) => {
                report.challenge.iter().for_each(|challenged| out.warn(challenged));
                return Err(error);
            }
        },
        None => report.not_checked.push(
            "receipts, acceptances and results roots: name a coordinator or a mirror with --evidence URL"
                .to_owned(),
        ),
    }
    // What lies behind a batch that does not hold is not looked at, nor behind those after it: they come first.
    if let Some(challenger) = challenger.filter(|_| !wrong_results.is_empty()) {
        let earlier = challenge::first_fault(&challenger, &replay, &wrong_results, out).await?;
        let of_chunks = std::mem::replace(&mut report.challenge, earlier);
        report.challenge_after = of_chunks;
    }
    report.conclude();
    Ok(report)
}

/// Every blob that is not to be had, and what cannot be said for want of it.
async fn name_missing(chain: &RpcChain, replay: &Replay, report: &mut AuditReport) {
    let Some(first) = report.unread_from else { return };
    for replayed in &replay.batches {
        for (hash, said) in chain.missing_blobs(&replayed.batch).await {
            let batch = replayed.batch.number();
            report.not_checked.push(format!("batch {batch}: blob {hash} is not to be had: {said}"));
        }
    }
    report.not_checked.push(format!(
        "batch {first} and all after it: what they lead to cannot be derived without its blobs; name a beacon node, \
         the coordinator (a URL) or a mirror (a folder or a URL) with --blobs"
    ));
}

/// The ops of a wrong batch that change nothing, with the rules that they break: what its poster may have applied.
fn void_ops(replayed: &Replayed) -> Vec<String> {
    let mut problems = Vec::new();
    for (chunk, applied) in replayed.verdict.chunks.iter().enumerate() {
        for (op, outcome) in applied.outcomes.iter().enumerate() {
            if let Err(why) = outcome {
                let batch = replayed.batch.number();
                problems.push(format!("batch {batch}, chunk {chunk}, op {op} changes nothing: {why}"));
            }
        }
    }
    problems
}

/// What the contract itself says of its newest batch and its queue.
async fn check_contract(chain: &RpcChain, replay: &Replay, report: &mut AuditReport) -> anyhow::Result<()> {
    for replayed in &replay.batches {
        let number = replayed.batch.number();
        let stored = chain.batch(number).await?.map(|record| record.commitment);
        if stored != Some(replayed.batch.posted.commitment) {
            report.problems.push(format!("batch {number}: the contract stores another commitment"));
        }
    }
    let newest = replay.batches.last().map(|replayed| replayed.batch.posted.header.post.root());
    report.state_root = Some(replay.deriver.state().root());
    if newest.is_some() && replay.first_fault().is_none() && newest != report.state_root {
        report.problems.push("the state rebuilt is not the one the newest batch states".to_owned());
    }
    let derived = || replay.batches.iter().take_while(|replayed| !replayed.unreadable());
    report.checked.push(format!(
        "{} ({} of payload): every operation applied again, \
         every state root, queue hash and commitment compared",
        count(derived().count() as u64, "batch", "batches"),
        bytes(derived().map(|replayed| replayed.batch.posted.data_bytes() as u64).sum())
    ));
    report
        .checked
        .push(format!("{} in their order", count(replay.deriver.queue().len(), "queue item", "queue items")));
    Ok(())
}

/// Tokens in and out: what was paid in, less what was claimed, must lie in the contract.
async fn check_flow(chain: &RpcChain, replay: &Replay, report: &mut AuditReport) -> anyhow::Result<()> {
    let state = replay.deriver.state();
    report.totals = totals(replay, state)?;
    let totals = &report.totals;
    if totals.earned.add(totals.fees)? != totals.spent {
        report.problems.push(format!(
            "workers and coordinators were credited {} and {}, jobs were debited {}",
            totals.earned, totals.fees, totals.spent
        ));
    }
    report
        .checked
        .push("what workers and coordinators were credited adds up to what jobs were debited".to_owned());
    if report.unread_from.is_some() {
        report
            .not_checked
            .push("tokens claimed so far: the balances that they rest on are not known".to_owned());
        return Ok(());
    }
    if state.accounts().count() + state.jobs().count() > FLOW_LEAVES_MAX {
        report
            .not_checked
            .push(format!("tokens claimed so far: there are more than {FLOW_LEAVES_MAX} leaves"));
        return Ok(());
    }
    let mut claimed = Amount::ZERO;
    for (index, account) in state.accounts() {
        let taken = chain.claimed(index).await?;
        if taken > account.earned {
            report
                .problems
                .push(format!("account {index} has claimed {taken} and earned {}", account.earned));
        }
        claimed = claimed.add(taken)?;
    }
    for (id, _) in state.jobs() {
        claimed = claimed.add(chain.claimed_refund(id).await?)?.add(chain.claimed_fees(id).await?)?;
    }
    claimed = claimed.add(left_the_queue(chain, replay).await?)?;
    report.totals.claimed = claimed;
    let held = chain.token_balance(chain.contract()).await?;
    let due = report.totals.paid_in.sub(claimed);
    match due {
        Ok(due) if held >= due => {
            report.checked.push(format!("the contract holds {held} tokens, {due} are owed by it"));
        }
        _ => report.problems.push(format!(
            "the contract holds {held} tokens; {} were paid in and {claimed} taken out",
            report.totals.paid_in
        )),
    }
    Ok(())
}

/// What left a frozen rollup although no batch had consumed it.
async fn left_the_queue(chain: &RpcChain, replay: &Replay) -> anyhow::Result<Amount> {
    let mut left = Amount::ZERO;
    if chain.frozen_at().await?.is_none() {
        return Ok(left);
    }
    let (queue, first) = (replay.deriver.queue(), replay.deriver.state().queue_position());
    for (index, item) in (first..queue.len()).filter_map(|index| Some((index, queue.get(index)?))) {
        if let QueueAction::Fund { amount, .. } | QueueAction::TopUp { amount } = item.action
            && chain.exited(index).await?
        {
            left = left.add(amount)?;
        }
    }
    Ok(left)
}

fn totals(replay: &Replay, state: &State) -> anyhow::Result<Totals> {
    let mut totals = Totals::default();
    for (_, account) in state.accounts() {
        totals.accounts += 1;
        totals.earned = totals.earned.add(account.earned)?;
    }
    for (_, job) in state.jobs() {
        totals.jobs += 1;
        totals.spent = totals.spent.add(job.spent)?;
        totals.fees = totals.fees.add(job.fees)?;
    }
    let queue = replay.deriver.queue();
    for index in 0..queue.len() {
        match queue.get(index).map(|item| item.action) {
            Some(QueueAction::Fund { amount, .. } | QueueAction::TopUp { amount }) => {
                totals.paid_in = totals.paid_in.add(amount)?;
            }
            Some(QueueAction::Close) | None => {}
        }
    }
    Ok(totals)
}

/// Compares what the source shows; the wrong results that it shows.
async fn check_evidence(
    shown: &Shown<'_>,
    chain: &RpcChain,
    replay: &Replay,
    report: &mut AuditReport,
    out: &Output,
) -> anyhow::Result<BTreeMap<BatchId, ResultFraud>> {
    let sources = shown.evidence.iter().map(|text| Source::open(text)).collect::<Result<Vec<_>, _>>()?;
    let bar = out.bar((replay.batches.len() * sources.len()) as u64, "evidence");
    let (mut wrong, mut paid) = (BTreeMap::new(), Paid::default());
    let (mut seen, mut specs) = (Seen::default(), Specs::new());
    let mut draws = Draws::default();
    let mirror = shown.mirror.map(Mirror);
    let mut evidence = Evidence::new(chain.domain(), chain.config().proposer, replay, &mut seen);
    let mut statements = Statements::of(chain, shown.registry).await?;
    for source in &sources {
        for replayed in replay.batches.iter().filter(|replayed| replayed.verdict.holds()) {
            bar.inc(1);
            if replayed.batch.posted.header.results_root == evidence::no_results() {
                continue;
            }
            let number = replayed.batch.number();
            match Exhibit::ask(source, number, replay.deriver.state(), &mut specs).await {
                Ok(exhibit) => {
                    let untrue = statements.take(&exhibit);
                    let shows = exhibit.evidence;
                    report.problems.extend(untrue.into_iter().map(|why| format!("batch {number}, {why}")));
                    let finding = evidence.check(replayed, &shows);
                    if let Finding::Holds = &finding {
                        paid.take(&shows);
                        draws.take(&shows);
                        if let Some(mirror) = mirror {
                            mirror.keep_evidence(number, &shows)?;
                            reexecute::keep_work(source, mirror, &shows).await?;
                        }
                    }
                    if let Finding::Provable(fraud) = finding {
                        wrong.insert(number, *fraud);
                    }
                }
                Err(error @ CliError::Unreachable { .. }) => return Err(error.into()),
                Err(error) => evidence.miss(number, &error),
            }
        }
    }
    bar.finish_and_clear();
    evidence.conclude(report);
    draws.conclude(&sources, replay, report).await;
    statements.conclude(shown.contradictions, report)?;
    let works = Works::of(&paid, &sources, replay, report).await;
    if let Some(share) = shown.reexecute {
        let blobs = Blobs { sources: &sources, mirror };
        let seed = shown.seed.map_or_else(reexecute::fresh_seed, Ok)?;
        reexecute::run(&works, (share, seed), blobs, report, out).await?;
    }
    Ok(wrong)
}
