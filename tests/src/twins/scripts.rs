//! A chunk's bytes: ops that hold, ops that nearly hold, ops cut and bent.

use protocol::ids::{AccountIndex, Address, JobId, WorkerId};
use protocol::ledger::{Approval, Credit, Credits, Job, Op, approval_digest, parse_chunk};
use protocol::limits::CHUNK_BYTES_MAX;
use protocol::rng::Rng;
use protocol::sign::EthSignature;

use super::worlds::{World, number, requester};

/// A chunk as it is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The credits that it declares.
    pub declared: u8,
}

impl Script {
    /// A chunk that is likely to do something in this world.
    pub fn random(rng: &mut Rng, world: &World) -> Self {
        loop {
            let script = Self::any(rng, world);
            if parse_chunk(&script.bytes).ops.iter().all(|op| world.knows(op)) {
                return script;
            }
        }
    }

    fn any(rng: &mut Rng, world: &World) -> Self {
        let mut bytes = Vec::new();
        for op in ops(rng, world) {
            let before = bytes.len();
            op.encode(&mut bytes);
            if bytes.len() > CHUNK_BYTES_MAX {
                bytes.truncate(if rng.chance(1, 2) { before } else { CHUNK_BYTES_MAX });
                break;
            }
        }
        bend(rng, &mut bytes);
        let carried = parse_chunk(&bytes).credit_count as u8;
        let declared = if rng.chance(15, 16) { carried } else { number(rng) as u8 };
        Self { bytes, declared }
    }
}

/// Ops, mostly by ascending job.
fn ops(rng: &mut Rng, world: &World) -> Vec<Op> {
    let next_job = world.state.next_job();
    let mut jobs = world.jobs.clone();
    jobs.extend([next_job, next_job.saturating_add(1)]);
    jobs.extend(world.next_queued());
    jobs.sort_unstable();
    jobs.dedup();
    let mut ops = Vec::new();
    for job in jobs {
        match rng.below(4) {
            0 if world.next_queued() == Some(job) => ops.push(Op::Queue { job: JobId(job) }),
            0 | 1 => ops.push(credits(rng, world, job)),
            2 if rng.chance(1, 2) => ops.push(register(rng)),
            2 if rng.chance(1, 4) => ops.push(Op::Queue { job: JobId(job) }),
            _ => {}
        }
    }
    if rng.chance(1, 8) {
        rng.shuffle(&mut ops);
    }
    if rng.chance(1, 4) {
        let from = rng.below(ops.len() as u64 + 1) as usize;
        ops.drain(..from);
    }
    ops
}

fn register(rng: &mut Rng) -> Op {
    let byte = rng.next() as u8;
    let payout = if rng.chance(1, 8) { Address::ZERO } else { Address([byte | 1; 20]) };
    Op::Register { worker: WorkerId([byte; 32]), payout }
}

fn credits(rng: &mut Rng, world: &World, id: u32) -> Op {
    let job = world.state.job(JobId(id));
    let settlement = match job {
        Some(job) if rng.chance(15, 16) => job.next_settlement,
        _ => number(rng) as u32,
    };
    let mut credits = Vec::new();
    let least = job.map_or(0, |job| job.open.last_account);
    let careless = rng.chance(1, 12);
    let wanted = rng.below(8) + if rng.chance(1, 10) { 12 } else { 0 };
    for account in &world.accounts {
        if (*account >= least || careless) && rng.chance(2, 3) && (credits.len() as u64) < wanted {
            credits.push(credit(rng, *account, job));
        }
    }
    // An index that nobody has: at or past the next one.
    if rng.chance(1, 24) {
        let past = world.state.next_account().saturating_add(rng.below(2) as u32);
        credits.extend((past < 1 << 24).then(|| credit(rng, past, job)));
    }
    if rng.chance(1, 24) {
        rng.shuffle(&mut credits);
    }
    let open = job.map_or(0, |job| job.open.sum.as_units());
    let sum = credits.iter().fold(open, |sum, credit| sum.saturating_add(credit.amount.into()));
    let asked = job.is_some_and(|job| job.terms.approve);
    let approval = (asked != rng.chance(1, 40)).then(|| approval(rng, world, JobId(id), settlement, sum));
    Op::Credits(Credits { job: JobId(id), settlement, last: rng.chance(1, 2), approval, credits })
}

fn credit(rng: &mut Rng, account: u32, job: Option<&Job>) -> Credit {
    let tasks = match rng.below(20) {
        0 => 0,
        1 => u16::MAX,
        _ => 1 + rng.below(5) as u16,
    };
    let cap = job.map_or(1_000, |job| job.terms.price_cap);
    let most = u64::try_from(u128::from(tasks) * u128::from(cap)).unwrap_or(u64::MAX);
    let amount = match rng.below(24) {
        0 => most.saturating_add(1),
        1 => number(rng),
        2 => most,
        _ => rng.below(most.clamp(1, 1 << 40)),
    };
    Credit { account: AccountIndex(account), tasks, amount }
}

/// An approval: sound, of another's key, or of a form that must not count.
fn approval(rng: &mut Rng, world: &World, job: JobId, settlement: u32, sum: u128) -> Approval {
    let sum = u64::try_from(sum).unwrap_or(u64::MAX);
    let sum_max = match rng.below(6) {
        0 => sum.saturating_sub(1),
        1 => u64::MAX,
        _ => sum,
    };
    let digest = approval_digest(&world.deployment().domain, job, settlement, sum_max);
    let key = requester(if rng.chance(1, 10) { job.0.wrapping_add(1) } else { job.0 });
    let mut signature = key.sign(&digest);
    match rng.below(16) {
        0 => signature.v = rng.next() as u8,
        1 => signature = flipped(signature),
        2 => signature.r = word(rng),
        3 => signature.s = word(rng),
        4 => signature.v ^= 27 ^ 28,
        _ => {}
    }
    Approval { sum_max, signature }
}

fn word(rng: &mut Rng) -> [u8; 32] {
    let mut word = [[0; 32], [0xff; 32], [rng.next() as u8; 32]][rng.below(3) as usize];
    word[31] ^= rng.below(3) as u8;
    word
}

/// The order of secp256k1's group.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// The same signature to a lax verifier: n − s, and the other parity.
fn flipped(signature: EthSignature) -> EthSignature {
    let mut s = [0; 32];
    let mut borrow = 0i16;
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(signature.s[at]) - borrow;
        borrow = i16::from(digit < 0);
        s[at] = digit.rem_euclid(256) as u8;
    }
    EthSignature { s, v: signature.v ^ 27 ^ 28, ..signature }
}

/// Now and then changes, cuts, repeats or adds bytes.
fn bend(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if rng.chance(3, 4) {
        return;
    }
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        match rng.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, [0, 1, 2, 3, 0xff, rng.next() as u8][rng.below(6) as usize]),
            2 => {
                let again = bytes[at..].to_vec();
                bytes.extend(again);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
    bytes.truncate(CHUNK_BYTES_MAX);
}
