//! The results tree: for each credit of a batch, the work it pays for.

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, Keccak, Tag, tagged};
use crate::ids::{AccountIndex, JobId};
use crate::ledger::op::Credit;
use crate::merkle::{StaticTree, TreeError};

/// What leaf i of a batch's results tree says about the batch's i-th credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultLeaf {
    /// The job that pays.
    pub job: JobId,
    /// The settlement it pays in.
    pub settlement: u32,
    /// The credit itself.
    pub credit: Credit,
    /// [`crate::ledger::share::digest_of`] the receipts of that account in that settlement.
    pub receipts: Digest,
    /// The same of what its tasks returned.
    pub results: Digest,
}

impl ResultLeaf {
    /// Whether the leaf speaks of this credit.
    pub fn is_about(&self, job: JobId, settlement: u32, credit: &Credit) -> bool {
        (self.job, self.settlement, &self.credit) == (job, settlement, credit)
    }

    /// The account that is paid.
    pub const fn account(&self) -> AccountIndex {
        self.credit.account
    }

    /// The leaf for place `index` of the batch: 91 bytes are hashed.
    pub fn hash(&self, index: u32) -> Keccak {
        tagged(
            Tag::ResultLeaf,
            &[
                &index.to_be_bytes(),
                &self.job.0.to_be_bytes(),
                &self.settlement.to_be_bytes(),
                &self.credit.account.0.to_be_bytes(),
                &self.credit.tasks.to_be_bytes(),
                &self.credit.amount.to_be_bytes(),
                &self.receipts.0,
                &self.results.0,
            ],
        )
    }
}

/// The tree over a batch's results, for proofs.
pub fn results_tree(leaves: &[ResultLeaf]) -> Result<StaticTree, TreeError> {
    let hashes: Vec<_> = (0..).zip(leaves).map(|(index, leaf)| leaf.hash(index)).collect();
    StaticTree::new(&hashes)
}

/// The root a batch commits to: the tree's, bound to the number of leaves.
pub fn results_root(tree: &StaticTree) -> Keccak {
    tagged(Tag::Results, &[&tree.count().to_be_bytes(), &tree.root().0])
}
