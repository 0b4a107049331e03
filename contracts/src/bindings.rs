//! Types made from `artifacts/*.json` (calls, events, errors, the bytecode that gets deployed), and how our own types
//! become theirs.

mod proofs;

use alloy::primitives::{Address as EvmAddress, B256};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, JobId, SpecHash};
use protocol::ledger as ours;
use protocol::ledger::state::empty_nodes;

use crate::base_layer::{BatchOnChain, ProvenAccount, ProvenJob};

pub use generated::{Challenges, DevToken, DisputeBonds, FundingRelay, Rollup, ServiceBonds, WorkerRegistry};

#[expect(clippy::too_many_arguments, reason = "the macro writes a function with one argument a field")]
mod generated {
    alloy::sol!(
        #[derive(Debug)]
        Rollup,
        "artifacts/Rollup.json"
    );

    alloy::sol!(
        #[derive(Debug)]
        Challenges,
        "artifacts/Challenges.json"
    );

    alloy::sol!(
        #[derive(Debug)]
        ServiceBonds,
        "artifacts/ServiceBonds.json"
    );

    alloy::sol!(
        #[derive(Debug)]
        WorkerRegistry,
        "artifacts/WorkerRegistry.json"
    );

    alloy::sol!(
        #[derive(Debug)]
        DisputeBonds,
        "artifacts/DisputeBonds.json"
    );

    alloy::sol!(
        #[derive(Debug)]
        FundingRelay,
        "artifacts/FundingRelay.json"
    );

    alloy::sol!(
        #[derive(Debug)]
        DevToken,
        "artifacts/DevToken.json"
    );
}

/// Our address as the EVM's.
pub const fn to_evm(address: Address) -> EvmAddress {
    EvmAddress::new(address.0)
}

/// The EVM's address as ours.
pub fn from_evm(address: EvmAddress) -> Address {
    Address(address.into_array())
}

/// Our hash as the EVM's word.
pub const fn to_word(hash: Keccak) -> B256 {
    B256::new(hash.0)
}

/// The EVM's word as our hash.
pub const fn from_word(word: B256) -> Keccak {
    Keccak(word.0)
}

fn units(amount: Amount) -> u128 {
    amount.as_units()
}

/// The terms of a job, in each contract's bindings that take them.
macro_rules! terms {
    ($contract:ident) => {
        impl From<ours::Terms> for $contract::Terms {
            fn from(terms: ours::Terms) -> Self {
                Self {
                    priceCap: terms.price_cap,
                    taskCap: terms.task_cap,
                    settlements: terms.settlements,
                    rate: terms.rate,
                    burst: terms.burst,
                    feeBps: terms.fee_bps,
                    approve: terms.approve,
                    kind: terms.kind,
                }
            }
        }
    };
}

terms!(Rollup);
terms!(Challenges);
terms!(FundingRelay);

/// Each contract's bindings have their own copy of a struct that several contracts take: the same conversions for each.
macro_rules! shared_structs {
    ($contract:ident) => {
        impl From<&ours::StateParts> for $contract::StateParts {
            fn from(parts: &ours::StateParts) -> Self {
                Self {
                    accountsRoot: to_word(parts.accounts_root),
                    jobsRoot: to_word(parts.jobs_root),
                    nextAccount: parts.next_account,
                    nextJob: parts.next_job,
                    queuePosition: parts.queue_position,
                }
            }
        }

        impl From<&$contract::StateParts> for ours::StateParts {
            fn from(parts: &$contract::StateParts) -> Self {
                Self {
                    accounts_root: from_word(parts.accountsRoot),
                    jobs_root: from_word(parts.jobsRoot),
                    next_account: parts.nextAccount,
                    next_job: parts.nextJob,
                    queue_position: parts.queuePosition,
                }
            }
        }

        impl From<(AccountIndex, &ours::Account)> for $contract::AccountLeaf {
            fn from((index, account): (AccountIndex, &ours::Account)) -> Self {
                Self {
                    index: index.0,
                    workerId: B256::new(account.worker.0),
                    payout: to_evm(account.payout),
                    earned: units(account.earned),
                }
            }
        }

        impl From<(JobId, &ours::Job)> for $contract::JobLeaf {
            fn from((id, job): (JobId, &ours::Job)) -> Self {
                Self {
                    index: id.0,
                    requester: to_evm(job.requester),
                    coordinator: to_evm(job.coordinator),
                    specHash: B256::new(job.spec.0),
                    openedAt: job.opened_at,
                    funded: units(job.funded),
                    spent: units(job.spent),
                    refundable: units(job.refundable),
                    fees: units(job.fees),
                    terms: job.terms.into(),
                    closing: job.closing,
                    nextSettlement: job.next_settlement,
                    openTasks: job.open.tasks,
                    openSum: units(job.open.sum),
                    lastAccount: job.open.last_account,
                }
            }
        }

        impl From<&BatchOnChain> for $contract::BatchSummary {
            fn from(batch: &BatchOnChain) -> Self {
                let header = &batch.posted.header;
                Self {
                    number: header.number.0,
                    preRoot: to_word(header.pre_root),
                    postRoot: to_word(header.post.root()),
                    time: header.time,
                    proposer: to_evm(batch.posted.proposer),
                    queueEnd: header.queue_end,
                    queueHash: to_word(header.queue_hash),
                    chunksRoot: to_word(batch.chunks.root),
                    creditCount: batch.chunks.credit_count,
                    resultsRoot: to_word(header.results_root),
                    mode: batch.posted.mode() as u8,
                }
            }
        }
    };
}

shared_structs!(Rollup);
shared_structs!(Challenges);

impl From<&ours::BatchHeader> for Rollup::BatchHeader {
    fn from(header: &ours::BatchHeader) -> Self {
        Self {
            number: header.number.0,
            preRoot: to_word(header.pre_root),
            time: header.time,
            queueEnd: header.queue_end,
            queueHash: to_word(header.queue_hash),
            resultsRoot: to_word(header.results_root),
            post: (&header.post).into(),
        }
    }
}

impl From<&Rollup::BatchHeader> for ours::BatchHeader {
    fn from(header: &Rollup::BatchHeader) -> Self {
        Self {
            number: protocol::ids::BatchId(header.number),
            pre_root: from_word(header.preRoot),
            time: header.time,
            queue_end: header.queueEnd,
            queue_hash: from_word(header.queueHash),
            results_root: from_word(header.resultsRoot),
            post: (&header.post).into(),
        }
    }
}

/// A proof as the contract takes it: siblings from the lowest up, those above the last one empty. The compressed form
/// leaves out empty ones below too; the contract's spares it the bitmap, which a claim would pay for.
pub(crate) fn siblings(proof: &ours::StateProof) -> Vec<B256> {
    let mut given = proof.siblings.iter();
    let height = u32::BITS - proof.bitmap.leading_zeros();
    let empty = empty_nodes();
    (0..height)
        .zip(empty)
        .map(|(level, empty)| match proof.bitmap >> level & 1 {
            0 => to_word(empty),
            _ => given.next().map_or(B256::ZERO, |sibling| to_word(*sibling)),
        })
        .collect()
}

impl From<&ProvenAccount> for Rollup::AccountLeaf {
    fn from(proven: &ProvenAccount) -> Self {
        (proven.index, &proven.account).into()
    }
}

impl From<&ProvenJob> for Rollup::JobLeaf {
    fn from(proven: &ProvenJob) -> Self {
        (proven.id, &proven.job).into()
    }
}

/// A queue item as its event tells it; `None` for values that no contract of ours emits.
pub(crate) fn queue_item(event: &Rollup::QueueItem) -> Option<ours::QueueItem> {
    let amount = Amount::units(event.amount);
    let action = match event.kind {
        0 => ours::QueueAction::Fund {
            amount,
            coordinator: from_evm(event.coordinator),
            spec: SpecHash(event.specHash.0),
            terms: ours::Terms::from_bytes(event.terms.as_ref().try_into().ok()?)?,
        },
        1 => ours::QueueAction::TopUp { amount },
        2 => ours::QueueAction::Close,
        _ => return None,
    };
    let job = JobId(event.job);
    Some(ours::QueueItem { job, time: event.time, sender: from_evm(event.sender), action })
}

#[cfg(test)]
mod tests {
    use protocol::hash::node;
    use protocol::ledger::state::StateTree;

    use super::*;

    #[test]
    fn the_contracts_form_of_a_proof_leads_to_the_same_root() {
        let mut tree = StateTree::default();
        let leaves: Vec<_> = [0, 1, 2, 5, 1 << 23].map(|index| (index, Keccak([7; 32]))).to_vec();
        tree.update(&leaves);
        for (index, leaf) in leaves {
            let proof = tree.proof(index).unwrap();
            let siblings = siblings(&proof);
            assert_eq!(index >> siblings.len(), 0, "the path reaches the index");
            let mut root = leaf;
            for (level, empty) in empty_nodes().into_iter().take(24).enumerate() {
                let sibling = siblings.get(level).map_or(empty, |word| from_word(*word));
                root = if index >> level & 1 == 0 { node(&root, &sibling) } else { node(&sibling, &root) };
            }
            assert_eq!(root, tree.root());
        }
    }
}
