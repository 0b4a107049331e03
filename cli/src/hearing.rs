//! Disputes judged again: what a coordinator says of one, held against the job's spec, the worker's receipt, the moves
//! that both sides signed and the task's blobs.

use models::ModelError;
use models::replay::hearing::{Heard, HearingError, Place, hear};
use protocol::api::Transcript;
use protocol::dispute::{Terms, Verdict};
use protocol::hash::Digest;
use protocol::ids::{TaskId, WorkerId};
use protocol::job::{JobSpec, TaskData, TaskWork, TrainTask};
use protocol::sign::eip712::Domain;
use serde::Serialize;

use crate::rerun::{Blobs, Done};

/// What becomes of a coordinator's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is the one that follows, and this machine has seen why.
    Follows,
    /// It is silence, and moves are missing: nobody who was not there can see more.
    OnTrust,
    /// Another one follows.
    Another {
        /// Which.
        follows: Verdict,
    },
    /// The transcript is not that of a dispute over this receipt.
    Forged {
        /// What gives it away.
        why: String,
    },
    /// It cannot be judged here.
    NotJudged {
        /// Why.
        why: String,
    },
}

/// A dispute, judged again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The hash of its terms.
    #[serde(with = "protocol::api::text")]
    pub dispute: Digest,
    /// What was disputed: there is one verdict about it, however many disputes.
    #[serde(with = "protocol::api::text")]
    pub subject: Digest,
    /// The hash of what both said.
    #[serde(with = "protocol::api::text")]
    pub transcript: Digest,
    /// Which rollup's task both sides' moves are about.
    #[serde(skip)]
    pub rollup: Domain,
    /// The task.
    #[serde(with = "protocol::api::text")]
    pub task: TaskId,
    /// Whose result was disputed.
    #[serde(with = "protocol::api::text")]
    pub worker: WorkerId,
    /// By whom.
    #[serde(with = "protocol::api::text")]
    pub challenger: WorkerId,
    /// The moves of both.
    pub moves: usize,
    /// Where they first differ, if they came so far.
    pub first_difference: Option<Difference>,
    /// What the coordinator says.
    pub said: Verdict,
    /// Whether that is so.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Judged {
    /// The verdict that follows, if this machine has seen why.
    pub const fn shown(&self) -> Option<Verdict> {
        match self.outcome {
            Outcome::Follows => Some(self.said),
            Outcome::Another { follows } => Some(follows),
            Outcome::OnTrust | Outcome::Forged { .. } | Outcome::NotJudged { .. } => None,
        }
    }
}

/// Where two trainings part; each number from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The interval between two commitments.
    pub interval: u32,
    /// The step within it.
    pub step: u32,
    /// The operator of that step.
    pub operator: u32,
    /// What it does.
    pub name: String,
}

impl From<Place> for Difference {
    fn from(Place { interval, step, operator, name }: Place) -> Self {
        Self { interval, step, operator, name }
    }
}

/// Judges a dispute again.
pub async fn judge(shown: Transcript, spec: &JobSpec, blobs: &Blobs<'_>) -> anyhow::Result<Judged> {
    let Terms { rollup, task, parties: [worker, challenger], .. } = shown.terms;
    let (moves, said) = (shown.moves.len(), shown.verdict);
    let (dispute, subject, transcript) = (shown.terms.id(), shown.terms.subject(), shown.digest());
    let judged = |first_difference: Option<Place>, outcome| {
        let first_difference = first_difference.map(Difference::from);
        Judged {
            dispute,
            subject,
            transcript,
            rollup,
            task,
            worker,
            challenger,
            moves,
            first_difference,
            said,
            outcome,
        }
    };
    let forged = |why| judged(None, Outcome::Forged { why });
    let not_judged = |why| judged(None, Outcome::NotJudged { why });
    let done = match Done::read(&shown.claim, spec) {
        Ok(done) => done,
        Err(why) => return Ok(forged(why)),
    };
    let Some((train, digests)) = training(&done.work) else {
        return Ok(forged("its task is none that anybody else could run".to_owned()));
    };
    let mut found = Vec::with_capacity(digests.len());
    for (what, digest) in digests {
        match blobs.find(what, digest).await {
            Ok(bytes) => found.push((digest, bytes)),
            Err(why) => return Ok(not_judged(why)),
        }
    }
    let (terms, moves) = (shown.terms, shown.moves);
    // On a thread that may block: training takes minutes.
    let heard = tokio::task::spawn_blocking(move || {
        let mut blob = |digest: &Digest| {
            let kept = found.iter().find(|(own, _)| own == digest);
            kept.map(|(_, bytes)| bytes.clone()).ok_or(ModelError::NoExamples)
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        hear(&train, &mut blob, &done.receipt, terms, moves, threads)
    });
    Ok(match heard.await? {
        Err(HearingError::Forged(why)) => forged(why.to_string()),
        Err(HearingError::Model(error)) => not_judged(error.to_string()),
        Ok(Heard { verdict, place }) => {
            let outcome = match verdict {
                same if same != said => Outcome::Another { follows: verdict },
                same if same.is_silence() => Outcome::OnTrust,
                _ => Outcome::Follows,
            };
            judged(place, outcome)
        }
    })
}

/// A training on a job's data, and the blobs that it takes.
fn training(work: &TaskWork) -> Option<(TrainTask, [(&'static str, Digest); 2])> {
    let TaskWork::Train(train) = work else { return None };
    let TaskData::Shard(shard) = &train.data else { return None };
    Some((train.clone(), [("weights", train.weights), ("shard", shard.digest)]))
}
