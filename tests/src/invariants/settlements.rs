//! Each settlement is credited once, in order, with exactly what its accepted receipts come to.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::JobId;
use protocol::ledger::{Credits, Effect, Op, Verdict};

use super::{Checked, require};
use crate::oracle::{Oracle, Owed};
use crate::sim::chain::{Ledger, Paid, Settled};

const PROPERTY: &str = "credits are the accepted receipts, once";

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
    require(oracle.closed.contains(&(*job, *settlement)), PROPERTY, || {
        format!("settlement {settlement} of job {job} is credited before it closed")
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
