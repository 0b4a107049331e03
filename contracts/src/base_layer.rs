//! What the coordinator, the command line and the auditor ask of a base layer.
//!
//! Two halves: [`BaseLayer`] reads and needs no key; [`BaseLayerWriter`] sends. Amounts are ledger units throughout.
//! Nothing that is read is believed further than the base layer itself: a batch's bytes are checked against the
//! commitment that the contract computed from them.

mod challenge;
mod cost;
mod exit;

use core::future::Future;

use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash};
use protocol::ledger::batch::ChunksSummary;
use protocol::ledger::{
    Account, Batch, Deployment, Job, PostedBatch, QueueItem, StateParts, StateProof, Terms,
};
use protocol::sign::EthSignature;
use protocol::sign::eip712::{Domain, address_word, word};

use crate::error::ChainError;

pub use challenge::{Bond, Bonds, Challenged, Challenger, Proven, challenge};
pub use cost::{Cost, FeeEstimate, GasPrices};
pub use exit::{Exits, Leaver};

/// The chain id that means "development chain": windows may be short there, and money is worth nothing.
pub const DEVELOPMENT_CHAIN_ID: u64 = 31_337;

/// Accounts that one `claim_many` pays; about 60,000 gas each.
pub const CLAIMS_MAX: usize = 100;

/// Which chain this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// What the node calls itself.
    pub client: String,
}

impl ChainInfo {
    /// Whether it is a development chain (ours, or anvil): labelled so wherever it shows.
    pub const fn is_development(&self) -> bool {
        self.chain_id == DEVELOPMENT_CHAIN_ID
    }
}

/// What a rollup's deployment fixed for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupConfig {
    /// The one ERC-20 it holds.
    pub token: Address,
    /// Token base units in one ledger unit.
    pub unit: u128,
    /// Who posts batches while it does.
    pub proposer: Address,
    /// Where batches are challenged and proposers' bonds lie.
    pub challenges: Address,
    /// Where coordinators' service bonds lie.
    pub service_bonds: Address,
    /// Wei that whoever posts must have at stake.
    pub fraud_bond: u128,
    /// Seconds from posting to final.
    pub challenge_window: u64,
    /// Seconds a queue item may wait.
    pub inclusion_window: u64,
    /// Seconds from a job's close to its last payment.
    pub close_grace: u64,
    /// Seconds without a batch after which anyone bonded may post.
    pub quiet_period: u64,
    /// Seconds that a queue item must be overdue before anyone may freeze.
    pub freeze_overdue: u64,
    /// Seconds that a batch may stay short of final before anyone may freeze.
    pub freeze_pending: u64,
    /// Seconds from final to the last proof of an omission.
    pub omission_window: u64,
    /// Seconds from a data challenge to its last answer.
    pub data_window: u64,
    /// Seconds from asking for a bond back to having it.
    pub bond_exit: u64,
}

/// A block, as far as we care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: Keccak,
    /// Unix seconds.
    pub time: u64,
}

/// Where on the base layer something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block.
    pub block: Block,
    /// The transaction.
    pub tx: Keccak,
    /// The log's place within the block: the order of events.
    pub log: u64,
}

/// A queue item with its index and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedItem {
    /// Its index in the queue, from 0.
    pub index: u64,
    /// What it says.
    pub item: QueueItem,
    /// Where it stands.
    pub place: Place,
}

/// A posted batch: what the auditor derives from, and what a claim names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOnChain {
    /// Header, payload, proposer and commitment; the commitment has been recomputed from the bytes.
    pub posted: PostedBatch,
    /// What the contract computed from the payload.
    pub chunks: ChunksSummary,
    /// Where it stands; a batch becomes final `challenge_window` seconds after this block's time.
    pub place: Place,
}

impl BatchOnChain {
    /// Its number.
    pub const fn number(&self) -> BatchId {
        self.posted.header.number
    }

    /// Unix seconds of the block that posted it.
    pub const fn posted_at(&self) -> u64 {
        self.place.block.time
    }
}

/// Something that concerns the ledger, in the base layer's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// A requester funded, topped up or closed a job.
    Queued(QueuedItem),
    /// A batch was posted.
    Posted(Box<BatchOnChain>),
    /// A batch was proven wrong: it and all after it are gone, and their numbers are free.
    RolledBack {
        /// The first that is gone.
        number: BatchId,
        /// Where that stands.
        place: Place,
    },
}

impl ChainEvent {
    /// Where it stands.
    pub const fn place(&self) -> &Place {
        match self {
            Self::Queued(item) => &item.place,
            Self::Posted(batch) => &batch.place,
            Self::RolledBack { place, .. } => place,
        }
    }
}

/// A stretch of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Its events in order.
    pub events: Vec<ChainEvent>,
    /// The block to go on from: everything before it has been read. Past `to` when the stretch is complete.
    pub next_block: u64,
}

/// What the contract keeps of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// The commitment.
    pub commitment: Keccak,
    /// The header's time.
    pub time: u64,
    /// Unix seconds of the block that posted it.
    pub posted_at: u64,
    /// Queue items consumed by it and all before.
    pub queue_position: u64,
}

/// How posting a batch ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// This call posted it.
    Posted(Cost),
    /// It stood there already, with our commitment: an earlier attempt had made it.
    AlreadyThere,
}

/// How a claim ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimOutcome {
    /// What the transaction cost.
    pub cost: Cost,
    /// What was paid, to whom, for which account.
    pub paid: Vec<(AccountIndex, Address, Amount)>,
    /// Accounts that the token refused to pay: they keep their claim.
    pub skipped: Vec<AccountIndex>,
}

/// An account with the proof that it stands in a batch's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenAccount {
    /// Its index.
    pub index: AccountIndex,
    /// Its leaf.
    pub account: Account,
    /// From the leaf to the accounts root of the batch's post-state.
    pub proof: StateProof,
}

/// A job with the proof that it stands in a batch's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenJob {
    /// Its index.
    pub id: JobId,
    /// Its leaf.
    pub job: Job,
    /// From the leaf to the jobs root of the batch's post-state.
    pub proof: StateProof,
}

/// Reading: one rollup on one chain. Every call has a time limit; errors say whether to try again.
pub trait BaseLayer: Send + Sync {
    /// The chain, as it named itself when the connection was made.
    fn chain(&self) -> &ChainInfo;
    /// The `Rollup` contract.
    fn contract(&self) -> Address;
    /// What its deployment fixed.
    fn config(&self) -> &RollupConfig;
    /// The block it was deployed in: where its history starts.
    fn deployed_block(&self) -> u64;

    /// What the ledger's rules need of the deployment.
    fn deployment(&self) -> Deployment {
        Deployment { domain: self.domain(), close_grace: self.config().close_grace }
    }

    /// What EIP-712 signatures for this rollup are bound to.
    fn domain(&self) -> Domain {
        Domain { chain_id: self.chain().chain_id, contract: self.contract() }
    }

    /// The newest block.
    fn head(&self) -> impl Future<Output = Result<Block, ChainError>> + Send;
    /// The newest block that will not be taken back: the `finalized` block; on a development chain the newest.
    fn finalized(&self) -> impl Future<Output = Result<Block, ChainError>> + Send;
    /// Unix seconds by the chain's own clock: no block to come lies before it. The newest block's time; on a
    /// development chain, which makes no blocks while it is idle, that of a block made now.
    fn now(&self) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// A block by number; `None` if there is none yet.
    fn block(&self, number: u64) -> impl Future<Output = Result<Option<Block>, ChainError>> + Send;

    /// The rollup's events in blocks `from..=to`, or in as many of them as one answer may cover: go on from
    /// [`History::next_block`].
    fn history(&self, from: u64, to: u64) -> impl Future<Output = Result<History, ChainError>> + Send;

    /// The last batch posted and the state root after it; batch 0 is the empty state.
    fn latest_batch(&self) -> impl Future<Output = Result<(BatchId, Keccak), ChainError>> + Send;
    /// The last final batch; 0 if there is none.
    fn final_batch(&self) -> impl Future<Output = Result<BatchId, ChainError>> + Send;
    /// What the contract keeps of a batch; `None` if it was not posted.
    fn batch(&self, number: BatchId) -> impl Future<Output = Result<Option<BatchRecord>, ChainError>> + Send;
    /// Items in the queue.
    fn queue_length(&self) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// What an account has been paid so far.
    fn claimed(&self, index: AccountIndex) -> impl Future<Output = Result<Amount, ChainError>> + Send;
    /// What a job's requester has taken back so far.
    fn claimed_refund(&self, job: JobId) -> impl Future<Output = Result<Amount, ChainError>> + Send;
    /// What a job's coordinator has taken in fees so far.
    fn claimed_fees(&self, job: JobId) -> impl Future<Output = Result<Amount, ChainError>> + Send;
    /// Tokens of `owner`, in whole ledger units.
    fn token_balance(&self, owner: Address) -> impl Future<Output = Result<Amount, ChainError>> + Send;
    /// Ether of `owner`, in wei.
    fn ether_balance(&self, owner: Address) -> impl Future<Output = Result<u128, ChainError>> + Send;
    /// What a mined transaction cost; `None` if it is not in a block.
    fn cost(&self, tx: Keccak) -> impl Future<Output = Result<Option<Cost>, ChainError>> + Send;
    /// What to offer for gas at the moment.
    fn fees(&self) -> impl Future<Output = Result<FeeEstimate, ChainError>> + Send;
    /// What gas and blobs cost at the moment.
    fn prices(&self) -> impl Future<Output = Result<GasPrices, ChainError>> + Send;
}

/// Sending, with one key. Each call returns once its transaction is in a block; calls of one connection wait for each
/// other, so that nonces follow. After an error that [`ChainError::is_retry`], call again: nothing is done twice.
pub trait BaseLayerWriter: BaseLayer {
    /// Whose key signs.
    fn sender(&self) -> Address;

    /// Posts a sealed batch, unless it stands there already.
    fn post_batch(&self, batch: &Batch) -> impl Future<Output = Result<PostOutcome, ChainError>> + Send;

    /// Opens a job: takes the escrow from the sender, raising the token's allowance first where it is short.
    fn fund_job(
        &self,
        coordinator: Address,
        spec: SpecHash,
        terms: Terms,
        amount: Amount,
    ) -> impl Future<Output = Result<(JobId, Cost), ChainError>> + Send;
    /// Adds escrow to a job, raising the allowance where it is short.
    fn top_up(&self, job: JobId, amount: Amount) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Asks for a job to be closed.
    fn close_job(&self, job: JobId) -> impl Future<Output = Result<Cost, ChainError>> + Send;

    /// Mints development tokens to `to`; a real token refuses.
    fn mint(&self, to: Address, amount: Amount) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Sends `amount` tokens: what one payment costs without a rollup.
    fn transfer(&self, to: Address, amount: Amount) -> impl Future<Output = Result<Cost, ChainError>> + Send;

    /// Sends ether.
    fn send_ether(&self, to: Address, wei: u128) -> impl Future<Output = Result<Cost, ChainError>> + Send;

    /// Pays an account what it has earned and not had, to its payout address.
    fn claim(
        &self,
        batch: &BatchOnChain,
        account: &ProvenAccount,
    ) -> impl Future<Output = Result<ClaimOutcome, ChainError>> + Send;
    /// The same to another address, by the payout key's signature of [`claim_to_digest`].
    fn claim_to(
        &self,
        batch: &BatchOnChain,
        account: &ProvenAccount,
        to: Address,
        signature: EthSignature,
    ) -> impl Future<Output = Result<ClaimOutcome, ChainError>> + Send;
    /// Pays up to [`CLAIMS_MAX`] accounts in one transaction; more are cut off.
    fn claim_many(
        &self,
        batch: &BatchOnChain,
        accounts: &[ProvenAccount],
    ) -> impl Future<Output = Result<ClaimOutcome, ChainError>> + Send;
    /// Pays a job's requester what is due back; the amount is the difference of two [`BaseLayer::claimed_refund`].
    fn claim_refund(
        &self,
        batch: &BatchOnChain,
        job: &ProvenJob,
    ) -> impl Future<Output = Result<(Amount, Cost), ChainError>> + Send;
    /// Pays a job's coordinator its fees.
    fn claim_fees(
        &self,
        batch: &BatchOnChain,
        job: &ProvenJob,
    ) -> impl Future<Output = Result<(Amount, Cost), ChainError>> + Send;
}

/// What a payout key signs to have `earned` (the cumulative total in the leaf) paid to `to`.
pub fn claim_to_digest(domain: &Domain, index: AccountIndex, earned: Amount, to: Address) -> Keccak {
    domain.digest(
        "ClaimTo(uint32 index,uint128 earned,address to)",
        &[word(index.0.into()), word(earned.as_units()), address_word(to)],
    )
}

/// The state root before the first batch.
pub fn genesis_root() -> Keccak {
    protocol::ledger::State::default().root()
}

/// The parts of a batch's post-state, as its header states them.
pub const fn post_state(batch: &BatchOnChain) -> &StateParts {
    &batch.posted.header.post
}
