//! The base layer, simulated: blocks with finality and reorganisations, and transactions that wait for one.

use std::collections::VecDeque;
use std::rc::Rc;

use coordinator::core::batches::SealedBatch;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::Deployment;
use protocol::ledger::fraud::Fraud;
use protocol::rng::Rng;
use protocol::time::Millis;

use super::actors::client::Client;
use super::bugs::Bug;
use super::ledger::{Entered, Ledger};
use super::swarm::{Params, WHOLE};
use crate::invariants::Checked;
use crate::oracle::Oracle;

/// A stranger's batch, which consumes the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posts {
    /// It is right.
    Right,
    /// A chunk before the last leads nowhere.
    WrongInTheMiddle,
    /// The last chunk leads elsewhere.
    WrongAtTheEnd,
}

/// What strangers do in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    /// One posts a batch.
    pub posts: Option<Posts>,
    /// One proves a wrong batch wrong, if there is one.
    pub proves: bool,
}

/// A transaction.
#[derive(Clone, Debug)]
pub enum Tx {
    /// A requester funds its job.
    Fund {
        /// Which requester.
        client: usize,
    },
    /// A requester adds to its job's escrow.
    TopUp {
        /// Which requester.
        client: usize,
        /// Units.
        units: u128,
    },
    /// A requester closes its job.
    Close {
        /// Which requester.
        client: usize,
    },
    /// The operator posts a batch.
    Post(Box<SealedBatch>),
    /// The operator proves a stranger's batch wrong.
    Prove(Box<Fraud>),
}

#[derive(Clone, Debug)]
struct Block {
    time: u64,
    txs: Vec<Tx>,
    after: Rc<Ledger>,
}

/// The base layer.
#[derive(Debug)]
pub struct Chain {
    proposer: Address,
    lag_s: u64,
    ahead_s: u64,
    finality: usize,
    window_s: u64,
    settled: Rc<Ledger>,
    settled_time: u64,
    /// Blocks that may still be replaced, oldest first.
    blocks: VecDeque<Block>,
    mempool: Vec<Tx>,
    out_until: Millis,
}

impl Chain {
    pub(super) fn new(params: &Params, deployment: Deployment, proposer: Address, bug: Option<Bug>) -> Self {
        Self {
            proposer,
            lag_s: params.chain_lag_s,
            ahead_s: params.chain_ahead_s,
            finality: params.finality_blocks as usize,
            window_s: params.window_s,
            settled: Rc::new(Ledger::new(deployment, bug)),
            settled_time: 0,
            blocks: VecDeque::new(),
            mempool: Vec::new(),
            out_until: Millis(0),
        }
    }

    /// As of the newest final block.
    pub fn settled(&self) -> &Ledger {
        &self.settled
    }

    /// As of the newest block.
    pub fn head(&self) -> &Ledger {
        self.blocks.back().map_or(&self.settled, |block| &block.after)
    }

    /// Unix seconds of the newest final block.
    pub const fn settled_time(&self) -> u64 {
        self.settled_time
    }

    /// Unix seconds of the newest block; 0 before the first.
    pub fn head_time(&self) -> u64 {
        self.blocks.back().map_or(self.settled_time, |block| block.time)
    }

    /// The newest batch that is past its challenge window, in a final block.
    pub fn final_upto(&self) -> u64 {
        self.settled.posted_until(self.settled_time.checked_sub(self.window_s))
    }

    /// When the newest outage ends.
    pub(super) const fn out_until(&self) -> Millis {
        self.out_until
    }

    pub(super) fn is_out(&self, now: Millis) -> bool {
        now < self.out_until
    }

    pub(super) fn begin_outage(&mut self, until: Millis) {
        self.out_until = self.out_until.max(until);
    }

    pub(super) fn submit(&mut self, tx: Tx) {
        self.mempool.push(tx);
    }

    /// Whether nothing waits to enter a block.
    pub(super) const fn is_idle(&self) -> bool {
        self.mempool.is_empty()
    }

    /// Whether a batch of this number waits to enter a block.
    pub(super) fn is_waiting(&self, number: BatchId) -> bool {
        self.mempool.iter().any(|tx| matches!(tx, Tx::Post(batch) if batch.header.number == number))
    }

    /// Whether a proof against a batch with this commitment waits to enter a block.
    pub(super) fn is_proof_waiting(&self, commitment: Keccak) -> bool {
        self.mempool.iter().any(|tx| matches!(tx, Tx::Prove(fraud) if fraud.commitment() == commitment))
    }

    /// Makes a block of what waits.
    pub(super) fn make_block(
        &mut self,
        now: Millis,
        strangers: Strangers,
        oracle: &Oracle,
        clients: &[Client],
    ) -> Checked {
        if self.is_out(now) {
            return Ok(());
        }
        let newest = self.head_time();
        let time = (now.secs() + self.ahead_s - self.lag_s).max(newest);
        let mut after = self.blocks.back().map_or(&self.settled, |block| &block.after).clone();
        if strangers != Strangers::default() {
            Rc::make_mut(&mut after).enter_strangers(strangers, time, oracle)?;
        }
        let (mut txs, mut waiting) = (Vec::new(), Vec::new());
        if !self.mempool.is_empty() {
            let ledger = Rc::make_mut(&mut after);
            for tx in std::mem::take(&mut self.mempool) {
                match ledger.enter(&tx, time, self.proposer, oracle, clients)? {
                    Entered::Yes => txs.push(tx),
                    Entered::Later => waiting.push(tx),
                    Entered::Never => {}
                }
            }
        }
        self.mempool = waiting;
        self.blocks.push_back(Block { time, txs, after });
        while self.blocks.len() > self.finality {
            let block = self.blocks.pop_front().expect("there are more than none");
            (self.settled, self.settled_time) = (block.after, block.time);
        }
        Ok(())
    }

    /// The newest blocks are replaced: their transactions wait again, in another order, but for some of the operator's,
    /// which nobody remembers.
    pub(super) fn reorganise(&mut self, depth: usize, dropped_posts: u64, rng: &mut Rng) {
        let mut back = Vec::new();
        for _ in 0..depth.min(self.blocks.len()) {
            back.extend(self.blocks.pop_back().into_iter().flat_map(|block| block.txs));
        }
        let of_the_operator = |tx: &Tx| matches!(tx, Tx::Post(_) | Tx::Prove(_));
        back.retain(|tx| !of_the_operator(tx) || !rng.chance(dropped_posts, WHOLE));
        rng.shuffle(&mut back);
        back.append(&mut self.mempool);
        self.mempool = back;
    }
}
