//! The operations, their bytes, and the total parser of a chunk.
//!
//! | byte | op | bytes after the first |
//! | --- | --- | --- |
//! | 1 | Register | worker 32, payout 20 |
//! | 2 | Credits | job 4, settlement 4, flags 1, n 1, then with flag bit 1 the approval (sum 8, signature 65), then n × (account 3, tasks 2, amount 8) |
//! | 3 | Queue | job 4 |
//!
//! Integers are big-endian. Flag bit 0 closes the settlement.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountIndex, Address, JobId, WorkerId};
use crate::ledger::state::STATE_LEAVES_MAX;
use crate::limits::CHUNK_TOUCHES_MAX;
use crate::sign::EthSignature;

const REGISTER: u8 = 1;
const CREDITS: u8 = 2;
const QUEUE: u8 = 3;

const FLAG_LAST: u8 = 1;
const FLAG_APPROVAL: u8 = 2;

/// Bytes of a `Credits` op without its credits and approval.
pub const CREDITS_HEAD_BYTES: usize = 11;
/// Bytes of an approval.
pub const APPROVAL_BYTES: usize = 73;
/// Bytes of one credit.
pub const CREDIT_BYTES: usize = 13;
/// Bytes of a `Register` op.
pub const REGISTER_BYTES: usize = 53;
/// Bytes of a `Queue` op.
pub const QUEUE_BYTES: usize = 5;

/// Money for one account for its tasks in one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Who is paid.
    pub account: AccountIndex,
    /// For how many tasks.
    pub tasks: u16,
    /// Units (10⁻⁶ token) for all of them together.
    pub amount: u64,
}

/// The requester's word that a settlement may cost up to a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Units for the whole settlement, the fee not counted.
    pub sum_max: u64,
    /// EIP-712: `SettlementApproval(uint32 job,uint32 settlement,uint64 sumMax)`.
    pub signature: EthSignature,
}

/// A settlement, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credits {
    /// The job that pays.
    pub job: JobId,
    /// The number of the settlement, from 0.
    pub settlement: u32,
    /// Whether the settlement closes with this part.
    pub last: bool,
    /// The requester's signature, for jobs that ask for one.
    pub approval: Option<Approval>,
    /// Strictly ascending by account, also over the parts of a settlement.
    pub credits: Vec<Credit>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Opens the next account.
    Register {
        /// Who works.
        worker: WorkerId,
        /// Where its money goes.
        payout: Address,
    },
    /// Pays workers from a job.
    Credits(Credits),
    /// Consumes the next item of the base layer's queue, which must be about this job.
    Queue {
        /// The job.
        job: JobId,
    },
}

impl Credits {
    /// Bytes of the op's encoding.
    pub fn encoded_len(&self) -> usize {
        let approval = if self.approval.is_some() { APPROVAL_BYTES } else { 0 };
        CREDITS_HEAD_BYTES + approval + CREDIT_BYTES * self.credits.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let count = u8::try_from(self.credits.len()).expect("a chunk holds at most 19 credits");
        out.push(CREDITS);
        out.extend(self.job.0.to_be_bytes());
        out.extend(self.settlement.to_be_bytes());
        let approval = if self.approval.is_some() { FLAG_APPROVAL } else { 0 };
        out.push((u8::from(self.last) * FLAG_LAST) | approval);
        out.push(count);
        if let Some(approval) = &self.approval {
            out.extend(approval.sum_max.to_be_bytes());
            out.extend(approval.signature.to_bytes());
        }
        for credit in &self.credits {
            assert!(credit.account.0 < STATE_LEAVES_MAX, "no account lies past the tree's capacity");
            out.extend(&credit.account.0.to_be_bytes()[1..]);
            out.extend(credit.tasks.to_be_bytes());
            out.extend(credit.amount.to_be_bytes());
        }
    }
}

impl Op {
    /// Appends the op's bytes.
    ///
    /// # Panics
    /// If a `Credits` has over 255 credits or an account index of 2^24 or more, which no chunk can hold: the sealer
    /// makes neither.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Register { worker, payout } => {
                out.push(REGISTER);
                out.extend(worker.0);
                out.extend(payout.0);
            }
            Self::Credits(credits) => credits.encode(out),
            Self::Queue { job } => {
                out.push(QUEUE);
                out.extend(job.0.to_be_bytes());
            }
        }
    }

    /// Bytes of the op's encoding.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Register { .. } => REGISTER_BYTES,
            Self::Credits(credits) => credits.encoded_len(),
            Self::Queue { .. } => QUEUE_BYTES,
        }
    }

    /// Leaves the op may change.
    pub fn touches(&self) -> usize {
        match self {
            Self::Register { .. } | Self::Queue { .. } => 1,
            Self::Credits(credits) => 1 + credits.credits.len(),
        }
    }

    /// The job it is about, if it is about one.
    pub const fn job(&self) -> Option<JobId> {
        match self {
            Self::Register { .. } => None,
            Self::Credits(Credits { job, .. }) | Self::Queue { job } => Some(*job),
        }
    }

    /// How many credits the op carries.
    pub fn credit_count(&self) -> u32 {
        match self {
            Self::Credits(credits) => credits.credits.len() as u32,
            Self::Register { .. } | Self::Queue { .. } => 0,
        }
    }
}

/// Why a chunk's ops end before its bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkEnd {
    /// A first byte that names no op.
    #[error("the byte {0:#04x} names no op")]
    UnknownOp(u8),
    /// The bytes end within an op.
    #[error("the bytes end within an op")]
    Truncated,
    /// Flag bits without a meaning.
    #[error("the flags {0:#04x} have bits without a meaning")]
    UnknownFlags(u8),
    /// The op would bring the chunk over [`CHUNK_TOUCHES_MAX`] leaves.
    #[error("the op would touch more than {CHUNK_TOUCHES_MAX} leaves")]
    TooManyTouches,
}

/// A chunk's ops. Any bytes are a chunk: from the first op that cannot be read, the rest counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedChunk {
    /// The ops that could be read, in order.
    pub ops: Vec<Op>,
    /// The credits in them, whether or not they will apply.
    pub credit_count: u32,
    /// Leaves they may change.
    pub touches: usize,
    /// Where and why reading stopped early: the offset of the op that could not be read.
    pub end: Option<(usize, ChunkEnd)>,
}

/// Reads a chunk's bytes. Total: every input gives a result, of at most [`CHUNK_TOUCHES_MAX`] ops.
pub fn parse_chunk(bytes: &[u8]) -> ParsedChunk {
    let mut chunk = ParsedChunk { ops: Vec::new(), credit_count: 0, touches: 0, end: None };
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        match parse_op(&mut rest, CHUNK_TOUCHES_MAX - chunk.touches) {
            Ok(op) => {
                chunk.touches += op.touches();
                chunk.credit_count += op.credit_count();
                chunk.ops.push(op);
            }
            Err(end) => {
                chunk.end = Some((at, end));
                break;
            }
        }
    }
    chunk
}

fn parse_op(rest: &mut &[u8], touches_left: usize) -> Result<Op, ChunkEnd> {
    let [tag] = take(rest)?;
    let op = match tag {
        REGISTER => Op::Register { worker: WorkerId(take(rest)?), payout: Address(take(rest)?) },
        CREDITS => Op::Credits(parse_credits(rest, touches_left)?),
        QUEUE => Op::Queue { job: JobId(u32::from_be_bytes(take(rest)?)) },
        unknown => return Err(ChunkEnd::UnknownOp(unknown)),
    };
    if op.touches() > touches_left { Err(ChunkEnd::TooManyTouches) } else { Ok(op) }
}

fn parse_credits(rest: &mut &[u8], touches_left: usize) -> Result<Credits, ChunkEnd> {
    let job = JobId(u32::from_be_bytes(take(rest)?));
    let settlement = u32::from_be_bytes(take(rest)?);
    let [flags, count] = take(rest)?;
    if flags & !(FLAG_LAST | FLAG_APPROVAL) != 0 {
        return Err(ChunkEnd::UnknownFlags(flags));
    }
    // The limit, before any memory is spent on credits.
    if 1 + usize::from(count) > touches_left {
        return Err(ChunkEnd::TooManyTouches);
    }
    let approval = if flags & FLAG_APPROVAL == 0 {
        None
    } else {
        let sum_max = u64::from_be_bytes(take(rest)?);
        Some(Approval { sum_max, signature: EthSignature::from_bytes(&take(rest)?) })
    };
    let credits = (0..count)
        .map(|_| {
            let [a, b, c] = take(rest)?;
            let account = AccountIndex(u32::from_be_bytes([0, a, b, c]));
            let tasks = u16::from_be_bytes(take(rest)?);
            Ok(Credit { account, tasks, amount: u64::from_be_bytes(take(rest)?) })
        })
        .collect::<Result<_, ChunkEnd>>()?;
    Ok(Credits { job, settlement, last: flags & FLAG_LAST != 0, approval, credits })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ChunkEnd> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(ChunkEnd::Truncated)?;
    *rest = after;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(count: u32, approval: bool) -> Op {
        let signature = EthSignature { r: [1; 32], s: [2; 32], v: 27 };
        Op::Credits(Credits {
            job: JobId(7),
            settlement: 3,
            last: count.is_multiple_of(2),
            approval: approval.then_some(Approval { sum_max: 99, signature }),
            credits: (0..count)
                .map(|at| Credit {
                    account: AccountIndex(0xff_0000 + at),
                    tasks: 0x102,
                    amount: u64::MAX - 1,
                })
                .collect(),
        })
    }

    fn bytes_of(ops: &[Op]) -> Vec<u8> {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| op.encode(&mut bytes));
        bytes
    }

    #[test]
    fn ops_come_back_from_their_bytes() {
        let ops = vec![
            Op::Register { worker: WorkerId([1; 32]), payout: Address([2; 20]) },
            credits(4, false),
            credits(3, true),
            credits(0, false),
            Op::Queue { job: JobId(u32::MAX) },
        ];
        let bytes = bytes_of(&ops);
        assert_eq!(bytes.len(), ops.iter().map(Op::encoded_len).sum::<usize>());
        let chunk = parse_chunk(&bytes);
        assert_eq!((&chunk.ops, chunk.credit_count, chunk.touches, chunk.end), (&ops, 7, 12, None));
    }

    #[test]
    fn reading_stops_at_the_first_op_that_cannot_be_read() {
        let good = Op::Queue { job: JobId(1) };
        let stopped = |tail: &[u8]| {
            let good = core::slice::from_ref(&good);
            let chunk = parse_chunk(&[bytes_of(good), tail.to_vec()].concat());
            assert_eq!(chunk.ops, good);
            chunk.end
        };
        assert_eq!(stopped(&[4, 0, 0]), Some((5, ChunkEnd::UnknownOp(4))));
        assert_eq!(stopped(&[3, 0, 0, 0]), Some((5, ChunkEnd::Truncated)));
        let mut flagged = bytes_of(&[credits(1, false)]);
        flagged[9] |= 4;
        assert_eq!(stopped(&flagged), Some((5, ChunkEnd::UnknownFlags(4))));
        assert_eq!(stopped(&bytes_of(&[credits(19, false)])), Some((5, ChunkEnd::TooManyTouches)));
        assert_eq!(parse_chunk(&bytes_of(&[credits(19, false)])).end, None);
    }

    #[test]
    fn every_truncation_keeps_the_whole_ops_before_it() {
        let ops = [credits(2, true), Op::Register { worker: WorkerId([1; 32]), payout: Address([2; 20]) }];
        let bytes = bytes_of(&ops);
        for length in 0..bytes.len() {
            let whole = usize::from(length >= ops[0].encoded_len());
            let chunk = parse_chunk(&bytes[..length]);
            assert_eq!(chunk.ops, ops[..whole], "{length} bytes");
            assert_eq!(chunk.end.is_some(), length != 0 && length != ops[0].encoded_len(), "{length} bytes");
        }
    }
}
