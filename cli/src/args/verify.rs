//! Running accepted work again, and comparing.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use protocol::amount::Amount;
use protocol::ids::{Address, JobId, TaskId};

use super::{CoordinatorArgs, KeyArgs};
use crate::env;

/// `fedroll verify …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll verify task 0/0/3                       the task in slot 3 of job 0's settlement 0
  fedroll verify round 0/1                        the model of job 0's first round, out of its updates
  fedroll verify dispute 0                        whether the verdicts over job 0's tasks were right
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
    /// Judge the disputes over a job's tasks again
    ///
    /// Checks the transcripts that a coordinator keeps: that they are about the worker's signed receipt and the job's
    /// task, that every move is signed and answers what was asked, and which verdict follows. Where the dispute came
    /// down to one operator, trains up to that step and runs it. That somebody did not answer in time is the one
    /// verdict that has to be taken on trust; it is said so. Exit code 1 means that a verdict does not follow or a
    /// transcript is forged, 2 that one cannot be judged here: a blob is missing.
    Dispute(VerifyDispute),
}

/// `fedroll verify dispute`
#[derive(Debug, Args)]
pub struct VerifyDispute {
    /// The job, or one of its tasks as job/settlement/slot
    #[arg(value_name = "JOB|TASK")]
    pub about: DisputeRef,
    /// Also keep the transcripts, and all that it takes to judge them, in a directory that --evidence reads
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// As the referee: sign what follows, and take so many tokens of what the loser pledged to the key
    ///
    /// Worker and coordinator must have pledged to the key's address before the job was funded (`fedroll chain
    /// pledge`). Silence moves nothing: nobody can see it afterwards.
    #[arg(long, value_name = "AMOUNT", help_heading = "Judging")]
    pub judge: Option<Amount>,
    /// Print the signed verdict for others to send, and send nothing
    #[arg(long, requires = "judge", help_heading = "Judging")]
    pub sign_only: bool,
    /// The address of the DisputeBonds contract [default: the network directory's]
    #[arg(long, value_name = "ADDRESS", env = env::DISPUTES, hide_env_values = true, help_heading = "Judging")]
    pub disputes: Option<Address>,
    /// The referee's key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Whom to ask.
    #[command(flatten)]
    pub shown: ShownBy,
}

/// Whose disputes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisputeRef {
    /// All of a job's.
    Job(JobId),
    /// Those over one task.
    Task(TaskId),
}

impl DisputeRef {
    /// The job.
    pub const fn job(self) -> JobId {
        match self {
            Self::Job(job) | Self::Task(TaskId { job, .. }) => job,
        }
    }

    /// Whether a task is meant.
    pub fn covers(self, task: TaskId) -> bool {
        match self {
            Self::Job(job) => task.job == job,
            Self::Task(own) => task == own,
        }
    }
}

impl FromStr for DisputeRef {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "name a job, for example 0, or a task as job/settlement/slot, for example 0/0/3";
        if text.contains('/') {
            text.parse().map(Self::Task).map_err(|_| WRONG)
        } else {
            text.parse().map(Self::Job).map_err(|_| WRONG)
        }
    }
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
    fn disputes_are_those_of_a_job_or_of_a_task() {
        let task = |slot| TaskId { job: JobId(3), settlement: 1, slot };
        let job: DisputeRef = "3".parse().unwrap();
        let one: DisputeRef = "3/1/2".parse().unwrap();
        assert_eq!((job, one), (DisputeRef::Job(JobId(3)), DisputeRef::Task(task(2))));
        assert!(job.covers(task(1)) && one.covers(task(2)) && !one.covers(task(1)));
        assert_eq!(job.job(), one.job());
        for bad in ["", "a", "3/1", "3/1/2/3"] {
            assert!(bad.parse::<DisputeRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rounds_count_from_one() {
        let round: RoundRef = "3/1".parse().unwrap();
        assert_eq!((round.job, round.index(), round.to_string().as_str()), (JobId(3), 0, "3/1"));
        for bad in ["3/0", "3", "3/1/2", "a/1", ""] {
            assert!(bad.parse::<RoundRef>().is_err(), "{bad}");
        }
    }
}
