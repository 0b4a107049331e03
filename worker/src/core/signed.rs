//! For which assignments the worker's signer has stated a result: two different ones for one nonce cost the stake, so
//! each nonce gets one statement for ever, whoever hands it out again and whatever is computed then.

use std::collections::{BTreeMap, VecDeque};

use protocol::ids::{Address, JobId, Nonce};
use protocol::job::{Reason, Task};
use serde::{Deserialize, Serialize};

use super::limits::SIGNED_MAX;

/// The newest statements one by one; of those before, up to which settlement they went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedResults {
    newest: BTreeMap<Nonce, Place>,
    /// The same, oldest first.
    order: VecDeque<Nonce>,
    /// The first settlement of a job that may be signed for: some below it were, and their nonces are forgotten. One
    /// entry a job.
    floors: BTreeMap<(Address, JobId), u32>,
}

/// Where a statement counts: its registry, job and settlement.
type Place = (Address, JobId, u32);

impl SignedResults {
    /// Why nothing may be stated for a task; `None` if it may, or need not.
    pub fn forbids(&self, task: &Task) -> Option<Reason> {
        let registry = task.stake?;
        if self.newest.contains_key(&task.nonce) {
            return Some("the signer has stated a result for this nonce, and states only one".into());
        }
        let floor = self.floors.get(&(registry, task.id.job)).copied().unwrap_or(0);
        (task.id.settlement < floor).then(|| {
            format!("the signer may have stated a result for this: it states none below settlement {floor}")
                .into()
        })
    }

    /// Notes the statement for a task, if it needs one.
    pub(super) fn note(&mut self, task: &Task) {
        let Some(registry) = task.stake else { return };
        if self.newest.insert(task.nonce, (registry, task.id.job, task.id.settlement)).is_none() {
            self.order.push_back(task.nonce);
        }
        while self.order.len() > SIGNED_MAX {
            let oldest = self.order.pop_front().and_then(|nonce| self.newest.remove(&nonce));
            let Some((registry, job, settlement)) = oldest else { continue };
            let floor = self.floors.entry((registry, job)).or_default();
            *floor = (*floor).max(settlement.saturating_add(1));
        }
    }
}
