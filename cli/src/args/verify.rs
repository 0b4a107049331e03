//! Running accepted work again, and comparing.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use protocol::ids::{JobId, TaskId};

use super::CoordinatorArgs;

/// `fedroll verify …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll verify task 0/0/3                       the task in slot 3 of job 0's settlement 0
  fedroll verify round 0/1                        the model of job 0's first round, out of its updates
  fedroll verify task 0/0/3 --evidence evidence   the same from a mirror, without a coordinator")]
pub enum Verify {
    /// Run an accepted task again and compare its result to the bit
    ///
    /// Fetches weights, data and result by digest, trains or answers again on this machine, and says `same bits` or
    /// where the results differ. What was asked follows from the job's spec. Exit code 1 means that the worker's result
    /// is another, 2 that the task cannot be run here: its data stays on the worker, or a blob is missing.
    Task(VerifyTask),
    /// Make a round's model again out of exactly the accepted updates
    ///
    /// Checks the updates' receipts, folds them by weight into the weights that the round started from, and compares
    /// the digest of what comes out. Those weights are compared with the model of the round before, or with what the
    /// spec begins with. Exit code 1 means that something differs.
    Round(VerifyRound),
}

/// `fedroll verify task`
#[derive(Debug, Args)]
pub struct VerifyTask {
    /// The task, as job/settlement/slot
    #[arg(value_name = "TASK")]
    pub task: TaskId,
    /// Also write a file with all that it takes to check the task elsewhere, in a browser for example
    /// (`fedroll audit --serve`)
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Whom to ask.
    #[command(flatten)]
    pub shown: ShownBy,
}

/// `fedroll verify round`
#[derive(Debug, Args)]
pub struct VerifyRound {
    /// The round, as job/round; rounds count from 1
    #[arg(value_name = "JOB/ROUND")]
    pub round: RoundRef,
    /// Whom to ask.
    #[command(flatten)]
    pub shown: ShownBy,
}

/// Who shows what is to be run.
#[derive(Debug, Args)]
pub struct ShownBy {
    /// A mirror that `fedroll audit --mirror` made (its directory or URL), instead of the coordinator
    #[arg(long, value_name = "URL|DIR")]
    pub evidence: Option<String>,
    /// The coordinator.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
}

/// A round of a training job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundRef {
    /// The job.
    pub job: JobId,
    /// The round, from 1.
    pub round: NonZeroU32,
}

impl RoundRef {
    /// The round as programs count: from 0.
    pub const fn index(self) -> u32 {
        self.round.get() - 1
    }
}

impl fmt::Display for RoundRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.round)
    }
}

impl FromStr for RoundRef {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a round is named job/round, for example 0/1 for the first round of job 0";
        let (job, round) = text.split_once('/').ok_or(WRONG)?;
        Ok(Self { job: job.parse().map_err(|_| WRONG)?, round: round.parse().map_err(|_| WRONG)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_count_from_one() {
        let round: RoundRef = "3/1".parse().unwrap();
        assert_eq!((round.job, round.index(), round.to_string().as_str()), (JobId(3), 0, "3/1"));
        for bad in ["3/0", "3", "3/1/2", "a/1", ""] {
            assert!(bad.parse::<RoundRef>().is_err(), "{bad}");
        }
    }
}
