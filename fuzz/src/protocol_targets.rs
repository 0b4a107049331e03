//! What `protocol` reads from peers, from the base layer, and from people.

#[path = "protocol_targets/specs.rs"]
mod specs;

use protocol::amount::Amount;
use protocol::dispute::moves::{Asked, Body, Move};
use protocol::dispute::shape::Trace;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{Address, CoordinatorId, JobId, Nonce, SpecHash, TaskId, WorkerId};
use protocol::job::{
    ModelKind, ModelSpec, Name, Real, Receipt, ShardBlob, Task, TaskData, TaskWork, TrainTask,
};
use protocol::ledger::batch::{decode_payload, encode_payload};
use protocol::ledger::state::OpenSettlement;
use protocol::ledger::{
    Account, Chunk, Context, Credit, Credits, Deployment, Job, Op, Queue, QueueAction, QueueItem, State,
    Terms, apply_chunk, parse_chunk,
};
use protocol::sign::{EthSignature, NodeKey, Unverified, eip712::Domain};
use protocol::wire::address::CoordinatorAddress;
use protocol::wire::codec::{decode, encode};
use protocol::wire::error::WireError;
use protocol::wire::frame::{FrameDecoder, HEADER, encode_frame};
use protocol::wire::message::{
    Abilities, DataSets, Hello, ToCoordinator, ToWorker, TransferReply, TransferRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::specs::{spec, spec_json, spec_json_samples, spec_samples};
use super::target::Target;

/// All of them.
pub const TARGETS: [Target; 11] = [
    Target { name: "frames", run: frames, samples: frames_samples },
    Target { name: "to_coordinator", run: canonical::<ToCoordinator>, samples: to_coordinator_samples },
    Target { name: "to_worker", run: canonical::<ToWorker>, samples: to_worker_samples },
    Target { name: "transfer_request", run: canonical::<TransferRequest>, samples: transfer_request_samples },
    Target { name: "transfer_reply", run: canonical::<TransferReply>, samples: transfer_reply_samples },
    Target { name: "receipt", run: receipt, samples: receipt_samples },
    Target { name: "spec", run: spec, samples: spec_samples },
    Target { name: "spec_json", run: spec_json, samples: spec_json_samples },
    Target { name: "chunk", run: chunk, samples: chunk_samples },
    Target { name: "payload", run: payload, samples: payload_samples },
    Target { name: "address", run: address, samples: address_samples },
];

/// Whatever decodes has exactly these bytes.
fn canonical<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes) {
        assert_eq!(encode(&value), bytes, "one value, one encoding");
    }
}

/// The first byte says how the rest is cut; the cut must not matter, and little may pile up.
fn frames(bytes: &[u8]) {
    const LIMIT: u32 = 1000;
    let Some((cut, stream)) = bytes.split_first() else { return };
    let decode_all = |chunk: usize| -> (Vec<Vec<u8>>, Result<(), WireError>) {
        let (mut decoder, mut frames) = (FrameDecoder::new(LIMIT), Vec::new());
        for chunk in stream.chunks(chunk) {
            decoder.push(chunk);
            loop {
                match decoder.poll_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Err(error)),
                }
            }
            assert!(decoder.held() < LIMIT as usize + HEADER, "at most one unfinished frame is held");
            assert!(decoder.wanted() > 0, "an unfinished frame wants more");
        }
        (frames, decoder.finish())
    };
    let whole = decode_all(stream.len().max(1));
    assert_eq!(whole, decode_all(usize::from(*cut).max(1)));
    let again: Vec<u8> =
        whole.0.iter().flat_map(|frame| encode_frame(frame).expect("under the limit")).collect();
    assert!(stream.starts_with(&again));
}

fn receipt(bytes: &[u8]) {
    canonical::<Unverified<Receipt>>(bytes);
    if let Ok(unverified) = decode::<Unverified<Receipt>>(bytes)
        && let Ok(signed) = unverified.verify()
    {
        assert_eq!(encode(&signed.into_wire()), bytes);
    }
}

/// Any bytes are a chunk, and applying it keeps the books.
fn chunk(bytes: &[u8]) {
    let Some((declared, bytes)) = bytes.split_first() else { return };
    let parsed = parse_chunk(bytes);
    let mut again = Vec::new();
    for op in &parsed.ops {
        op.encode(&mut again);
    }
    assert!(bytes.starts_with(&again), "an op has one encoding");
    assert_eq!(again.len(), parsed.end.map_or(bytes.len(), |(at, _)| at));

    let (mut state, queue) = books();
    let before = state.clone();
    let context = Context {
        deployment: Deployment {
            domain: Domain { chain_id: 1, contract: Address([1; 20]) },
            close_grace: 3600,
        },
        time: 2_000,
        proposer: COORDINATOR,
        queue: &queue,
        queue_end: queue.len(),
    };
    let applied = apply_chunk(&mut state, bytes, *declared, &context);
    if applied.outcomes.iter().all(Result::is_err) {
        assert_eq!(state.root(), before.root(), "what is refused changes nothing");
    }
    let total =
        |state: &State| -> u128 { state.accounts().map(|(_, account)| account.earned.as_units()).sum() };
    let spent = |state: &State| -> u128 {
        state.jobs().map(|(_, job)| job.spent.as_units() - job.fees.as_units()).sum()
    };
    assert_eq!(total(&state) - total(&before), spent(&state) - spent(&before), "what workers earn, jobs pay");
    for (_, job) in state.jobs() {
        assert!(job.spent <= job.funded, "no job pays more than it has");
    }
}

fn payload(bytes: &[u8]) {
    if let Ok(chunks) = decode_payload(bytes) {
        assert_eq!(encode_payload(&chunks), bytes);
    }
}

fn address(bytes: &[u8]) {
    if let Ok(text) = core::str::from_utf8(bytes)
        && let Ok(address) = text.parse::<CoordinatorAddress>()
    {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

const COORDINATOR: Address = Address([2; 20]);

/// A ledger with three accounts, a job that is half-way, and a queue with something in it.
fn books() -> (State, Queue) {
    let account =
        |byte| Account { worker: WorkerId([byte; 32]), payout: Address([byte; 20]), earned: Amount::ZERO };
    let terms = Terms {
        price_cap: 100,
        task_cap: 10,
        settlements: 5,
        rate: 1,
        burst: 2_000,
        fee_bps: 250,
        approve: false,
        kind: 0,
    };
    let job = Job {
        requester: Address([3; 20]),
        coordinator: COORDINATOR,
        spec: SpecHash([4; 32]),
        opened_at: 1_000,
        funded: Amount::units(1_500),
        spent: Amount::ZERO,
        refundable: Amount::ZERO,
        fees: Amount::ZERO,
        terms,
        closing: 0,
        next_settlement: 0,
        open: OpenSettlement::default(),
    };
    let mut queue = Queue::default();
    for (job, action) in [
        (JobId(0), QueueAction::TopUp { amount: Amount::units(7) }),
        (
            JobId(1),
            QueueAction::Fund {
                amount: Amount::units(50),
                coordinator: COORDINATOR,
                spec: SpecHash([5; 32]),
                terms,
            },
        ),
        (JobId(0), QueueAction::Close),
    ] {
        queue.push(QueueItem { job, time: 1_500, sender: Address([3; 20]), action });
    }
    let state = State::restore(&[account(1), account(2), account(3)], &[job], 0).expect("it is small");
    (state, queue)
}

fn name(text: &str) -> Name {
    text.parse().expect("it is a name")
}

fn real(number: f32) -> Real {
    number.try_into().expect("it is finite")
}

const TASK: TaskId = TaskId { job: JobId(1), settlement: 300, slot: 2 };
const NONCE: Nonce = Nonce([7; 32]);

fn model() -> ModelSpec {
    ModelSpec { kind: ModelKind::Mlp { hidden: vec![200, 100] }, input: [1, 28, 28], classes: 10 }
}

fn asked() -> Asked {
    Asked::Children { trace: Trace::Step { interval: 24, step: 28 }, height: 3, index: 2 }
}

fn signed_move() -> Unverified<Body> {
    let said = Move::Children { left: Keccak([1; 32]), right: Keccak([2; 32]) };
    let rollup = Domain { chain_id: 31_337, contract: Address([5; 20]) };
    let body = Body { rollup, dispute: Digest([3; 32]), round: 7, said };
    NodeKey::from_seed(&[9; 32]).sign(body).into_wire()
}

fn signed_receipt() -> Unverified<Receipt> {
    let receipt = Receipt {
        task: TASK,
        nonce: NONCE,
        work: Digest([7; 32]),
        result: Digest([8; 32]),
        result_bytes: 70_000,
        examples: 2_000,
        loss: Some(real(0.25)),
        evaluated: None,
        trace: Some(Keccak([6; 32])),
        checks: Some(Digest([5; 32])),
        stake: Some(EthSignature { r: [3; 32], s: [4; 32], v: 27 }),
    };
    NodeKey::from_seed(&[9; 32]).sign(receipt).into_wire()
}

fn frames_samples() -> Vec<Vec<u8>> {
    let frames = [b"".as_slice(), b"hello", &[0xff; 300]];
    let stream: Vec<u8> = frames.iter().flat_map(|frame| encode_frame(frame).expect("small")).collect();
    [1u8, 3, 250].map(|cut| [&[cut], stream.as_slice()].concat()).to_vec()
}

fn to_coordinator_samples() -> Vec<Vec<u8>> {
    let abilities = Abilities { slots: 1, cores: 4, memory_bytes: 1 << 30, data: DataSets::default() };
    let hello = Hello {
        software: name("fedroll-worker-0.1.0"),
        payout: Address([6; 20]),
        invitation: Some(name("come-in")),
        abilities,
    };
    [
        ToCoordinator::Hello(hello),
        ToCoordinator::Progress { task: TASK, done: 3, of: 40, loss: Some(real(1.5)) },
        ToCoordinator::Receipt(signed_receipt()),
        ToCoordinator::Moved(Box::new(signed_move())),
        ToCoordinator::Decline { task: TASK, nonce: NONCE, reason: "no data".into() },
        ToCoordinator::Leaving,
    ]
    .map(|message| encode(&message))
    .to_vec()
}

fn to_worker_samples() -> Vec<Vec<u8>> {
    let work = TaskWork::Train(TrainTask {
        model: model(),
        weights: Digest([3; 32]),
        data: TaskData::Shard(ShardBlob { digest: Digest([4; 32]), examples: 5_000 }),
        local_epochs: 1,
        minibatch: 10,
        learning_rate: real(0.05),
        momentum: real(0.9),
        seed: 1 << 40,
        scale_bits: 16,
        checkpoint_steps: 300,
        evaluate: false,
    });
    let (spec, stake) = (SpecHash([5; 32]), Some(Address([6; 20])));
    let task = Task {
        id: TASK,
        nonce: NONCE,
        spec,
        price: 1_000,
        deadline_ms: 60_000,
        stake,
        checks: Some(Digest([5; 32])),
        work,
    };
    [
        ToWorker::Refused("not on the list".into()),
        ToWorker::Assign { task: Box::new(task), posted: 3 },
        ToWorker::Cancel { task: TASK, nonce: NONCE, reason: "the round is over".into() },
        ToWorker::Rejected { task: TASK, nonce: NONCE, reason: "too late".into() },
        ToWorker::Asked {
            task: TASK,
            nonce: NONCE,
            dispute: Digest([3; 32]),
            round: 7,
            asked: Box::new(asked()),
        },
        ToWorker::PassedOver { job: TASK.job, reason: "it has nothing at stake".into() },
    ]
    .map(|message| encode(&message))
    .to_vec()
}

fn transfer_request_samples() -> Vec<Vec<u8>> {
    let digest = Digest([1; 32]);
    [
        TransferRequest::Fetch { digest, offset: 300 },
        TransferRequest::Upload { task: TASK, nonce: NONCE, digest, bytes: 70_000 },
    ]
    .map(|request| encode(&request))
    .to_vec()
}

fn transfer_reply_samples() -> Vec<Vec<u8>> {
    [
        TransferReply::Sending { bytes: 70_000 },
        TransferReply::Ready { offset: 300 },
        TransferReply::Stored,
        TransferReply::Refused("no".into()),
    ]
    .map(|reply| encode(&reply))
    .to_vec()
}

fn receipt_samples() -> Vec<Vec<u8>> {
    vec![encode(&signed_receipt())]
}

pub fn ops() -> Vec<Op> {
    let credit =
        |account, tasks, amount| Credit { account: protocol::ids::AccountIndex(account), tasks, amount };
    vec![
        Op::Register { worker: WorkerId([4; 32]), payout: Address([4; 20]) },
        Op::Credits(Credits {
            job: JobId(0),
            settlement: 0,
            last: true,
            approval: None,
            credits: vec![credit(0, 1, 100), credit(2, 2, 150)],
        }),
        Op::Queue { job: JobId(1) },
    ]
}

pub fn chunk_bytes(ops: &[Op]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for op in ops {
        op.encode(&mut bytes);
    }
    bytes
}

fn chunk_samples() -> Vec<Vec<u8>> {
    let ops = ops();
    let top_up_first = chunk_bytes(&[Op::Queue { job: JobId(0) }, Op::Queue { job: JobId(1) }]);
    vec![
        [&[2], chunk_bytes(&ops).as_slice()].concat(),
        [&[2], chunk_bytes(&ops[1..2]).as_slice()].concat(),
        [&[0], top_up_first.as_slice()].concat(),
    ]
}

fn payload_samples() -> Vec<Vec<u8>> {
    let chunk =
        |ops: &[Op], declared| Chunk { bytes: chunk_bytes(ops), declared, post_root: Keccak([6; 32]) };
    let ops = ops();
    vec![encode_payload(&[chunk(&ops[..1], 0), chunk(&ops[1..], 2)]), encode_payload(&[])]
}

fn address_samples() -> Vec<Vec<u8>> {
    ["localhost", "127.0.0.1", "::1", "a-b.example.org"]
        .map(|host| {
            let address =
                CoordinatorAddress::new(CoordinatorId([5; 32]), host, 7070).expect("it is an address");
            address.to_string().into_bytes()
        })
        .to_vec()
}
