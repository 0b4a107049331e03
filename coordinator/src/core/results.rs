//! What lies behind a batch's credits: the results that it committed to, made again from the receipts.

use std::collections::BTreeMap;

use protocol::ids::{BatchId, JobId};
use protocol::ledger::results::{results_root, results_tree};
use protocol::ledger::{Op, ResultLeaf, Settlement, parse_chunk};

use super::Coordinator;

impl Coordinator {
    /// The results of a batch that this coordinator posted, in the order of its credits; `None` if it has no such
    /// batch, or keeps the receipts no longer (see [`super::limits::EVIDENCE_BYTES_MAX`]).
    pub fn results_of(&self, number: BatchId) -> Option<Vec<ResultLeaf>> {
        let place = (number.0 as usize).checked_sub(1)?;
        let record = self.batches().records().get(place)?;
        let mut settlements: BTreeMap<(JobId, u32), Settlement> = BTreeMap::new();
        let mut leaves = Vec::with_capacity(record.credits as usize);
        for op in record.chunks.iter().flat_map(|bytes| parse_chunk(bytes).ops) {
            let Op::Credits(group) = op else { continue };
            let job = self.jobs.get(&group.job)?;
            job.closed.get(&group.settlement)?;
            let settlement = settlements
                .entry((group.job, group.settlement))
                .or_insert_with(|| self.ledger_settlement(job, group.settlement));
            for credit in group.credits {
                let paid = settlement.credits.iter().find(|paid| paid.credit == credit)?;
                let (receipts, results) = (paid.receipts, paid.results);
                let (job, settlement) = (group.job, group.settlement);
                leaves.push(ResultLeaf { job, settlement, credit, receipts, results });
            }
        }
        let tree = results_tree(&leaves).ok()?;
        (results_root(&tree) == record.header.results_root).then_some(leaves)
    }
}
