//! The dearest chunks that can be: each mix of ops filled up to a chunk's limits, over leaves whose paths give all 24
//! siblings, in the largest tree of chunks that a batch has room for.

use alloy::sol_types::SolCall as _;
use contracts::base_layer::BatchOnChain;
use contracts::kzg::versioned_hash;
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::ledger::batch::{CHUNK_FRAME_BYTES, chunks_tree, encode_payload, root_of_results};
use protocol::ledger::blob::{self, BLOB_CHUNKS, BLOB_OPS_BYTES_MAX, BLOBS_MAX, InBlobs, VersionedHash};
use protocol::ledger::fraud::{ChunkFraud, ChunkOpening, Stand, Witness, replay};
use protocol::ledger::state::{OpenSettlement, STATE_LEAVES_MAX};
use protocol::ledger::{
    Account, Approval, BatchHeader, Chunk, Credit, Credits, Job, Op, QueueAction, State, StateParts, Terms,
    apply_chunk, approval_digest, parse_chunk,
};
use protocol::limits::{BATCH_BYTES_MAX, CHUNK_BYTES_MAX, CHUNK_TOUCHES_MAX};

use super::court::Court;
use super::evm::Reverted;
use super::worlds::{PROPOSER, requester};

/// Jobs that exist, in the upper half of their tree, so that paths reach its top.
const FIRST_JOB: u32 = STATE_LEAVES_MAX - 64;
const JOBS: u32 = CHUNK_TOUCHES_MAX as u32;
/// The same of accounts.
const FIRST_ACCOUNT: u32 = STATE_LEAVES_MAX - 64;
const ACCOUNTS: u32 = CHUNK_TOUCHES_MAX as u32;
/// The settlement that comes next, and others like it: every byte of calldata is dear.
const SETTLEMENT: u32 = 0x0101_0101;
const MANY: u64 = 0x0101_0101_0101_0101;

/// One op of a mix, for the next job or jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A registration.
    Register,
    /// So many credits to the next accounts; with none, the settlement closes.
    Credits(usize),
    /// The same with an approval.
    Approved(usize),
    /// Credits of which the last breaks a rule.
    Broken(usize),
    /// Opens a job.
    Fund,
    /// Adds to a job.
    TopUp,
    /// Closes a job.
    Close,
    /// Looks at a queue item that is about another job.
    Another,
}

use Part::{Another, Approved, Broken, Close, Credits as Pay, Fund, Register, TopUp};

/// Every mix, by name: so many of each part, in this order.
///
/// A top-up is the dearest touch (46,000 gas; a close 45,900, an approved settlement 43,800, one without 39,400, a job
/// funded 38,400, a credit 30,000, a registration 22,800) and takes five bytes: as far as the costs of ops add up, no
/// chunk costs more than 20 of them.
pub const MIXES: [(&str, &[(usize, Part)]); 22] = [
    ("19 credits of one job", &[(1, Pay(19))]),
    ("19 credits with an approval", &[(1, Approved(19))]),
    ("19 credits of which the last breaks a rule", &[(1, Broken(19))]),
    ("10 jobs with a credit each", &[(10, Pay(1))]),
    ("5 approved jobs with a credit each", &[(5, Approved(1))]),
    ("5 approvals, 2 credits, 8 top-ups", &[(5, Approved(0)), (1, Pay(2)), (8, TopUp)]),
    ("20 empty settlements closed", &[(20, Pay(0))]),
    ("20 jobs funded", &[(20, Fund)]),
    ("20 top-ups", &[(20, TopUp)]),
    ("20 jobs closed", &[(20, Close)]),
    ("20 looks at a queue item for another job", &[(20, Another)]),
    ("9 registrations", &[(9, Register)]),
    ("9 registrations, 7 top-ups", &[(9, Register), (7, TopUp)]),
    ("8 registrations, 12 top-ups", &[(8, Register), (12, TopUp)]),
    ("6 approvals", &[(6, Approved(0))]),
    ("6 approvals, a top-up", &[(6, Approved(0)), (1, TopUp)]),
    ("5 approvals, 15 top-ups", &[(5, Approved(0)), (15, TopUp)]),
    ("5 approvals, 15 jobs closed", &[(5, Approved(0)), (15, Close)]),
    ("5 approvals, 2 settlements, 13 top-ups", &[(5, Approved(0)), (2, Pay(0)), (13, TopUp)]),
    ("5 approvals, 2 settlements, 13 jobs closed", &[(5, Approved(0)), (2, Pay(0)), (13, Close)]),
    ("4 approvals, 16 settlements", &[(4, Approved(0)), (16, Pay(0))]),
    ("a bit of all", &[(3, Register), (2, Approved(1)), (4, Pay(0)), (4, TopUp), (2, Close), (2, Fund)]),
];

/// More that fit into a blob's chunk of 210 bytes.
pub const BLOB_MIXES: [(&str, &[(usize, Part)]); 4] = [
    ("15 credits of one job", &[(1, Pay(15))]),
    ("an approval, 19 top-ups", &[(1, Approved(0)), (19, TopUp)]),
    ("an approval with a credit, 18 top-ups", &[(1, Approved(1)), (18, TopUp)]),
    ("3 registrations, 9 top-ups", &[(3, Register), (9, TopUp)]),
];

/// What proving a mix wrong takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Leaves that its ops touch.
    pub touches: usize,
    /// Bytes of its ops.
    pub bytes: usize,
    /// Bytes of the proof's calldata.
    pub calldata: usize,
    /// Gas of the proof, as a transaction that earns the whole reward.
    pub gas: u64,
    /// Gas of posting the batch, the largest that there can be.
    pub posting: u64,
}

fn terms(approve: bool) -> Terms {
    Terms {
        price_cap: MANY,
        task_cap: u32::MAX,
        settlements: u32::MAX,
        rate: u64::MAX,
        burst: u64::MAX,
        fee_bps: 0x0101,
        approve,
        kind: 1,
    }
}

fn job(approve: bool, closing: u64) -> Job {
    Job {
        requester: requester(0).address(),
        coordinator: PROPOSER,
        spec: SpecHash([0x5e; 32]),
        opened_at: 1,
        funded: Amount::units(u128::MAX >> 1),
        spent: Amount::units(MANY.into()),
        refundable: Amount::units(u128::MAX >> 1),
        fees: Amount::units(u128::MAX >> 1),
        terms: terms(approve),
        closing,
        next_settlement: SETTLEMENT,
        open: OpenSettlement {
            tasks: SETTLEMENT,
            sum: Amount::units(MANY.into()),
            last_account: SETTLEMENT >> 8,
        },
    }
}

fn account(index: u32) -> (AccountIndex, Account) {
    let account = Account {
        worker: WorkerId([0x11; 32]),
        payout: Address([0x22; 20]),
        earned: Amount::units(u128::MAX >> 1),
    };
    (AccountIndex(index), account)
}

/// A mix as ops, with the state they read.
struct Scene {
    court: Court,
    /// Jobs that the mix opens.
    opened: u32,
    ops: Vec<Op>,
    jobs: Vec<(JobId, Job)>,
}

impl Scene {
    fn new(mix: &[(usize, Part)]) -> Self {
        let mut court = Court::new();
        court.stand_at(Keccak([1; 32]), FIRST_JOB);
        for id in FIRST_JOB..FIRST_JOB + JOBS {
            court.fund(JobId(id), 1, terms(false));
        }
        court.evm.pass(12);
        // Leaf 0 makes the left half of the tree a sibling that no path can leave out.
        let jobs = vec![(JobId(0), job(false, 0))];
        let mut scene = Self { court, opened: 0, ops: Vec::new(), jobs };
        mix.iter().flat_map(|(count, part)| vec![*part; *count]).for_each(|part| scene.add(part));
        for id in FIRST_JOB + scene.jobs.len() as u32 - 1..FIRST_JOB + JOBS {
            scene.jobs.push((JobId(id), job(false, 0)));
        }
        scene
    }

    fn add(&mut self, part: Part) {
        // Funded jobs come last: their ids are the largest.
        let id = JobId(FIRST_JOB + self.jobs.len() as u32 - 1);
        let (approve, closing) = (matches!(part, Approved(_)), if part == Close { 0 } else { u64::MAX });
        match part {
            Register => {
                self.ops.push(Op::Register { worker: WorkerId([0x11; 32]), payout: Address([0x22; 20]) });
                return;
            }
            Fund => {
                let id = JobId(FIRST_JOB + JOBS + self.opened);
                self.opened += 1;
                self.court.fund(id, (1 << 95) + u128::from(MANY), terms(true));
                self.ops.push(Op::Queue { job: id });
                return;
            }
            TopUp => self.court.ask(id, QueueAction::TopUp { amount: Amount::units((1 << 90) + 1) }),
            Close => self.court.ask(id, QueueAction::Close),
            // One item, about a job that no op names.
            Another if self.ops.is_empty() => {
                let last = JobId(FIRST_JOB + JOBS);
                self.court.fund(last, 1, terms(true));
            }
            Pay(_) | Approved(_) | Broken(_) | Another => {}
        }
        self.jobs.push((id, job(approve, closing)));
        self.ops.push(match part {
            Pay(count) | Approved(count) | Broken(count) => self.credits(id, count, part),
            _ => Op::Queue { job: id },
        });
    }

    fn credits(&self, job: JobId, count: usize, part: Part) -> Op {
        let amount = MANY;
        let paid = (FIRST_ACCOUNT..).take(count);
        let mut credits: Vec<_> =
            paid.map(|index| Credit { account: AccountIndex(index), tasks: 0x0101, amount }).collect();
        if let (Broken(_), Some(last)) = (part, credits.last_mut()) {
            last.tasks = 0;
        }
        let sum_max = u64::MAX;
        let domain = self.court.deployment().domain;
        let approval = matches!(part, Approved(_)).then(|| {
            let digest = approval_digest(&domain, job, SETTLEMENT, sum_max);
            Approval { sum_max, signature: requester(0).sign(&digest) }
        });
        Op::Credits(Credits { job, settlement: SETTLEMENT, last: true, approval, credits })
    }

    fn state(&self) -> State {
        let accounts: Vec<_> =
            core::iter::once(0).chain(FIRST_ACCOUNT..FIRST_ACCOUNT + ACCOUNTS).map(account).collect();
        let (next_account, next_job) = (FIRST_ACCOUNT + ACCOUNTS, FIRST_JOB + JOBS);
        State::sparse(&accounts, next_account, &self.jobs, next_job, JOBS.into()).expect("below the next")
    }
}

/// A chunk of a mix, and a lie about the state after it.
struct Lie {
    scene: Scene,
    bytes: Vec<u8>,
    declared: u8,
    touches: usize,
    header: BatchHeader,
    pre: StateParts,
    post: StateParts,
    witness: Witness,
}

impl Lie {
    fn new(mix: &[(usize, Part)]) -> Self {
        let mut scene = Scene::new(mix);
        let mut bytes = Vec::new();
        scene.ops.iter().for_each(|op| op.encode(&mut bytes));
        let parsed = parse_chunk(&bytes);
        assert!(parsed.end.is_none() && bytes.len() <= CHUNK_BYTES_MAX, "the mix is a chunk: {parsed:?}");
        let declared = u8::try_from(parsed.credit_count).expect("a chunk carries at most 19 credits");

        let mut state = scene.state();
        let time = scene.court.evm.time();
        let applied = apply_chunk(&mut state.clone(), &bytes, declared, &scene.court.context(time));
        let held = applied.outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let idle: usize =
            mix.iter().filter(|(_, part)| matches!(part, Broken(_) | Another)).map(|(n, _)| n).sum();
        assert_eq!(held + idle, scene.ops.len(), "the ops do what the mix says: {:?}", applied.outcomes);
        let pre = state.parts();
        scene.court.stand_at(pre.root(), FIRST_JOB + JOBS + scene.opened);
        let witness = replay(&mut state, &bytes, declared, &scene.court.context(time));
        let post = state.parts();
        let header = BatchHeader {
            number: BatchId(1),
            pre_root: pre.root(),
            time,
            queue_end: scene.court.queue.len(),
            queue_hash: scene.court.queue.hash_at(scene.court.queue.len()).expect("all of it"),
            results_root: if declared == 0 { root_of_results(&[]).expect("none") } else { Keccak([2; 32]) },
            post: StateParts { accounts_root: Keccak([1; 32]), ..post },
        };
        Self { scene, bytes, declared, touches: parsed.touches, header, pre, post, witness }
    }

    /// A chunk of one byte that means nothing, at the state posted after the lie.
    fn filler(&self) -> Chunk {
        Chunk { bytes: vec![0], declared: 0, post_root: self.header.post.root() }
    }

    fn chunk(&self) -> Chunk {
        Chunk { bytes: self.bytes.clone(), declared: self.declared, post_root: self.header.post.root() }
    }

    fn prove(
        mut self,
        batch: &BatchOnChain,
        opening: ChunkOpening,
        posting: u64,
    ) -> Result<Measured, Reverted> {
        let (commitment, pre, post) = (batch.posted.commitment, self.pre, self.post);
        let fraud = ChunkFraud { commitment, opening, pre, witness: self.witness, post };
        self.scene.court.commit(fraud.subject())?;
        let data = Court::fraud_call(batch, &fraud).abi_encode();
        let (bytes, calldata) = (fraud.opening.chunk.bytes.len(), data.len());
        let gas = self.scene.court.try_proof(data)?;
        Ok(Measured { touches: self.touches, bytes, calldata, gas, posting })
    }
}

/// Puts the mix into a batch as full of chunks as one can be, with a lie about the state after it, and proves the lie.
pub fn measure(mix: &[(usize, Part)]) -> Result<Measured, Reverted> {
    let mut lie = Lie::new(mix);
    let payload = CHUNK_FRAME_BYTES + lie.bytes.len();
    let mut chunks = vec![lie.chunk()];
    let rest = (BATCH_BYTES_MAX - payload) / (CHUNK_FRAME_BYTES + 1);
    chunks.extend(vec![lie.filler(); rest]);
    let posting = lie.scene.court.post(&lie.header, encode_payload(&chunks))?.gas;
    let batch = Court::posted(&lie.header, &chunks);
    let tree = chunks_tree(lie.pre.root(), &chunks);
    let opening = ChunkOpening {
        index: 0,
        count: tree.count(),
        pre_root: lie.pre.root(),
        first_credit: 0,
        chunk: chunks.swap_remove(0),
        stand: Stand::Tree(tree.proof(0).expect("it is the first")),
    };
    lie.prove(&batch, opening, posting)
}

/// The same in blobs, six of them full: the chunk has another before it, and its room is filled with what means
/// nothing. `None` if the mix does not fit.
pub fn measure_in_blobs(mix: &[(usize, Part)]) -> Option<Result<Measured, Reverted>> {
    let mut lie = Lie::new(mix);
    if lie.bytes.len() > BLOB_OPS_BYTES_MAX {
        return None;
    }
    lie.bytes.resize(BLOB_OPS_BYTES_MAX, 0);
    let before = Chunk { post_root: lie.pre.root(), ..lie.filler() };
    let mut chunks = vec![before, lie.chunk()];
    chunks.resize(BLOBS_MAX * BLOB_CHUNKS, lie.filler());
    let blobs = blob::encode(&chunks);
    // All but the first are of no concern to the proof.
    let mut hashes = vec![VersionedHash([1; 32]); blobs.len()];
    hashes[0] = versioned_hash(&blobs[0]);
    let (count, credits) = (chunks.len() as u32, u32::from(lie.declared));
    let posted = InBlobs { count, credits, hashes: hashes.clone(), blobs: blobs.clone() };
    let posting = match lie.scene.court.post_blobs(&lie.header, &posted) {
        Ok(sent) => sent.gas,
        Err(why) => return Some(Err(why)),
    };
    let batch = Court::posted_in_blobs(&lie.header, posted);
    let opening = ChunkOpening {
        index: 1,
        count,
        pre_root: lie.pre.root(),
        first_credit: 0,
        chunk: chunks.swap_remove(1),
        stand: Stand::Blobs { hashes, own: blobs[0].clone(), before: Some(blobs[0].clone()) },
    };
    Some(lie.prove(&batch, opening, posting))
}
