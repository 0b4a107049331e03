//! `fedroll audit --follow`: every batch as it comes, and with `--challenge` a proof against each wrong one.
//!
//! Only final blocks are read, so nothing that was said is taken back by a reorganisation; a challenge window is
//! hundreds of times as long as a block takes to become final.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contracts::rpc::RpcChain;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::BatchId;
use protocol::sign::EthKey;
use serde::Serialize;

use super::challenge::{self, Challenged};
use super::metrics::Metrics;
use crate::args::money::Audit;
use crate::error::file;
use crate::exit::ExitStatus;
use crate::output::{Output, Report};
use crate::page::Page;
use crate::replay::{self, Replay};
use crate::signals;

/// The least time between two looks, in milliseconds.
const POLL_MS_MIN: u64 = 50;

/// What a watcher saw, once it is asked to stop.
#[derive(Debug, Default, Serialize)]
pub struct Watched {
    audited: u64,
    wrong: Vec<Wrong>,
    challenges: Vec<Challenged>,
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
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(self.wrong.is_empty())
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
    watched: Watched,
}

/// Watches until it is asked to stop.
pub async fn run(
    args: &Audit,
    chain: RpcChain,
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
    let replay = replay::replay(&chain, &out.spinner("reading the base layer")).await?;
    let (told, challenged, watched) = Default::default();
    let mut watcher = Watcher { chain, key, out, metrics, replay, told, challenged, watched };
    let pause = Duration::from_millis(args.poll_ms.max(POLL_MS_MIN));
    loop {
        let looked = tokio::select! {
            looked = watcher.look() => looked,
            () = &mut stop => break,
        };
        if let Err(error) = looked {
            // A node that is away comes back; anything else is no passing trouble.
            if !error.downcast_ref().is_some_and(contracts::error::ChainError::is_retry) {
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
    out.answer(&watcher.watched)
}

impl Watcher<'_> {
    /// Reads what came, says it, and challenges what is wrong.
    async fn look(&mut self) -> anyhow::Result<()> {
        if self.replay.advance(&self.chain).await? {
            self.replay = replay::replay(&self.chain, &self.out.spinner("reading anew")).await?;
        }
        self.tell()?;
        let wrong = self.replay.first_fault().map(|wrong| wrong.batch.posted.commitment);
        self.metrics.alarm.set(i64::from(wrong.is_some()));
        let (Some(wrong), Some(key)) = (wrong, &self.key) else { return Ok(()) };
        if self.challenged.contains(&wrong) {
            return Ok(());
        }
        let challenger = self.chain.clone().with_key(key);
        if let Some(challenged) = challenge::first_fault(&challenger, &self.replay, self.out).await? {
            self.challenged.insert(wrong);
            self.metrics.proven.inc_by(u64::from(matches!(challenged, Challenged::Proven { .. })));
            self.out.line(&challenged)?;
            self.watched.challenges.push(challenged);
        }
        Ok(())
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        let mut wrong_before = None;
        for replayed in &self.replay.batches {
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
            self.watched.audited += 1;
            self.metrics.batches.inc();
            self.metrics.batch.set(i64::try_from(batch.0).unwrap_or(i64::MAX));
            match fault {
                None => {
                    let credits = replayed.batch.chunks.credit_count;
                    self.out.line(format_args!("batch {batch}: {credits} credits, holds"))?;
                }
                Some(fault) => {
                    self.metrics.wrong.inc();
                    self.out.line(format_args!("batch {batch}: does not match: {fault}"))?;
                    self.watched.wrong.push(Wrong { batch, commitment, fault });
                }
            }
        }
        self.metrics.block.set(i64::try_from(self.replay.head.number).unwrap_or(i64::MAX));
        Ok(())
    }
}
