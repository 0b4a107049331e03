//! How the promises of a file fared, by everything that is final on the base layer; and what the others wait for.

use std::collections::BTreeMap;

use contracts::base_layer::{BatchOnChain, Exits};
use protocol::ids::{BatchId, JobId};
use protocol::job::SignedAcceptance;
use protocol::ledger::omission::{JobInState, Passage, Place, passage};
use protocol::ledger::{Deriver, State};
use protocol::sign::eip712::Domain;

use crate::error::CliError;
use crate::page::utc;
use crate::replay::{Replay, Replayed};

/// How a promise was broken.
pub enum Fate {
    /// Its chunk went past the account, and credited too little.
    Short(Box<(BatchOnChain, Passage)>),
    /// It is late.
    Late(Box<(BatchOnChain, JobInState)>),
}

/// Why it cannot be said of a promise that it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// It may be kept until then, in Unix seconds.
    Due(u64),
    /// A batch that decides it can be challenged until then.
    Final {
        /// Its number.
        number: BatchId,
        /// Unix seconds.
        at: u64,
    },
    /// Its time is over, and nobody has posted a batch that is dated after it.
    Batch,
    /// The rollup was frozen before its time was over: nothing will be credited, and nothing can be proven.
    Frozen,
    /// The rollup has no such job.
    NoJob,
}

impl Waits {
    /// In words.
    pub fn words(self, settle_by: u64) -> String {
        match self {
            Self::Due(until) => format!("it is to be settled by {}", utc(until)),
            Self::Final { number, at } => {
                format!("batch {number}, which decides it, is final at {}", utc(at))
            }
            Self::Batch => format!(
                "it was to be settled by {}, and no batch that is dated after that shows that it was not",
                utc(settle_by)
            ),
            Self::Frozen => format!("the rollup was frozen before {}, when it was due", utc(settle_by)),
            Self::NoJob => "the rollup has no such job".to_owned(),
        }
    }
}

/// Every promise of a file against everything that is final.
#[derive(Default)]
pub struct Findings {
    /// Promises that the ledger has kept.
    pub kept: usize,
    /// Those of another rollup, or signed by somebody else than the job's coordinator.
    pub foreign: usize,
    /// Those that it has not kept.
    pub broken: Vec<(SignedAcceptance, Fate)>,
    /// The others.
    pub waiting: Vec<(SignedAcceptance, Waits)>,
}

/// The latest promise for each place.
pub fn latest(acceptances: Vec<SignedAcceptance>) -> BTreeMap<Place, SignedAcceptance> {
    let mut open: BTreeMap<Place, SignedAcceptance> = BTreeMap::new();
    for signed in acceptances {
        let newest = open.entry(Place::from(&signed.acceptance)).or_insert(signed);
        if signed.acceptance.owed > newest.acceptance.owed {
            *newest = signed;
        }
    }
    open
}

/// Follows the ledger through every final batch, and looks where it went past each promise's place.
pub async fn compare(
    chain: &impl Exits,
    replay: &Replay,
    mut open: BTreeMap<Place, SignedAcceptance>,
) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    // What was rolled back decides nothing: only a whole replay says which batches stand.
    let mut deriver = Deriver::new(chain.deployment());
    let queue = replay.deriver.queue();
    for (index, item) in (0..queue.len()).filter_map(|index| Some((index, queue.get(index)?))) {
        deriver.queue_item(index, *item)?;
    }
    let mut newest = None;
    for Replayed { batch, .. } in replay.batches.iter().take_while(|replayed| replayed.is_final) {
        settle(&chain.domain(), &deriver, batch, &mut open, &mut findings);
        if !deriver.batch(&batch.posted, None).holds() {
            let what = format!("batch {} does not hold", batch.number());
            return Err(CliError::Mismatch { what, fix: "fedroll audit says why" }.into());
        }
        newest = Some(batch);
    }
    let standing = Standing {
        now: chain.now().await?,
        window: chain.config().challenge_window,
        frozen_at: chain.frozen_at().await?,
        replay,
        newest,
    };
    for (place, signed) in open {
        let job = JobInState::open(deriver.state(), place.job);
        let known = job.as_ref().map(|job| job.job).or(standing.state().job(place.job).copied());
        let settle_by = signed.acceptance.settle_by;
        match (standing.dated(), job) {
            _ if known.is_some_and(|job| !signed.is_from(job.coordinator, &chain.domain())) => {
                findings.foreign += 1;
            }
            (Some((batch, time)), Some(job)) if time > settle_by => {
                findings.broken.push((signed, Fate::Late(Box::new((batch.clone(), job)))));
            }
            _ => findings.waiting.push((signed, standing.waits(place, settle_by))),
        }
    }
    Ok(findings)
}

/// What the base layer says, beside the ledger.
struct Standing<'a> {
    now: u64,
    window: u64,
    frozen_at: Option<u64>,
    replay: &'a Replay,
    /// The newest final batch.
    newest: Option<&'a BatchOnChain>,
}

impl<'a> Standing<'a> {
    /// By the newest batch that holds, final or not.
    fn state(&self) -> &State {
        self.replay.deriver.state()
    }

    /// The newest final batch and the date that counts: the last of a frozen rollup counts as dated when it was frozen.
    fn dated(&self) -> Option<(&'a BatchOnChain, u64)> {
        let newest = self.newest?;
        let is_last = self.replay.batches.last().is_some_and(|last| last.is_final);
        let date = newest.posted.header.time;
        Some((newest, self.frozen_at.filter(|_| is_last).unwrap_or(date)))
    }

    fn waits(&self, place: Place, settle_by: u64) -> Waits {
        let pending = || self.replay.batches.iter().filter(|replayed| !replayed.is_final);
        let is_final_at = |replayed: &Replayed| Waits::Final {
            number: replayed.batch.number(),
            at: replayed.batch.posted_at() + self.window,
        };
        let job = self.state().job(place.job);
        let passed = job.filter(|job| place.is_passed_by(job)).and_then(|_| pending().next_back());
        let dated = pending().find(|replayed| replayed.batch.posted.header.time > settle_by);
        let last = pending().next_back().filter(|_| self.frozen_at.is_some());
        if let Some(decides) = passed.or(dated).or(last) {
            return is_final_at(decides);
        }
        match job {
            _ if self.frozen_at.is_some() => Waits::Frozen,
            None if !self.queue_names(place.job) => Waits::NoJob,
            _ if self.now <= settle_by => Waits::Due(settle_by),
            _ => Waits::Batch,
        }
    }

    fn queue_names(&self, job: JobId) -> bool {
        let queue = self.replay.deriver.queue();
        (0..queue.len()).any(|index| queue.get(index).is_some_and(|item| item.job == job))
    }
}

/// Takes out of `open` what this batch decides.
fn settle(
    domain: &Domain,
    before: &Deriver,
    batch: &BatchOnChain,
    open: &mut BTreeMap<Place, SignedAcceptance>,
    findings: &mut Findings,
) {
    open.retain(|place, signed| {
        let Some(found) = passage(before, &batch.posted, *place) else { return true };
        if !signed.is_from(found.later.job.coordinator, domain) {
            findings.foreign += 1;
        } else if found.credited >= signed.acceptance.owed {
            findings.kept += 1;
        } else {
            findings.broken.push((*signed, Fate::Short(Box::new((batch.clone(), found)))));
        }
        false
    });
}
