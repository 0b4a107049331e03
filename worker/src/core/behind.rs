//! Whether a coordinator keeps up with what it promised: if not, this worker takes no more of the job's tasks.
//!
//! The coordinator's bond covers two settlements. A worker that went on while promises pile up would work for what no
//! bond stands behind. What is posted the worker hears from the coordinator itself; whether that is true,
//! `fedroll claim --omitted` compares with the chain.

use protocol::job::Task;
use protocol::limits::UNPOSTED_SETTLEMENTS_MAX;

use super::Worker;

/// How a coordinator falls behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Behind {
    /// It offers work of a settlement too far ahead of the base layer.
    #[error(
        "the coordinator is behind: settlement {} is not on the base layer yet, and its bond does not cover \
         settlement {} as well",
        missing + 1,
        offered + 1
    )]
    Settlements {
        /// The first settlement that is not posted, counted from 0.
        missing: u32,
        /// The settlement of the task.
        offered: u32,
    },
    /// It broke a promise.
    #[error(
        "the coordinator is late: it promised to settle settlement {} by {settle_by} (Unix seconds); see `fedroll \
         claim --omitted`",
        settlement + 1
    )]
    Late {
        /// The settlement, counted from 0.
        settlement: u32,
        /// Unix seconds.
        settle_by: u64,
    },
}

impl Worker {
    /// How the job's coordinator is behind, too far for this task to be taken.
    pub(super) fn behind(&self, task: &Task) -> Option<Behind> {
        let (job, offered) = (task.id.job, task.id.settlement);
        let missing = self.records.posted(job);
        if offered >= missing.saturating_add(UNPOSTED_SETTLEMENTS_MAX) {
            return Some(Behind::Settlements { missing, offered });
        }
        let late =
            self.records.unposted(job).find(|(_, book)| book.latest.acceptance.settle_by < self.now.secs());
        late.map(|(settlement, book)| Behind::Late {
            settlement,
            settle_by: book.latest.acceptance.settle_by,
        })
    }
}
