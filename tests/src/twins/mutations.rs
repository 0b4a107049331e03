//! An honest batch with every kind of op, as it is posted, and what comes of it once it is changed.

use alloy::sol_types::SolCall as _;
use contracts::base_layer::BatchOnChain;
use contracts::bindings::Challenges::ChallengesErrors;
use contracts::error::Reason;
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, WorkerId};
use protocol::ledger::batch::{chunks_tree, decode_payload, encode_payload};
use protocol::ledger::fraud::{
    ChunkFraud, ChunkOpening, ResultFraud, ResultOpening, Stand, replay, wrong_chunk, wrong_result,
};
use protocol::ledger::results::results_tree;
use protocol::ledger::{
    Approval, Batch, BatchBuilder, BatchHeader, BatchMode, BatchStart, Chunk, Credit, Deriver, Fault,
    PostedBatch, QueueAction, ResultLeaf, ResultsFault, Settlement, SettlementCredit, Terms, approval_digest,
};

use super::court::Court;
use super::worlds::{PROPOSER, requester};

/// What stops a batch that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopped {
    /// The contract refuses it when it is posted.
    AtPosting,
    /// The auditor finds the chunk, and the contract accepts the proof.
    ByFraudProof,
    /// The auditor finds chunks in a blob that do not fit together, and the contract accepts the proof.
    ByMisfitProof,
    /// The auditor finds the result, and the contract accepts the proof.
    ByResultProof,
    /// The results root is not one of these results: the auditor says so. There is nothing that a proof could open, and
    /// nothing answers a data challenge for any of them, which costs the proposer its reward.
    ByDataChallenge,
    /// Nothing: the ledger comes to the same, and no proof against it is accepted.
    NotAtAll,
}

/// The chain before the batch, and the batch.
#[derive(Clone, Debug)]
pub struct Stage {
    pub(super) court: Court,
    pub(super) deriver: Deriver,
    /// The honest batch: registrations, all kinds of queue items, credits with an approval and without.
    pub batch: Batch,
}

const fn terms(approve: bool) -> Terms {
    Terms {
        price_cap: 1_000,
        task_cap: 100,
        settlements: 9,
        rate: 1,
        burst: 1_000_000,
        fee_bps: 250,
        approve,
        kind: 0,
    }
}

fn settlement(court: &Court, job: u32, number: u32, approve: bool, accounts: &[u32]) -> Settlement {
    let job = JobId(job);
    let credits = accounts.iter().map(|index| SettlementCredit {
        credit: Credit { account: AccountIndex(*index), tasks: 2, amount: 1_000 + u64::from(*index) },
        receipts: Digest([*index as u8; 32]),
        results: Digest([!*index as u8; 32]),
    });
    let approval = approve.then(|| {
        let sum_max = 9_999;
        let digest = approval_digest(&court.deployment().domain, job, number, sum_max);
        Approval { sum_max, signature: requester(0).sign(&digest) }
    });
    Settlement { job, number, approval, credits: credits.collect() }
}

fn register(builder: &mut BatchBuilder<'_>, numbers: core::ops::Range<u8>) {
    for number in numbers {
        let (worker, payout) = (WorkerId([number; 32]), Address([number; 20]));
        builder.register(worker, payout).expect("there is room");
    }
}

/// Lets the deriver know the queue.
fn hear(court: &Court, deriver: &mut Deriver) {
    for index in deriver.queue().len()..court.queue.len() {
        let item = *court.queue.get(index).expect("below its length");
        deriver.queue_item(index, item).expect("in order");
    }
}

/// The next batch, with what is written into it.
fn seal(
    mode: BatchMode,
    court: &Court,
    deriver: &Deriver,
    time: u64,
    write: impl FnOnce(&mut BatchBuilder<'_>),
) -> Batch {
    let queue = deriver.queue();
    let number = BatchId(deriver.last().0 + 1);
    let start = BatchStart { number, time, proposer: PROPOSER, queue_end: queue.len() };
    let begin = match mode {
        BatchMode::Calldata => BatchBuilder::new,
        BatchMode::Blobs => BatchBuilder::in_blobs,
    };
    let builder = begin(deriver.state().clone(), start, court.deployment(), queue);
    let mut builder = builder.expect("it sees the queue that is known");
    write(&mut builder);
    builder.seal().0
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// The same at every run.
    pub fn new() -> Self {
        Self::of(BatchMode::Calldata)
    }

    /// The same ops in blobs.
    pub fn in_blobs() -> Self {
        Self::of(BatchMode::Blobs)
    }

    fn of(mode: BatchMode) -> Self {
        let mut court = Court::new();
        let mut deriver = Deriver::new(court.deployment());
        for (job, approve) in [(0, false), (1, true), (2, false)] {
            court.fund(JobId(job), 1_000_000, terms(approve));
        }
        court.evm.pass(12);
        hear(&court, &mut deriver);
        let first = seal(BatchMode::Calldata, &court, &deriver, court.evm.time(), |builder| {
            builder.consume_queue().expect("jobs are funded in order");
            register(builder, 1..5);
        });
        court.post(&first.header, first.payload()).expect("it is honest");
        let posted = Court::posted(&first.header, &first.chunks).posted;
        assert!(deriver.batch(&posted, Some(&[])).holds(), "the first batch is honest");

        court.evm.pass(12);
        court.ask(JobId(0), QueueAction::TopUp { amount: Amount::units(777) });
        court.ask(JobId(2), QueueAction::Close);
        court.fund(JobId(3), 5_000, terms(false));
        hear(&court, &mut deriver);
        // Between the last item and the block, so that other times could be posted too.
        court.evm.pass(3_000);
        let batch = seal(mode, &court, &deriver, court.evm.time() - 1_000, |builder| {
            register(builder, 5..7);
            builder.consume_queue().expect("items in order");
            for (job, number, approve, accounts) in
                [(0, 0, false, &[0, 2, 5][..]), (1, 0, true, &[1, 3]), (1, 1, true, &[4]), (2, 0, false, &[])]
            {
                let pay = settlement(&court, job, number, approve, accounts);
                builder.settle(&pay).expect("within every limit");
            }
        });
        Self { court, deriver, batch }
    }

    /// Posts what became of the batch and looks for what stops it; an error is a batch that ought to be stopped and is
    /// not, or a proof against one that is honest.
    pub fn try_out(
        &self,
        header: &BatchHeader,
        payload: &[u8],
        results: &[ResultLeaf],
    ) -> Result<Stopped, String> {
        let mut court = self.court.clone();
        match court.post(header, payload.to_vec()) {
            Err(why) if matches!(why.0, Reason::Rollup(_)) => return Ok(Stopped::AtPosting),
            Err(why) => return Err(format!("posting fails by itself: {why}")),
            Ok(_) => {}
        }
        let chunks = decode_payload(payload).map_err(|why| format!("posted and unreadable: {why}"))?;
        let batch = Court::posted(header, &chunks);
        let verdict = self.deriver.clone().batch(&batch.posted, Some(results));
        match (verdict.fault, verdict.results) {
            (Some(Fault::Chunk { .. }), _) => {
                let fraud = wrong_chunk(&self.deriver, &batch.posted).ok_or("a fault without a proof")?;
                accepted(&mut court, Court::fraud_call(&batch, &fraud).abi_encode())?;
                Ok(Stopped::ByFraudProof)
            }
            (Some(fault), _) => Err(format!("the contract posted what the auditor refuses: {fault}")),
            (None, Some(Err(ResultsFault::Root { .. }))) => {
                let proof = wrong_result(&batch.posted, results);
                if proof.is_some() {
                    return Err("a proof of what opens nothing".into());
                }
                let tree =
                    results_tree(results).map_err(|why| format!("more results than a tree holds: {why}"))?;
                let open = |(index, leaf): (u32, &ResultLeaf)| {
                    let proof = tree.proof(index).expect("within the tree");
                    ResultOpening { index, count: tree.count(), leaf: *leaf, proof }
                };
                let cost = court.ask_for(&batch, 0, (0..).zip(results).map(open));
                match cost.map_err(|why| format!("a data challenge comes to nothing: {why}"))? {
                    0 => Err("nobody answers, and it costs the proposer nothing".into()),
                    _ => Ok(Stopped::ByDataChallenge),
                }
            }
            (None, Some(Err(_))) => {
                let fraud = wrong_result(&batch.posted, results).ok_or("a fault without a proof")?;
                accepted(&mut court, Court::result_call(&batch, &fraud).abi_encode())?;
                Ok(Stopped::ByResultProof)
            }
            (None, _) => {
                if wrong_chunk(&self.deriver, &batch.posted).is_some()
                    || wrong_result(&batch.posted, results).is_some()
                {
                    return Err("a proof against a batch that holds".into());
                }
                self.none_provable(&mut court, &batch, &chunks, results)?;
                Ok(Stopped::NotAtAll)
            }
        }
    }

    /// The proofs that an honest batch invites: each chunk with its right witness, each result with each chunk.
    pub fn attempts(
        &self,
        batch: &BatchOnChain,
        chunks: &[Chunk],
        results: &[ResultLeaf],
    ) -> (Vec<ChunkFraud>, Vec<ResultFraud>) {
        let PostedBatch { header, commitment, .. } = batch.posted;
        let tree = chunks_tree(header.pre_root, chunks);
        let mut state = self.deriver.state().clone();
        let context = self.court.context(header.time);
        let (mut pre_root, mut first_credit) = (header.pre_root, 0);
        let mut frauds = Vec::new();
        for (index, chunk) in (0..).zip(chunks) {
            let pre = state.parts();
            let witness = replay(&mut state, &chunk.bytes, chunk.declared, &context);
            let proof = tree.proof(index).expect("within the tree");
            let chunk = chunk.clone();
            let post_root = chunk.post_root;
            let declared = u32::from(chunk.declared);
            let stand = match &batch.posted.blobs {
                None => Stand::Tree(proof),
                Some(blobs) => Stand::Blobs {
                    hashes: blobs.hashes.clone(),
                    own: blobs.blobs[0].clone(),
                    before: (index > 0).then(|| blobs.blobs[0].clone()),
                },
            };
            let opening = ChunkOpening { index, count: tree.count(), pre_root, first_credit, chunk, stand };
            frauds.push(ChunkFraud { commitment, opening, pre, witness, post: state.parts() });
            (pre_root, first_credit) = (post_root, first_credit + declared);
        }
        let tree = results_tree(results).expect("few results");
        let mut wrong = Vec::new();
        for (index, leaf) in (0..).zip(results) {
            let proof = tree.proof(index).expect("within the tree");
            let result = ResultOpening { index, count: tree.count(), leaf: *leaf, proof };
            let opened = frauds.iter().map(|fraud| fraud.opening.clone());
            wrong.extend(opened.map(|opening| ResultFraud { commitment, opening, result: result.clone() }));
        }
        (frauds, wrong)
    }

    /// Whether a posting with this calldata is refused.
    pub fn refuses(&self, data: Vec<u8>) -> bool {
        self.court.clone().try_posting(data).is_err()
    }

    /// The honest batch as the base layer shows it, and a court in which it is posted.
    pub fn posted(&self) -> (Court, BatchOnChain) {
        let mut court = self.court.clone();
        let payload = encode_payload(&self.batch.chunks);
        court.post(&self.batch.header, payload).expect("it is honest");
        (court, Court::posted(&self.batch.header, &self.batch.chunks))
    }

    pub(super) fn none_provable(
        &self,
        court: &mut Court,
        batch: &BatchOnChain,
        chunks: &[Chunk],
        results: &[ResultLeaf],
    ) -> Result<(), String> {
        use ChallengesErrors::{HonestChunk, HonestResult};
        let (frauds, mut wrong) = self.attempts(batch, chunks, results);
        wrong.retain(|fraud| {
            let (first, declared) = (fraud.opening.first_credit, fraud.opening.chunk.declared);
            (first..first + u32::from(declared)).contains(&fraud.result.index)
        });
        for fraud in frauds {
            match refusal(court, Court::fraud_call(batch, &fraud).abi_encode())? {
                HonestChunk(_) => {}
                other => return Err(format!("chunk {}: {other:?}", fraud.opening.index)),
            }
        }
        for fraud in wrong {
            match refusal(court, Court::result_call(batch, &fraud).abi_encode())? {
                HonestResult(_) => {}
                other => return Err(format!("result {}: {other:?}", fraud.result.index)),
            }
        }
        Ok(())
    }
}

pub(super) fn accepted(court: &mut Court, data: Vec<u8>) -> Result<(), String> {
    court.try_proof(data).map(|_| ()).map_err(|why| format!("a lie whose proof is refused: {why}"))
}

fn refusal(court: &mut Court, data: Vec<u8>) -> Result<ChallengesErrors, String> {
    match court.try_proof(data) {
        Ok(_) => Err("an honest batch was proven wrong".into()),
        Err(why) => match why.0 {
            Reason::Challenges(error) => Ok(*error),
            other => Err(format!("refused for another reason: {other}")),
        },
    }
}
