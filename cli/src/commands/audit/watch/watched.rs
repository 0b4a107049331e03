//! What a watcher saw, and how it says so.

use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::BatchId;
use serde::Serialize;

use super::super::challenge::Challenged;
use super::super::statements::Found;
use crate::exit::ExitStatus;
use crate::output::Report;
use crate::page::Page;

/// What a watcher saw, once it is asked to stop.
#[derive(Debug, Default, Serialize)]
pub struct Watched {
    pub(super) audited: u64,
    pub(super) wrong: Vec<Wrong>,
    pub(super) challenges: Vec<Challenged>,
    /// Workers that stated two results for one task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) contradictions: Vec<Found>,
    /// Batches that hold, and whose evidence nobody showed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) without_evidence: Vec<u64>,
    /// The first batch whose blobs were not to be had; it and all after it were not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unread_from: Option<u64>,
}

/// A batch with something wrong about it.
#[derive(Debug, Serialize)]
pub struct Wrong {
    #[serde(with = "text")]
    pub(super) batch: BatchId,
    #[serde(with = "text")]
    pub(super) commitment: Keccak,
    pub(super) fault: String,
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
