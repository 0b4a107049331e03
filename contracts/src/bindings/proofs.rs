//! Fraud proofs as the contract takes them.

use alloy::primitives::{B256, Bytes};
use protocol::amount::Amount;
use protocol::ids::{Address, SpecHash};
use protocol::ledger::blob::CHUNK_ELEMENTS;
use protocol::ledger::fraud::{ChunkOpening, Misfit, ResultOpening, Stand, Witness};
use protocol::ledger::{Context, QueueAction, QueueItem, Terms};
use protocol::merkle::Proof;

use crate::kzg;

use super::{Challenges, Rollup, ServiceBonds, siblings, to_evm, to_word, units};

fn nodes(proof: &Proof) -> Vec<B256> {
    proof.siblings.iter().map(|sibling| to_word(*sibling)).collect()
}

/// Elements of the chunk before that show its state root, all but a byte: what a chunk starts from.
const ROOT_ELEMENTS: usize = 1;
/// With the next, also how many credits it counts: what a chunk has to go on from.
const COUNT_ELEMENTS: usize = 2;

/// Of a chunk in a blob, its elements and the first so many of the one before.
fn elements(opening: &ChunkOpening, before_count: usize) -> Vec<Bytes> {
    let Stand::Blobs { own, before, .. } = &opening.stand else { return Vec::new() };
    let own = kzg::open_chunk(own, opening.index, CHUNK_ELEMENTS);
    let before = before.iter().map(|blob| kzg::open_chunk(blob, opening.index - 1, before_count));
    core::iter::once(own).chain(before).map(Bytes::from).collect()
}

/// Each contract's bindings have their own copy of both.
macro_rules! openings {
    ($contract:ident) => {
        impl From<&ChunkOpening> for $contract::ChunkProof {
            fn from(opening: &ChunkOpening) -> Self {
                Self {
                    index: opening.index,
                    count: opening.count,
                    preRoot: to_word(opening.pre_root),
                    postRoot: to_word(opening.chunk.post_root),
                    firstCredit: opening.first_credit,
                    declared: opening.chunk.declared,
                    ops: Bytes::copy_from_slice(&opening.chunk.bytes),
                    siblings: match &opening.stand {
                        Stand::Tree(proof) => nodes(proof),
                        Stand::Blobs { hashes, .. } => hashes.iter().map(|hash| B256::new(hash.0)).collect(),
                    },
                    blob: elements(opening, ROOT_ELEMENTS),
                }
            }
        }

        impl From<&ResultOpening> for $contract::ResultProof {
            fn from(opening: &ResultOpening) -> Self {
                let leaf = &opening.leaf;
                Self {
                    index: opening.index,
                    count: opening.count,
                    job: leaf.job.0,
                    settlement: leaf.settlement,
                    account: leaf.credit.account.0,
                    tasks: leaf.credit.tasks,
                    amount: leaf.credit.amount,
                    receipts: B256::new(leaf.receipts.0),
                    results: B256::new(leaf.results.0),
                    siblings: nodes(&opening.proof),
                }
            }
        }
    };
}

impl From<&Misfit> for Challenges::ChunkProof {
    fn from(misfit: &Misfit) -> Self {
        Self { blob: elements(&misfit.opening, COUNT_ELEMENTS), ..(&misfit.opening).into() }
    }
}

openings!(Challenges);
openings!(ServiceBonds);

/// Each contract's bindings have their own copy of it.
macro_rules! queue_item_data {
    ($contract:ident) => {
        impl From<&QueueItem> for $contract::QueueItemData {
            fn from(item: &QueueItem) -> Self {
                let nothing = (Amount::ZERO, Address::ZERO, SpecHash([0; 32]), Terms::ZERO);
                let (amount, coordinator, spec, terms) = match item.action {
                    QueueAction::Fund { amount, coordinator, spec, terms } => {
                        (amount, coordinator, spec, terms)
                    }
                    QueueAction::TopUp { amount } => (amount, nothing.1, nothing.2, nothing.3),
                    QueueAction::Close => nothing,
                };
                Self {
                    kind: item.action.kind(),
                    job: item.job.0,
                    time: item.time,
                    sender: to_evm(item.sender),
                    amount: units(amount),
                    coordinator: to_evm(coordinator),
                    specHash: B256::new(spec.0),
                    terms: terms.into(),
                }
            }
        }
    };
}

queue_item_data!(Challenges);
queue_item_data!(Rollup);

impl From<&Witness> for Challenges::Witness {
    fn from(witness: &Witness) -> Self {
        Self {
            jobs: witness.jobs.iter().map(|(id, job)| (*id, job).into()).collect(),
            accounts: witness.accounts.iter().map(|(index, account)| (*index, account).into()).collect(),
            paths: witness.paths.iter().map(siblings).collect(),
            items: witness.items.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Context<'_>> for Challenges::LedgerContext {
    fn from(context: &Context<'_>) -> Self {
        Self {
            time: context.time,
            proposer: to_evm(context.proposer),
            queueEnd: context.queue_end,
            closeGrace: context.deployment.close_grace,
            domainSeparator: to_word(context.deployment.domain.separator()),
        }
    }
}
