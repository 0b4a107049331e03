//! The contracts as a deployment makes them, in [`Evm`]: money is paid in, batches are posted and proven wrong by whole
//! transactions. A clone is a snapshot.

use alloy::primitives::{Address as EvmAddress, B256, U256};
use alloy::sol_types::{SolCall as _, SolEvent as _, SolValue as _};
use contracts::base_layer::{BatchOnChain, Block, DEVELOPMENT_CHAIN_ID, Place};
use contracts::bindings::{Challenges, DevToken, Rollup, ServiceBonds, from_evm, to_evm};
use contracts::error::Reason;
use contracts::rpc::{FRAUD_BOND_WEI, Windows};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{Address, JobId, SpecHash};
use protocol::ledger::batch::{encode_payload, summarise};
use protocol::ledger::blob::InBlobs;
use protocol::ledger::fraud::{ChunkFraud, Misfit, ResultFraud, ResultOpening, challenge_hash};
use protocol::ledger::{
    BatchHeader, BatchMode, Chunk, Context, Deployment, PostedBatch, Queue, QueueAction, QueueItem, Terms,
};
use protocol::sign::eip712::Domain;

use super::evm::{Evm, Reverted, Sent};
use super::worlds::{PROPOSER, requester};

/// Who deploys, and has no rights afterwards.
const DEPLOYER: EvmAddress = EvmAddress::repeat_byte(0xdd);
/// Who proves, and has never held ether.
const PROVER: Address = Address([0xbe; 20]);
const SALT: [u8; 32] = [0x5a; 32];
/// The most that a job is funded with, in units.
const AMOUNT_MAX: u128 = (1 << 96) - 1;
const WINDOWS: Windows = Windows::REAL;

/// A rollup with bonds behind it, and the queue that it has taken in.
#[derive(Clone, Debug)]
pub struct Court {
    /// The chain.
    pub evm: Evm,
    /// What the rollup's queue holds.
    pub queue: Queue,
    rollup: EvmAddress,
    challenges: EvmAddress,
    bonds: EvmAddress,
}

impl Default for Court {
    fn default() -> Self {
        Self::new()
    }
}

impl Court {
    /// A rollup without a batch, whose proposer has made both bonds and whose requester has tokens for anything.
    pub fn new() -> Self {
        Self::deployed().expect("a deployment as the real one is made")
    }

    fn deployed() -> Result<Self, Reverted> {
        let mut evm = Evm::default();
        let token = evm.create(DEPLOYER, DevToken::BYTECODE.to_vec())?;
        let coming = DEPLOYER.create(3);
        let config = Rollup::Config {
            token,
            unit: "1".parse().expect("a number"),
            proposer: to_evm(PROPOSER),
            fraudBond: FRAUD_BOND_WEI,
            challengeWindow: WINDOWS.challenge,
            inclusionWindow: WINDOWS.inclusion,
            closeGrace: WINDOWS.close_grace,
            quietPeriod: WINDOWS.quiet,
            freezeOverdue: WINDOWS.freeze_overdue,
            freezePending: WINDOWS.freeze_pending,
            omissionWindow: WINDOWS.omission,
            dataWindow: WINDOWS.data,
            bondExit: WINDOWS.bond_exit,
        };
        let bond_config = ServiceBonds::BondConfig {
            token,
            unit: config.unit,
            challengeWindow: WINDOWS.challenge,
            omissionWindow: WINDOWS.omission,
            dataWindow: WINDOWS.data,
            bondExit: WINDOWS.bond_exit,
        };
        let with = |code: &[u8], arguments: Vec<u8>| [code, &arguments].concat();
        let arguments = (config.clone(), coming).abi_encode_params();
        let challenges = evm.create(DEPLOYER, with(&Challenges::BYTECODE, arguments))?;
        let arguments = (bond_config, coming).abi_encode_params();
        let bonds = evm.create(DEPLOYER, with(&ServiceBonds::BYTECODE, arguments))?;
        let arguments = (config, challenges, bonds).abi_encode_params();
        let rollup = evm.create(DEPLOYER, with(&Rollup::BYTECODE, arguments))?;

        let (poster, payer) = (to_evm(PROPOSER), to_evm(Self::requester()));
        evm.send(poster, challenges, FRAUD_BOND_WEI, &Challenges::depositCall { proposer: poster })?;
        for (who, spender) in [(poster, bonds), (payer, rollup)] {
            evm.send(
                who,
                token,
                0,
                &DevToken::mintCall { to: who, amount: U256::from(AMOUNT_MAX) << 8usize },
            )?;
            evm.send(who, token, 0, &DevToken::approveCall { spender, value: U256::MAX })?;
        }
        let deposit = ServiceBonds::depositCall { coordinator: poster, amount: AMOUNT_MAX };
        evm.send(poster, bonds, 0, &deposit)?;
        Ok(Self { evm, queue: Queue::default(), rollup, challenges, bonds })
    }

    /// Who funds every job.
    pub fn requester() -> Address {
        requester(0).address()
    }

    /// What the ledger knows of the deployment.
    pub fn deployment(&self) -> Deployment {
        let domain = Domain { chain_id: DEVELOPMENT_CHAIN_ID, contract: from_evm(self.rollup) };
        Deployment { domain, close_grace: WINDOWS.close_grace }
    }

    /// What a batch of this time that sees the whole queue gives to its ops.
    pub fn context(&self, time: u64) -> Context<'_> {
        Context {
            deployment: self.deployment(),
            time,
            proposer: PROPOSER,
            queue: &self.queue,
            queue_end: self.queue.len(),
        }
    }

    /// Puts a state and a number of jobs in the place of a history that would take millions of transactions.
    pub fn stand_at(&mut self, root: Keccak, next_job: u32) {
        // The layout of RollupStore: the state root, then `latest u64, queueLength u64, nextJob u32` from the lowest.
        let counters = self.evm.load(self.rollup, U256::from(1));
        let at = 128usize;
        let cleared: U256 = counters & !(U256::from(u32::MAX) << at);
        self.evm.store(self.rollup, U256::from(1), cleared | U256::from(next_job) << at);
        self.evm.store(self.rollup, U256::ZERO, U256::from_be_bytes(root.0));
        let (latest, _) = self.evm.view(self.rollup, &Rollup::latestCall {}).expect("it only reads");
        let (job, _) = self.evm.view(self.rollup, &Rollup::nextJobCall {}).expect("it only reads");
        assert_eq!((latest.stateRoot.0, job), (root.0, next_job), "the rollup reads what was written");
    }

    /// Does by the requester what a queue item says, and keeps the item.
    pub fn ask(&mut self, job: JobId, action: QueueAction) {
        let sender = Self::requester();
        let (from, to) = (to_evm(sender), self.rollup);
        let sent = match action {
            QueueAction::Fund { amount, coordinator, spec, terms } => {
                let (coordinator, terms) = (to_evm(coordinator), terms.into());
                let (spec, amount) = (B256::new(spec.0), amount.as_units());
                let call = Rollup::fundJobCall { coordinator, specHash: spec, terms, amount };
                self.evm.send(from, to, 0, &call)
            }
            QueueAction::TopUp { amount } => {
                self.evm.send(from, to, 0, &Rollup::topUpCall { job: job.0, amount: amount.as_units() })
            }
            QueueAction::Close => self.evm.send(from, to, 0, &Rollup::closeJobCall { job: job.0 }),
        };
        sent.unwrap_or_else(|why| panic!("{action:?} of job {job}: {why}"));
        self.queue.push(QueueItem { job, time: self.evm.time(), sender, action });
    }

    /// Funds a job on these terms.
    pub fn fund(&mut self, job: JobId, amount: u128, terms: Terms) {
        let (amount, spec) = (Amount::units(amount), SpecHash([0x5e; 32]));
        self.ask(job, QueueAction::Fund { amount, coordinator: PROPOSER, spec, terms });
    }

    /// Posts a batch; it costs what it costs, whatever its chunks say.
    pub fn post(&mut self, header: &BatchHeader, payload: Vec<u8>) -> Result<Sent, Reverted> {
        let call = Rollup::postBatchCall { header: header.into(), payload: payload.into() };
        self.evm.send(to_evm(PROPOSER), self.rollup, 0, &call)
    }

    /// Posts a batch in blobs.
    pub fn post_blobs(&mut self, header: &BatchHeader, blobs: &InBlobs) -> Result<Sent, Reverted> {
        let call =
            Rollup::postBlobsCall { header: header.into(), chunks: blobs.count, credits: blobs.credits };
        self.evm.send_with_blobs(to_evm(PROPOSER), self.rollup, &blobs.hashes, &call)
    }

    /// The batch in blobs that this would be on the base layer.
    pub fn posted_in_blobs(header: &BatchHeader, blobs: InBlobs) -> BatchOnChain {
        let mut posted = PostedBatch {
            header: *header,
            proposer: PROPOSER,
            payload: Vec::new(),
            blobs: Some(blobs),
            commitment: Keccak::ZERO,
        };
        posted.commitment = posted.expected_commitment().expect("blobs can be read, all of them");
        let chunks = posted.summary().expect("blobs can be read, all of them");
        let block = Block { number: 0, hash: Keccak::ZERO, time: 0 };
        BatchOnChain { posted, chunks, place: Place { block, tx: Keccak::ZERO, log: 0 } }
    }

    /// The batch that this would be on the base layer.
    pub fn posted(header: &BatchHeader, chunks: &[Chunk]) -> BatchOnChain {
        let summary = summarise(header.pre_root, chunks);
        let commitment = header.commitment(PROPOSER, &summary, BatchMode::Calldata);
        let payload = encode_payload(chunks);
        let posted = PostedBatch { header: *header, proposer: PROPOSER, payload, blobs: None, commitment };
        let nowhere = Keccak([0; 32]);
        let block = Block { number: 0, hash: nowhere, time: 0 };
        BatchOnChain { posted, chunks: summary, place: Place { block, tx: nowhere, log: 0 } }
    }

    /// Commits to a proof, so that the next block's earns the whole reward.
    pub fn commit(&mut self, subject: Keccak) -> Result<Sent, Reverted> {
        let hash = B256::new(challenge_hash(subject, PROVER, &SALT).0);
        let sent = self.evm.send(DEPLOYER, self.challenges, 0, &Challenges::commitCall { hash })?;
        self.evm.pass(12);
        Ok(sent)
    }

    /// The call that shows a chunk to be wrong.
    pub fn fraud_call(batch: &BatchOnChain, fraud: &ChunkFraud) -> Challenges::proveFraudCall {
        Challenges::proveFraudCall {
            summary: batch.into(),
            chunk: (&fraud.opening).into(),
            pre: (&fraud.pre).into(),
            witness: (&fraud.witness).into(),
            beneficiary: to_evm(PROVER),
            salt: B256::new(SALT),
        }
    }

    /// The call that shows a batch in blobs not to fit together.
    pub fn misfit_call(batch: &BatchOnChain, misfit: &Misfit) -> Challenges::proveMisfitCall {
        Challenges::proveMisfitCall {
            summary: batch.into(),
            chunk: misfit.into(),
            beneficiary: to_evm(PROVER),
            salt: B256::new(SALT),
        }
    }

    /// The call that shows a result to be wrong.
    pub fn result_call(batch: &BatchOnChain, fraud: &ResultFraud) -> Challenges::proveResultCall {
        Challenges::proveResultCall {
            summary: batch.into(),
            chunk: (&fraud.opening).into(),
            result: (&fraud.result).into(),
            beneficiary: to_evm(PROVER),
            salt: B256::new(SALT),
        }
    }

    /// Asks on the base layer for a result, has each of these answers tried, and lets the time for one pass. What its
    /// silence costs the proposer, in units; an error if there is an answer.
    pub fn ask_for(
        &mut self,
        batch: &BatchOnChain,
        index: u32,
        answers: impl IntoIterator<Item = ResultOpening>,
    ) -> Result<u128, Reverted> {
        let (asker, base_fee) = (to_evm(PROVER), U256::from(self.evm.base_fee()));
        let deposit = self.evm.view(self.bonds, &ServiceBonds::depositAtCall { baseFee: base_fee })?.0;
        let ask = ServiceBonds::challengeDataCall { summary: batch.into(), index };
        self.evm.send(asker, self.bonds, deposit.saturating_to(), &ask)?;
        for leaf in answers {
            let answer = ServiceBonds::answerDataCall { summary: batch.into(), leaf: (&leaf).into() };
            if self.evm.try_call(to_evm(PROPOSER), self.bonds, answer.abi_encode()).is_ok() {
                return Err(Reverted(Reason::Text(format!("result {} answers it", leaf.index))));
            }
        }
        self.evm.pass(WINDOWS.data + 1);
        let end = ServiceBonds::endChallengeCall { summary: batch.into(), index };
        let sent = self.evm.send(asker, self.bonds, 0, &end)?;
        let silent = sent.logs.iter().find_map(|log| ServiceBonds::DataSilent::decode_log(log).ok());
        let silent = silent.ok_or_else(|| Reverted(Reason::Text("it ends, and nobody was silent".into())))?;
        Ok(silent.reward.saturating_to())
    }

    /// What a call to the court would do, and its gas; nothing changes.
    pub fn try_proof(&mut self, data: Vec<u8>) -> Result<u64, Reverted> {
        self.evm.try_call(DEPLOYER, self.challenges, data)
    }

    /// What a posting with this calldata would do, and its gas; nothing changes.
    pub fn try_posting(&mut self, data: Vec<u8>) -> Result<u64, Reverted> {
        self.evm.try_call(to_evm(PROPOSER), self.rollup, data)
    }
}
