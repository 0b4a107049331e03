//! Following a job: its status again and again, until it is where one waits for it to be.

use std::time::Duration;

use indicatif::ProgressBar;
use protocol::api::{EvaluatedBy, JobPhase, JobStatus, RoundStatus, RunningTask};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::job::JobRef;
use crate::client::Client;
use crate::clock::Stopwatch;
use crate::error::CliError;
use crate::output::Output;
use crate::page::{bytes, percent};

/// Milliseconds between two looks at a job: often enough for a progress bar.
const LOOK_MS: u64 = 400;
/// Seconds that a coordinator may be silent (it may be restarting) before following it ends.
const SILENCE_S_MAX: u64 = 120;

/// Seconds without a line after which it is time to say why nothing happens.
const QUIET_S_MAX: u64 = 15;

/// Looks at a job until `done` says so; every status goes to `seen` first.
///
/// # Errors
/// What the coordinator refuses; and silence of over two minutes.
pub async fn until(
    client: &Client,
    out: &Output,
    job: JobRef,
    mut seen: impl FnMut(&JobStatus),
    done: impl Fn(&JobStatus) -> bool,
) -> Result<JobStatus, CliError> {
    let mut ticks = interval(Duration::from_millis(LOOK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent: Option<Stopwatch> = None;
    loop {
        ticks.tick().await;
        match client.job(job).await {
            Ok(status) => {
                if silent.take().is_some() {
                    out.note("the coordinator is back");
                }
                seen(&status);
                if done(&status) {
                    return Ok(status);
                }
            }
            Err(error @ CliError::Unreachable { .. }) => match &silent {
                None => {
                    out.warn(format_args!("{error}; waiting for it to come back"));
                    silent = Some(Stopwatch::start());
                }
                Some(since) if since.elapsed().as_secs() >= SILENCE_S_MAX => return Err(error),
                Some(_) => {}
            },
            Err(error) => return Err(error),
        }
    }
}

/// Whether all work of a job is over, well or not: what is left is for the base layer to make final.
pub fn is_over(status: &JobStatus) -> bool {
    !matches!(status.phase, JobPhase::Unfunded | JobPhase::Waiting | JobPhase::Running)
}

/// Whether a job has come to nothing.
pub fn has_failed(status: &JobStatus) -> bool {
    matches!(status.phase, JobPhase::Failed | JobPhase::Cancelled)
}

/// A phase as a word.
pub fn phase_word(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Unfunded => "unfunded",
        JobPhase::Waiting => "waiting",
        JobPhase::Running => "running",
        JobPhase::Settling => "settling",
        JobPhase::Done => "done",
        JobPhase::Cancelled => "cancelled",
        JobPhase::Failed => "failed",
    }
}

/// The progress of one job: bars on a terminal, a line for every round that closes, and a word on why it
/// waits.
#[derive(Debug)]
pub struct Progress<'a> {
    out: &'a Output,
    bar: ProgressBar,
    steps: ProgressBar,
    shown: usize,
    settled: u32,
    quiet: Stopwatch,
    suffix: String,
}

impl<'a> Progress<'a> {
    /// Starts with nothing seen.
    pub fn new(out: &'a Output, label: &str) -> Self {
        Self {
            out,
            bar: out.bar(0, label),
            steps: out.bar(0, "this round"),
            shown: 0,
            settled: 0,
            quiet: Stopwatch::start(),
            suffix: String::new(),
        }
    }

    /// Words to add to every line (gas, for example).
    pub fn set_suffix(&mut self, suffix: String) {
        self.suffix = suffix;
    }

    /// Shows what has changed.
    pub fn show(&mut self, status: &JobStatus) {
        let infers = status.kind == "infer";
        self.bar.set_length(if infers { status.settlements } else { status.round_count }.into());
        let closed = status.rounds.iter().filter(|round| round.closed_ms.is_some()).count();
        while self.shown < closed && is_settled(status, self.shown) {
            let line = round_line(&status.rounds[self.shown], status.round_count);
            let (up, down) = (bytes(status.bytes_up), bytes(status.bytes_down));
            self.shown += 1;
            self.say(format!("{line} · {up} up, {down} down"));
        }
        if infers && status.settled > self.settled {
            self.settled = status.settled;
            let (done, of) = (status.settled, status.settlements);
            self.say(format!("group {done}/{of} · {} items answered", status.items));
        }
        if !status.why.is_empty() && self.quiet.elapsed().as_secs() >= QUIET_S_MAX {
            self.say(format!("{}: {}", phase_word(status.phase), status.why));
        }
        let position = if infers { status.settled as usize } else { closed };
        self.bar.set_position(position as u64);
        self.bar.set_message(if status.why.is_empty() {
            phase_word(status.phase).into()
        } else {
            status.why.clone()
        });
        self.show_steps(status);
    }

    fn show_steps(&self, status: &JobStatus) {
        let Some(round) = status.rounds.iter().rev().find(|round| round.closed_ms.is_none()) else {
            self.steps.set_message("");
            return;
        };
        let sum =
            |part: fn(&RunningTask) -> u32| round.running.iter().map(|task| u64::from(part(task))).sum();
        // Both at once: a bar must not show the end of one round beside the length of the next.
        self.steps.update(|bar| {
            bar.set_len(sum(|task| task.of));
            bar.set_pos(sum(|task| task.done));
        });
        self.steps.set_message(format!("steps · {}/{} updates", round.accepted, round.asked));
    }

    /// Takes the bars away.
    pub fn finish(self) {
        self.steps.finish_and_clear();
        self.bar.finish_and_clear();
    }

    fn say(&mut self, line: String) {
        self.quiet = Stopwatch::start();
        let line = if self.suffix.is_empty() { line } else { format!("{line} · {}", self.suffix) };
        self.out.note(line);
    }
}

/// Whether nothing more will be known of a closed round: its model is made a little after it closes, and workers judge
/// that during the next one.
fn is_settled(status: &JobStatus, round: usize) -> bool {
    let of = &status.rounds[round];
    let next = match status.rounds.get(round + 1) {
        Some(next) => next.closed_ms.is_some(),
        None => round + 1 == status.round_count as usize,
    };
    of.model.is_some() && (of.evaluated.is_some() || status.evaluated_by != EvaluatedBy::Workers || next)
}

/// Whether all work of a training job is over and its last model made, as far as one can wait for that.
pub fn is_over_and_judged(status: &JobStatus) -> bool {
    let closed = status.rounds.iter().filter(|round| round.closed_ms.is_some()).count();
    let all = closed == 0 || is_settled(status, closed - 1);
    is_over(status) && (all || status.phase != JobPhase::Settling)
}

/// One round in one line.
pub fn round_line(round: &RoundStatus, of: u32) -> String {
    let mut line = format!("round {}/{of}", round.round + 1);
    if let Some(evaluated) = &round.evaluated {
        line += &format!(" · accuracy {} · loss {:.4}", percent(evaluated.accuracy()), evaluated.loss.get());
    }
    if let Some(loss) = round.loss {
        line += &format!(" · training loss {loss:.4}");
    }
    line += &format!(" · {}/{} updates", round.accepted, round.asked);
    if let Some(closed) = round.closed_ms {
        line += &format!(" · {:.1} s", closed.saturating_sub(round.began_ms) as f64 / 1000.0);
    }
    line
}

#[cfg(test)]
mod tests {
    use protocol::job::Evaluated;

    use super::*;

    #[test]
    fn a_round_is_one_line() {
        let mut round = RoundStatus {
            round: 2,
            began_ms: 1_000,
            closed_ms: Some(4_500),
            asked: 4,
            accepted: 3,
            model: None,
            loss: Some(0.25),
            evaluated: Some(Evaluated { examples: 2_000, correct: 1_950, loss: 0.5.try_into().unwrap() }),
            running: Vec::new(),
        };
        let want = "round 3/8 · accuracy 97.50 % · loss 0.5000 · training loss 0.2500 · 3/4 updates · 3.5 s";
        assert_eq!(round_line(&round, 8), want);
        (round.evaluated, round.loss, round.closed_ms) = (None, None, None);
        assert_eq!(round_line(&round, 8), "round 3/8 · 3/4 updates");
    }
}
