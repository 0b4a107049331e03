//! Each settlement is credited once, in order, with exactly what its accepted receipts come to.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::JobId;
use protocol::job::Work;
use protocol::ledger::{Credits, Effect, Op, Verdict};
use protocol::time::Millis;

use super::{Checked, Violation, require};
use crate::oracle::{OpenedRound, Oracle, Owed};
use crate::sim::ledger::{Ledger, Paid, Settled};

const WITHIN_TERMS: &str = "rounds begin once, in settlements that the job's terms know";
const APPROVED: &str = "nothing begins that its requester has not approved, where a job asks for it";
const PROPERTY: &str = "credits are the accepted receipts, once";

/// A round has begun, or goes on: which of its tasks are wanted there.
///
/// # Errors
/// If its settlement is closed, full or none that the job's terms know, or if the round is done or under way elsewhere.
pub fn opened(
    oracle: &Oracle,
    at: Millis,
    job: JobId,
    settlement: u32,
    round: u32,
    slots: u32,
) -> Result<OpenedRound, Violation> {
    let Some(spec) = oracle.spec(job) else {
        return Err(Violation::new(WITHIN_TERMS, format!("job {job} begins a round without a spec")));
    };
    let rounds = oracle.opened.get(&(job, settlement)).map_or(0, Vec::len) as u32;
    let (most, closed) = (spec.settlements(), oracle.closed.contains(&(job, settlement)));
    require(settlement < most && !closed && rounds < spec.settlement_rounds, WITHIN_TERMS, || {
        format!("round {round} of job {job} begins in settlement {settlement} of {most}, which has {rounds}")
    })?;
    let approved = oracle.approved.get(&(job, settlement)).is_some_and(|most| *most >= spec.settlement_pay());
    require(approved || !spec.approve, APPROVED, || {
        format!("round {round} of job {job} begins in settlement {settlement}, which nobody approved")
    })?;
    let of_job = oracle.opened.iter().filter(|((other, _), _)| *other == job);
    let under_way = of_job
        .filter(|(key, _)| !oracle.closed.contains(key))
        .any(|(_, rounds)| rounds.iter().any(|opened| opened.round == round));
    require(!under_way && !oracle.done.contains(&(job, round)), WITHIN_TERMS, || {
        format!("round {round} of job {job} begins in settlement {settlement}; it is done, or under way")
    })?;
    let have = oracle.receipts(job, round).count() as u32;
    let places: Vec<u32> = match &spec.work {
        Work::Train(train) if train.data.tag().is_some() => (have..spec.work.round_tasks()).collect(),
        Work::Train(train) => {
            let done = oracle.accepted.keys().filter(|task| task.job == job);
            let done: BTreeSet<u32> = done
                .filter_map(|task| oracle.round_of(*task))
                .filter(|(opened, _)| opened.round == round)
                .map(|(_, place)| place % train.round.workers)
                .collect();
            let all = 0..spec.work.round_tasks();
            all.filter(|place| !done.contains(&(place % train.round.workers))).collect()
        }
        Work::Infer(infer) => {
            let answered = |input: usize| {
                let mut tasks = oracle.accepted.keys().filter(|task| task.job == job);
                tasks.any(|task| oracle.input_of(*task) == Some(input))
            };
            (0..)
                .zip(infer.blobs_of(round))
                .filter(|(_, at)| !answered(*at))
                .map(|(place, _)| place)
                .collect()
        }
    };
    require(places.len() as u32 == slots && slots > 0, WITHIN_TERMS, || {
        format!("round {round} of job {job} asks for {slots} results; {} are wanted", places.len())
    })?;
    Ok(OpenedRound { round, at, places })
}

/// A batch has been posted: adds its credits to what was paid before.
///
/// # Errors
/// If it credits anything but what is owed.
pub fn credit(
    oracle: &Oracle,
    verdict: &Verdict,
    settlements: &mut BTreeMap<(JobId, u32), Settled>,
    closed: &mut BTreeSet<(JobId, u32)>,
) -> Checked {
    for chunk in &verdict.chunks {
        for (op, outcome) in chunk.parsed.ops.iter().zip(&chunk.outcomes) {
            let (Op::Credits(credits), Ok(Effect::Credited { fee, .. })) = (op, outcome) else { continue };
            let key = (credits.job, credits.settlement);
            require(!closed.contains(&key), PROPERTY, || {
                format!("settlement {} of job {} is credited after it closed", key.1, key.0)
            })?;
            let settled = settlements.entry(key).or_default();
            one_op(oracle, credits, settled)?;
            if credits.last {
                whole(oracle, credits, settled, fee.as_units())?;
                closed.insert(key);
            }
        }
    }
    Ok(())
}

fn one_op(oracle: &Oracle, credits: &Credits, settled: &mut Settled) -> Checked {
    let Credits { job, settlement, .. } = credits;
    let rounds = oracle.spec(*job).map_or(0, |spec| spec.work.rounds());
    let needless =
        credits.credits.is_empty() && (0..rounds).all(|round| oracle.done.contains(&(*job, round)));
    require(needless || oracle.closed.contains(&(*job, *settlement)), PROPERTY, || {
        format!(
            "settlement {settlement} of job {job} is credited before it closed, or closed before the job is done"
        )
    })?;
    let book = oracle.owed.get(&(*job, *settlement));
    for credit in &credits.credits {
        let owed = book.and_then(|book| book.get(&credit.account)).copied().unwrap_or_default();
        let paid = Paid { tasks: credit.tasks.into(), units: credit.amount };
        require((owed.tasks, owed.units) == (paid.tasks, paid.units), PROPERTY, || {
            format!(
                "account {} gets {paid:?} in settlement {settlement} of job {job}; its receipts come to {owed:?}",
                credit.account
            )
        })?;
        let before = settled.insert(credit.account, paid);
        require(before.is_none(), PROPERTY, || {
            format!("account {} is credited twice in settlement {settlement} of job {job}", credit.account)
        })?;
    }
    Ok(())
}

fn whole(oracle: &Oracle, credits: &Credits, settled: &Settled, fee: u128) -> Checked {
    let Credits { job, settlement, .. } = credits;
    let owed: Vec<(_, Owed)> = oracle
        .owed
        .get(&(*job, *settlement))
        .into_iter()
        .flatten()
        .map(|(account, owed)| (*account, *owed))
        .collect();
    require(owed.len() == settled.len(), PROPERTY, || {
        format!("settlement {settlement} of job {job} closes with {settled:?}; owed are {owed:?}")
    })?;
    let sum: u128 = settled.values().map(|paid| u128::from(paid.units)).sum();
    let bps = oracle.spec(*job).map_or(0, |spec| u128::from(spec.fee_bps));
    require(fee == sum * bps / 10_000, PROPERTY, || {
        format!("settlement {settlement} of job {job} pays {sum} units and a fee of {fee}")
    })
}

/// At the end no accepted receipt is left without its credit.
///
/// # Errors
/// If one is.
pub fn nothing_left(oracle: &Oracle, ledger: &Ledger) -> Checked {
    for ((job, settlement), owed) in &oracle.owed {
        require(ledger.closed().contains(&(*job, *settlement)), PROPERTY, || {
            format!("settlement {settlement} of job {job} was never closed; owed are {owed:?}")
        })?;
    }
    Ok(())
}
