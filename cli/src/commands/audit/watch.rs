//! `fedroll audit --follow`: every batch as it comes, and with `--challenge` a proof against each wrong one.
//!
//! Only final blocks are read, so nothing that was said is taken back by a reorganisation; a challenge window is
//! hundreds of times as long as a block takes to become final.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contracts::base_layer::BaseLayer as _;
use contracts::error::ChainError;
use contracts::rpc::RpcChain;
use indicatif::ProgressBar;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::ResultFraud;
use protocol::sign::EthKey;
use serde::Serialize;

use super::challenge::{self, Challenged};
use super::evidence::{self, Evidence, Finding};
use super::metrics::Metrics;
use super::reexecute;
use super::statements::{Found, Statements};
use crate::args::money::Audit;
use crate::error::{CliError, file};
use crate::exit::ExitStatus;
use crate::output::{Output, Report};
use crate::page::Page;
use crate::replay::{self, Replay};
use crate::signals;
use crate::source::{Mirror, Source};

/// The least time between two looks, in milliseconds.
const POLL_MS_MIN: u64 = 50;

/// What a watcher saw, once it is asked to stop.
#[derive(Debug, Default, Serialize)]
pub struct Watched {
    audited: u64,
    wrong: Vec<Wrong>,
    challenges: Vec<Challenged>,
    /// Workers that stated two results for one task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contradictions: Vec<Found>,
    /// Batches that hold, and whose evidence nobody showed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without_evidence: Vec<u64>,
    /// The first batch whose blobs were not to be had; it and all after it were not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_from: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Wrong {
    #[serde(with = "text")]
    batch: BatchId,
    #[serde(with = "text")]
    commitment: Keccak,
    fault: String,
}

impl Report for Watched {
    fn text(&self, page: &mut Page) {
        page.line(format_args!("{} batches audited, {} of them wrong", self.audited, self.wrong.len()));
        for wrong in &self.wrong {
            let bad = page.bad("does not match");
            page.line(format_args!("{bad}: batch {}: {}", wrong.batch, wrong.fault));
        }
        self.challenges.iter().for_each(|challenge| page.line(challenge));
        for found in &self.contradictions {
            page.line(found.words());
        }
        for batch in &self.without_evidence {
            page.line(format_args!("nobody showed what lies behind batch {batch}"));
        }
        if let Some(batch) = self.unread_from {
            page.line(format_args!("batch {batch} and all after it: not judged for want of blobs"));
        }
    }

    fn status(&self) -> ExitStatus {
        match (self.wrong.is_empty() && self.contradictions.is_empty(), self.unread_from) {
            (true, Some(_)) => ExitStatus::Error,
            (holds, _) => ExitStatus::from_answer(holds),
        }
    }
}

struct Watcher<'a> {
    chain: RpcChain,
    key: Option<EthKey>,
    out: &'a Output,
    metrics: Arc<Metrics>,
    replay: Replay,
    told: BTreeSet<Keccak>,
    challenged: BTreeSet<Keccak>,
    /// One for each source of evidence.
    looking: Vec<Looking>,
    statements: Statements,
    contradictions: PathBuf,
    mirror: Option<PathBuf>,
    wrong_results: BTreeMap<BatchId, ResultFraud>,
    /// The commitment of the batch whose blobs are looked for.
    unread: Option<Keccak>,
    watched: Watched,
}

/// Where evidence is looked for, and for which batches.
struct Looking {
    source: Source,
    missing: BTreeMap<BatchId, Keccak>,
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
    let looking = sources.into_iter().map(|source| Looking { source, missing: BTreeMap::new() }).collect();
    let statements = Statements::of(&chain, registry.filter(|_| !args.evidence.is_empty())).await?;
    // What cannot be read today may be rolled back, or may be had tomorrow: neither ends the watch.
    let chain = chain.with_gaps();
    let replay = replay::replay(&chain, &out.spinner("reading the base layer")).await?;
    let (told, challenged, wrong_results, unread, watched) = Default::default();
    let mirror = args.mirror.clone();
    let mut watcher = Watcher {
        chain,
        key,
        out,
        metrics,
        replay,
        told,
        challenged,
        looking,
        statements,
        contradictions: args.contradictions.clone(),
        mirror,
        wrong_results,
        unread,
        watched,
    };
    let pause = Duration::from_millis(args.poll_ms.max(POLL_MS_MIN));
    loop {
        let looked = tokio::select! {
            looked = watcher.look() => looked,
            () = &mut stop => break,
        };
        if let Err(error) = looked {
            // A node that is away comes back; anything else is no passing trouble.
            if !error.downcast_ref().is_some_and(ChainError::is_retry) {
                return Err(error);
            }
            watcher.metrics.failed.inc();
            out.warn(format_args!("{error}; trying again"));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stop => break,
        }
    }
    out.answer(&watcher.conclude())
}

impl Watcher<'_> {
    /// Reads what came, says it, and challenges what is wrong.
    async fn look(&mut self) -> anyhow::Result<()> {
        self.replay.advance(&self.chain, &ProgressBar::hidden()).await?;
        self.look_for_blobs().await?;
        self.tell()?;
        self.look_behind().await?;
        self.metrics.block.set(i64::try_from(self.replay.head.number).unwrap_or(i64::MAX));
        let first = self.replay.first_fault().filter(|first| !first.unreadable());
        let first = first.map(|wrong| wrong.batch.posted.commitment);
        let wrong = self.wrong_results.values().map(|fraud| fraud.commitment).chain(first);
        let wrong: BTreeSet<_> = wrong.filter(|wrong| self.stands(*wrong)).collect();
        self.metrics.alarm.set(i64::from(!wrong.is_empty()));
        let Some(key) = self.key.as_ref().filter(|_| !wrong.is_subset(&self.challenged)) else {
            return Ok(());
        };
        let challenger = self.chain.clone().with_key(key);
        let challenged =
            challenge::first_fault(&challenger, &self.replay, &self.wrong_results, self.out).await?;
        if let Some(challenged) = challenged {
            self.challenged.extend(wrong);
            self.metrics.proven.inc_by(u64::from(matches!(challenged, Challenged::Proven { .. })));
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

    fn stands(&self, commitment: Keccak) -> bool {
        self.replay.batches.iter().any(|replayed| replayed.batch.posted.commitment == commitment)
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        let mut wrong_before = None;
        let unread = self.replay.first_unread().map(|unread| unread.batch.number());
        // What follows a batch that cannot be read cannot be judged.
        for replayed in self.replay.batches.iter().take_while(|one| Some(one.batch.number()) != unread) {
            let (batch, commitment) = (replayed.batch.number(), replayed.batch.posted.commitment);
            let fault = match (&replayed.verdict.fault, wrong_before) {
                (Some(_), Some(first)) => Some(format!("it builds on batch {first}, which does not hold")),
                (Some(fault), None) => Some(fault.to_string()),
                (None, _) => None,
            };
            wrong_before = wrong_before.or_else(|| fault.as_ref().map(|_| batch));
            if !self.told.insert(commitment) {
                continue;
            }
            if let Some(mirror) = &self.mirror {
                Mirror(mirror).keep_batch_blobs(&replayed.batch.posted)?;
            }
            self.watched.audited += 1;
            self.metrics.batches.inc();
            self.metrics.batch.set(i64::try_from(batch.0).unwrap_or(i64::MAX));
            match fault {
                None => {
                    let credits = replayed.batch.chunks.credit_count;
                    self.out.line(format_args!("batch {batch}: {credits} credits, holds"))?;
                    let has_results = replayed.batch.posted.header.results_root != evidence::no_results();
                    for looking in self.looking.iter_mut().filter(|_| has_results) {
                        looking.missing.insert(batch, commitment);
                    }
                }
                Some(fault) => {
                    self.metrics.wrong.inc();
                    self.out.line(format_args!("batch {batch}: does not match: {fault}"))?;
                    self.watched.wrong.push(Wrong { batch, commitment, fault });
                }
            }
        }
        Ok(())
    }

    /// Asks for the evidence that is missing. Who has it may be away, and may come back.
    async fn look_behind(&mut self) -> anyhow::Result<()> {
        let replay = &self.replay;
        let stands = |batch: &BatchId, commitment: &Keccak| {
            replay.batch(*batch).is_some_and(|stands| stands.batch.posted.commitment == *commitment)
        };
        self.wrong_results.retain(|batch, fraud| stands(batch, &fraud.commitment));
        for looking in &mut self.looking {
            looking.missing.retain(|batch, commitment| stands(batch, commitment));
        }
        if self.looking.iter().any(|looking| !looking.missing.is_empty()) {
            self.statements.hear(&self.chain).await?;
        }
        let mut faults = Vec::new();
        for looking in &mut self.looking {
            let mut evidence = Evidence::new(self.chain.domain(), self.chain.config().proposer, replay);
            for batch in looking.missing.keys().copied().collect::<Vec<_>>() {
                let Some(replayed) = replay.batch(batch) else { continue };
                let shown = match looking.source.evidence(batch).await {
                    Ok(shown) => shown,
                    Err(CliError::Unreachable { .. }) => break,
                    Err(_) => continue,
                };
                let commitment = replayed.batch.posted.commitment;
                looking.missing.remove(&batch);
                let state = replay.deriver.state();
                let untrue = self.statements.take(&looking.source, state, &shown).await;
                faults.extend(untrue.into_iter().map(|fault| Wrong { batch, commitment, fault }));
                let fault = match evidence.check(replayed, &shown) {
                    Finding::Holds => {
                        if let Some(mirror) = &self.mirror {
                            Mirror(mirror).keep_evidence(batch, &shown)?;
                            reexecute::keep_work(&looking.source, Mirror(mirror), &shown).await?;
                        }
                        self.out.line(format_args!("batch {batch}: its evidence holds"))?;
                        continue;
                    }
                    Finding::Wrong(why) => why,
                    Finding::Provable(fraud) => {
                        let why = evidence::wrong_result_of(&fraud);
                        self.wrong_results.insert(batch, *fraud);
                        why
                    }
                };
                faults.push(Wrong { batch, commitment, fault });
            }
        }
        for wrong in faults {
            self.metrics.wrong.inc();
            self.out.line(format_args!("batch {}: does not match: {}", wrong.batch, wrong.fault))?;
            self.watched.wrong.push(wrong);
        }
        for found in self.statements.write(&self.contradictions)? {
            self.metrics.contradictions.inc();
            self.out.line(found.words())?;
            self.watched.contradictions.push(found);
        }
        self.metrics.without_evidence.set(i64::try_from(self.unshown().count()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Batches whose evidence no source has shown.
    fn unshown(&self) -> impl Iterator<Item = BatchId> {
        let first = self.looking.first().into_iter().flat_map(|looking| looking.missing.keys().copied());
        first.filter(|batch| self.looking.iter().all(|looking| looking.missing.contains_key(batch)))
    }

    /// What it saw.
    fn conclude(mut self) -> Watched {
        self.watched.without_evidence = self.unshown().map(|batch| batch.0).collect();
        self.watched.unread_from = self.replay.first_unread().map(|unread| unread.batch.number().0);
        self.watched
    }
}
