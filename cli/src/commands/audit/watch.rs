//! `fedroll audit --follow`: every batch as it comes, and with `--challenge` a proof against each wrong one.
//!
//! Only final blocks are read, so nothing that was said is taken back by a reorganisation; a challenge window is
//! hundreds of times as long as a block takes to become final.
//!
//! Once it has begun nothing ends it but being asked to: whatever the node, a source or the disk refuses is said,
//! counted and tried again. What can be proven from the base layer alone waits for nobody who shows evidence.

mod behind;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contracts::base_layer::BaseLayer as _;
use contracts::rpc::RpcChain;
use indicatif::ProgressBar;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::{Fraud, ResultFraud};
use protocol::sign::EthKey;

use self::behind::{Answer, Behind};
use self::watched::{Watched, Wrong};
use super::challenge::{self, Challenged};
use super::evidence::{self, Evidence, Finding, Seen};
use super::exhibit::Exhibit;
use super::metrics::Metrics;
use super::statements::Statements;
use crate::args::money::Audit;
use crate::error::{CliError, file};
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::replay::{self, Posting, Replay};
use crate::signals;
use crate::source::{Mirror, Source};

/// The least time between two looks, in milliseconds.
const POLL_MS_MIN: u64 = 50;
/// The longest time between two looks when one after another fails, in seconds.
const PAUSE_S_MAX: u64 = 60;

struct Watcher<'a> {
    chain: RpcChain,
    key: Option<EthKey>,
    out: &'a Output,
    metrics: Arc<Metrics>,
    replay: Replay,
    told: BTreeSet<Posting>,
    /// Wrong ones that nothing more can be done about: they are final.
    concluded: BTreeSet<Posting>,
    /// Wrong ones that were proven, by whomever; they are looked at again for as long as they stand in final blocks,
    /// since the proof may have stood in a block that was taken back.
    proven: BTreeSet<Posting>,
    behind: Behind,
    statements: Statements,
    seen: Seen,
    /// What held, by the source that showed it.
    held: BTreeSet<(usize, Posting)>,
    contradictions: PathBuf,
    mirror: Option<PathBuf>,
    /// Batches whose blobs the mirror did not take.
    unkept: BTreeSet<Posting>,
    wrong_results: BTreeMap<BatchId, ResultFraud>,
    /// The commitment of the batch whose blobs are looked for.
    unread: Option<Keccak>,
    watched: Watched,
}

/// Watches until it is asked to stop.
pub async fn run(
    args: &Audit,
    chain: RpcChain,
    registry: Option<Address>,
    key: Option<EthKey>,
    out: &Output,
) -> anyhow::Result<ExitStatus> {
    let stop = signals::stop()?;
    tokio::pin!(stop);
    let metrics = Arc::new(Metrics::default());
    if let Some(address) = args.metrics {
        let bound = metrics.serve(address).await.map_err(file("listen on", &address.to_string()))?;
        out.line(format_args!("metrics at http://{bound}/metrics"))?;
    }
    let sources = args.evidence.iter().map(|text| Source::open(text)).collect::<Result<Vec<_>, _>>()?;
    let statements = Statements::of(&chain, registry.filter(|_| !args.evidence.is_empty())).await?;
    // What cannot be read today may be rolled back, or may be had tomorrow: neither ends the watch.
    let chain = chain.with_gaps();
    let replay = replay::replay(&chain, &out.spinner("reading the base layer")).await?;
    let pause = Duration::from_millis(args.poll_ms.max(POLL_MS_MIN));
    let mut watcher = Watcher {
        chain,
        key,
        out,
        metrics,
        replay,
        told: BTreeSet::new(),
        concluded: BTreeSet::new(),
        proven: BTreeSet::new(),
        behind: Behind::start(sources, args.mirror.clone(), pause),
        statements,
        seen: Seen::default(),
        held: BTreeSet::new(),
        contradictions: args.contradictions.clone(),
        mirror: args.mirror.clone(),
        unkept: BTreeSet::new(),
        wrong_results: BTreeMap::new(),
        unread: None,
        watched: Watched::default(),
    };
    let mut failures = 0;
    loop {
        let looked = tokio::select! {
            looked = watcher.look() => looked,
            () = &mut stop => break,
        };
        failures = match looked {
            Ok(()) => 0,
            Err(error) => {
                watcher.bear(&error)?;
                u32::saturating_add(failures, 1)
            }
        };
        let next = tokio::time::sleep(backoff(pause, failures));
        tokio::pin!(next);
        loop {
            let answer = tokio::select! {
                () = &mut next => break,
                () = &mut stop => return out.answer(&watcher.conclude()),
                answer = watcher.behind.answer() => answer,
            };
            if let Err(error) = watcher.take(answer) {
                watcher.bear(&error)?;
            }
        }
    }
    out.answer(&watcher.conclude())
}

/// The time to the next look, after so many that failed in a row.
fn backoff(pause: Duration, failures: u32) -> Duration {
    let longest = Duration::from_secs(PAUSE_S_MAX).max(pause);
    pause.saturating_mul(1 << failures.min(16)).min(longest)
}

impl Watcher<'_> {
    /// Says what went wrong; whoever watches goes on.
    ///
    /// # Errors If there is nobody left to say anything to.
    fn bear(&self, error: &anyhow::Error) -> anyhow::Result<()> {
        if let Some(closed) = error.downcast_ref::<io::Error>() {
            return Err(io::Error::from(closed.kind()).into());
        }
        self.metrics.failed.inc();
        self.out.warn(format_args!("{error}; trying again"));
        Ok(())
    }

    /// Reads what came, says it, challenges what is wrong, and only then does what depends on others.
    async fn look(&mut self) -> anyhow::Result<()> {
        self.metrics.blind.set(1);
        self.replay.advance(&self.chain, &ProgressBar::hidden()).await?;
        self.fits_together()?;
        self.metrics.blind.set(0);
        self.metrics.block.set(i64::try_from(self.replay.head.number).unwrap_or(i64::MAX));
        self.tell()?;
        let challenged = self.challenge().await;
        self.metrics.challenge_fails.set(i64::from(challenged.is_err()));
        challenged?;
        self.keep_blobs();
        self.look_for_blobs().await?;
        if !self.behind.is_idle() {
            self.statements.hear(&self.chain).await?;
        }
        let replay = &self.replay;
        self.behind.tell(|posting| replay.posted(posting).is_some(), replay.deriver.state());
        self.metrics.without_evidence.set(i64::try_from(self.behind.unshown().count()).unwrap_or(i64::MAX));
        self.write_contradictions()
    }

    /// The contract takes no batch that does not continue the one before it: a history in which one does not was read
    /// from a node that left something out, and says nothing of the batch.
    fn fits_together(&mut self) -> anyhow::Result<()> {
        let Some(first) = self.replay.first_fault().filter(|first| !first.unreadable()) else {
            return Ok(());
        };
        if Fraud::of(&self.replay.deriver, &first.batch.posted).is_some() {
            return Ok(());
        }
        let fault = first.verdict.fault.as_ref().map(ToString::to_string).unwrap_or_default();
        let what = format!(
            "the node's history does not fit together: batch {}: {fault}; it is read anew",
            first.batch.number()
        );
        self.replay.forget(&self.chain);
        Err(CliError::Mismatch { what, fix: "ask another node of the base layer" }.into())
    }

    /// Proves what is wrong, for as long as it stands.
    async fn challenge(&mut self) -> anyhow::Result<()> {
        let replay = &self.replay;
        let stands = |batch: &BatchId, fraud: &ResultFraud| {
            replay.batch(*batch).is_some_and(|stands| stands.batch.posted.commitment == fraud.commitment)
        };
        self.wrong_results.retain(|batch, fraud| stands(batch, fraud));
        let in_chunks = replay.first_fault().filter(|first| !first.unreadable());
        let in_results = self.wrong_results.keys().filter_map(|batch| replay.batch(*batch));
        let wrong: BTreeSet<_> = in_results.chain(in_chunks).map(|wrong| wrong.posting()).collect();
        self.metrics.alarm.set(i64::from(!wrong.is_empty()));
        let Some(key) = self.key.as_ref().filter(|_| !wrong.is_subset(&self.concluded)) else {
            return Ok(());
        };
        let challenger = self.chain.clone().with_key(key);
        let Some(challenged) =
            challenge::first_fault(&challenger, replay, &self.wrong_results, self.out).await?
        else {
            return Ok(());
        };
        let about = replay.batch(challenged.batch()).map(|replayed| replayed.posting());
        let is_news = match (&challenged, about) {
            (Challenged::Proven { .. }, about) => {
                self.metrics.proven.inc();
                self.proven.extend(about);
                true
            }
            (Challenged::ProvenByAnother { .. }, Some(about)) => self.proven.insert(about),
            (Challenged::Final { .. } | Challenged::NotProvable { .. }, Some(about)) => {
                self.concluded.insert(about)
            }
            (_, None) => true,
        };
        if is_news {
            self.out.line(&challenged)?;
            self.watched.challenges.push(challenged);
        }
        Ok(())
    }

    /// Asks again for the blobs that nobody had. Once they are there, everything is derived anew.
    async fn look_for_blobs(&mut self) -> anyhow::Result<()> {
        let Some(unread) = self.replay.first_unread() else {
            self.unread = None;
            self.metrics.missing_blobs.set(0);
            return Ok(());
        };
        let missing = self.chain.missing_blobs(&unread.batch).await;
        self.metrics.missing_blobs.set(i64::try_from(missing.len()).unwrap_or(i64::MAX));
        let Some((hash, said)) = missing.first() else {
            self.replay = replay::replay(&self.chain, &ProgressBar::hidden()).await?;
            return Ok(());
        };
        if self.unread.replace(unread.batch.posted.commitment) != Some(unread.batch.posted.commitment) {
            let batch = unread.batch.number();
            self.out.line(format_args!(
                "batch {batch}: blob {hash} is not to be had ({} of its blobs): {said}; looking for it",
                missing.len()
            ))?;
        }
        Ok(())
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        let mut wrong_before = None;
        let unread = self.replay.first_unread().map(|unread| unread.batch.number());
        // What follows a batch that cannot be read cannot be judged.
        for replayed in self.replay.batches.iter().take_while(|one| Some(one.batch.number()) != unread) {
            let (batch, posting) = (replayed.batch.number(), replayed.posting());
            let fault = match (&replayed.verdict.fault, wrong_before) {
                (Some(_), Some(first)) => Some(format!("it builds on batch {first}, which does not hold")),
                (Some(fault), None) => Some(fault.to_string()),
                (None, _) => None,
            };
            wrong_before = wrong_before.or_else(|| fault.as_ref().map(|_| batch));
            if !self.told.insert(posting) {
                continue;
            }
            if self.mirror.is_some() {
                self.unkept.insert(posting);
            }
            self.watched.audited += 1;
            self.metrics.batches.inc();
            self.metrics.batch.set(i64::try_from(batch.0).unwrap_or(i64::MAX));
            match fault {
                None => {
                    let credits = replayed.batch.chunks.credit_count;
                    self.out.line(format_args!("batch {batch}: {credits} credits, holds"))?;
                    let has_results = replayed.batch.posted.header.results_root != evidence::no_results();
                    if has_results {
                        self.behind.want(posting);
                    }
                }
                Some(fault) => {
                    self.metrics.wrong.inc();
                    self.out.line(format_args!("batch {batch}: does not match: {fault}"))?;
                    let commitment = replayed.batch.posted.commitment;
                    self.watched.wrong.push(Wrong { batch, commitment, fault });
                }
            }
        }
        Ok(())
    }

    /// Keeps the blobs of what was told; what a full disk does not take is tried again.
    fn keep_blobs(&mut self) {
        let Some(mirror) = &self.mirror else { return };
        let (replay, out, metrics) = (&self.replay, self.out, &self.metrics);
        let failed = metrics.not_kept.get();
        self.unkept.retain(|posting| {
            let Some(replayed) = replay.posted(*posting) else { return false };
            let kept = Mirror(mirror).keep_batch_blobs(&replayed.batch.posted);
            let Err(error) = kept else { return false };
            if metrics.not_kept.inc() == failed {
                out.warn(format_args!("the mirror does not take batch {}: {error}", posting.number()));
            }
            true
        });
    }

    /// Judges what a source answered.
    fn take(&mut self, answer: Answer) -> anyhow::Result<()> {
        let (source, posting, shown, holds) = match answer {
            Answer::Shown { source, posting, shown, holds } => (source, posting, shown, holds),
            Answer::NotKept { source, posting, error } => {
                self.metrics.not_kept.inc();
                self.behind.want_again(source, posting);
                return Err(error.into());
            }
        };
        // It may have been rolled back meanwhile.
        if !self.behind.came(source, posting) || self.replay.posted(posting).is_none() {
            return Ok(());
        }
        // Nobody listens once the watch ends.
        let _ = holds.send(self.judge(source, posting, &shown)?);
        self.write_contradictions()
    }

    /// Compares what is shown with what was posted; whether it holds.
    fn judge(&mut self, source: usize, posting: Posting, shown: &Exhibit) -> anyhow::Result<bool> {
        let Some(replayed) = self.replay.posted(posting) else { return Ok(false) };
        let (batch, commitment) = (posting.number(), replayed.batch.posted.commitment);
        let mut faults = self.statements.take(shown);
        let operator = self.chain.config().proposer;
        let mut evidence = Evidence::new(self.chain.domain(), operator, &self.replay, &mut self.seen);
        let holds = match evidence.check(replayed, &shown.evidence) {
            Finding::Holds => true,
            Finding::Wrong(why) => {
                faults.push(why);
                false
            }
            Finding::Provable(fraud) => {
                faults.push(evidence::wrong_result_of(&fraud));
                self.wrong_results.insert(batch, *fraud);
                false
            }
        };
        if holds && self.held.insert((source, posting)) {
            self.out.line(format_args!("batch {batch}: its evidence holds"))?;
        }
        for fault in faults {
            self.metrics.wrong.inc();
            self.out.line(format_args!("batch {batch}: does not match: {fault}"))?;
            self.watched.wrong.push(Wrong { batch, commitment, fault });
        }
        Ok(holds)
    }

    fn write_contradictions(&mut self) -> anyhow::Result<()> {
        for found in self.statements.write(&self.contradictions)? {
            self.metrics.contradictions.inc();
            self.out.line(found.words())?;
            self.watched.contradictions.push(found);
        }
        Ok(())
    }

    /// What it saw.
    fn conclude(mut self) -> Watched {
        self.watched.without_evidence = self.behind.unshown().map(|posting| posting.number().0).collect();
        self.watched.unread_from = self.replay.first_unread().map(|unread| unread.batch.number().0);
        self.watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_fail_come_less_and_less_often_and_never_end() {
        let pause = Duration::from_secs(2);
        assert_eq!([0, 1, 3].map(|failures| backoff(pause, failures).as_secs()), [2, 4, 16]);
        assert_eq!([5, 40, u32::MAX].map(|failures| backoff(pause, failures).as_secs()), [60; 3]);
        assert_eq!(backoff(Duration::from_secs(300), 7).as_secs(), 300);
    }
}
