//! Disputes that have ended, with all that it takes to judge them again.

use serde::{Deserialize, Serialize};

use super::{AcceptedTask, text};
use crate::dispute::moves::Body;
use crate::dispute::{Terms, Verdict};
use crate::hash::Digest;
use crate::ids::{JobId, SpecHash};
use crate::sign::Unverified;

/// `GET /v1/jobs/{job}/disputes`: what was said in the disputes over a job's tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeList {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The job.
    #[serde(with = "text")]
    pub job: JobId,
    /// Its spec: `GET /v1/specs/{hash}`.
    #[serde(with = "text")]
    pub spec: SpecHash,
    /// In the order of their tasks.
    pub disputes: Vec<Transcript>,
    /// The receipts of inference tasks whose answers were refused (canonical bytes, in hex): `fedroll verify task` runs
    /// such tasks again.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// A dispute that has ended: whoever has the task's blobs can judge it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// The task and the receipt that is disputed, in the form in which accepted ones are shown.
    pub claim: AcceptedTask,
    /// What it was about.
    pub terms: Terms,
    /// What both sides said, signed, in the order in which it came.
    pub moves: Vec<Unverified<Body>>,
    /// How it ended, as the coordinator says.
    pub verdict: Verdict,
}

impl Transcript {
    /// Names what both sides said: the receipt in dispute, and their moves.
    pub fn digest(&self) -> Digest {
        let said = postcard::to_allocvec(&(&self.claim.receipt, &self.moves));
        Digest::of(&said.expect("moves are plain data"))
    }
}
