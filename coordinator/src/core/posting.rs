//! In which form a batch is posted: as calldata or in blobs. What either costs follows from its bytes, so the choice is
//! a function of them and of two prices; decisions/0013 says why it is made so.

use protocol::ledger::batch::CHUNK_FRAME_BYTES;
use protocol::ledger::blob::{BLOB_BYTES, BLOB_GAS, blobs_of};
use protocol::ledger::{BatchMode, Chunk, Op, parse_chunk};

use super::batches::SealedBatch;

/// What the operator wants of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchData {
    /// All in calldata: whoever has the base layer has the batch, for ever.
    #[default]
    Calldata,
    /// All in blobs, but for those that have no bytes.
    Blobs,
    /// Each in blobs if that costs at most so many percent of calldata, else in calldata: [`cheaper`].
    Auto {
        /// The percentage.
        blobs_at_percent: u16,
    },
}

/// What the base layer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Wei a unit of gas.
    pub gas: u64,
    /// Wei a unit of blob gas.
    pub blob_gas: u64,
}

/// Gas of a transaction before anything is done.
const TRANSACTION_GAS: u64 = 21_000;
/// Gas of a token of calldata (a zero byte is one, any other four), where execution is dearer than the floor.
const TOKEN_GAS: u64 = 4;
/// The same where it is not (EIP-7623).
const TOKEN_FLOOR_GAS: u64 = 10;
/// Tokens of a posting call beside the payload's: 420 bytes, of which about 190 are not zero.
const HEADER_TOKENS: u64 = 990;
/// Gas of what `postBatch` does whatever it is given, with each chunk, and with each two bytes.
const POST_GAS: u64 = 71_400;
const CHUNK_GAS: u64 = 2_480;
const TWO_BYTES_GAS: u64 = 1;
/// Gas of a posting of blobs, and of each blob's hash; the blobs' own gas is priced apart.
const POST_BLOBS_GAS: u64 = 97_300;
const BLOB_HASH_GAS: u64 = 330;

/// Gas that posting these chunks as calldata takes, within a twentieth.
pub fn calldata_gas(chunks: &[Chunk]) -> u64 {
    let tokens = |bytes: &[u8]| bytes.iter().map(|byte| if *byte == 0 { 1 } else { 4 }).sum::<u64>();
    let payload = |chunk: &Chunk| tokens(&chunk.bytes) + tokens(&chunk.post_root.0) + 3 * 4;
    let tokens = HEADER_TOKENS + chunks.iter().map(payload).sum::<u64>();
    let bytes: usize = chunks.iter().map(|chunk| CHUNK_FRAME_BYTES + chunk.bytes.len()).sum();
    let executed = POST_GAS + CHUNK_GAS * chunks.len() as u64 + TWO_BYTES_GAS * bytes as u64 / 2;
    TRANSACTION_GAS + (TOKEN_GAS * tokens + executed).max(TOKEN_FLOOR_GAS * tokens)
}

/// Gas that posting these chunks in blobs takes, within a twentieth, and the blobs' own gas.
pub const fn blobs_gas(chunks: &[Chunk]) -> (u64, u64) {
    let blobs = blobs_of(chunks.len()) as u64;
    (POST_BLOBS_GAS + BLOB_HASH_GAS * blobs, BLOB_GAS * blobs)
}

/// Bytes that are posted of these chunks, unused parts of blobs included.
pub fn data_bytes(chunks: &[Chunk], mode: BatchMode) -> u64 {
    match mode {
        BatchMode::Calldata => {
            chunks.iter().map(|chunk| (CHUNK_FRAME_BYTES + chunk.bytes.len()) as u64).sum()
        }
        BatchMode::Blobs => (blobs_of(chunks.len()) * BLOB_BYTES) as u64,
    }
}

/// Registrations, queue items and credits; an empty settlement that closes counts as one.
fn steps(chunks: &[Chunk]) -> u64 {
    let ops = chunks.iter().flat_map(|chunk| parse_chunk(&chunk.bytes).ops);
    let steps = ops.map(|op| match op {
        Op::Register { .. } | Op::Queue { .. } => 1,
        Op::Credits(credits) => credits.credits.len().max(1) as u64,
    });
    steps.sum()
}

/// Of two batches that start alike, the one to post: that in blobs if a step of it costs at most so many percent of one
/// in calldata.
///
/// A step, because blobs hold seven times as much: where that is not needed, both take all the steps there are.
pub fn cheaper(
    calldata: SealedBatch,
    blobs: SealedBatch,
    prices: Prices,
    blobs_at_percent: u16,
) -> SealedBatch {
    let (gas, blob_gas) = blobs_gas(&blobs.chunks);
    let in_blobs =
        u128::from(gas) * u128::from(prices.gas) + u128::from(blob_gas) * u128::from(prices.blob_gas);
    let in_calldata = u128::from(calldata_gas(&calldata.chunks)) * u128::from(prices.gas);
    // At most 2^24 gas at 2^64 wei, 2^16 steps, and 2^16 percent: within 2^120.
    let of_blobs = in_blobs * u128::from(steps(&calldata.chunks)) * 100;
    let of_calldata = in_calldata * u128::from(steps(&blobs.chunks)) * u128::from(blobs_at_percent);
    if of_blobs <= of_calldata { blobs } else { calldata }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::hash::Keccak;
    use protocol::ids::{AccountIndex, BatchId, JobId};
    use protocol::ledger::{BatchHeader, Credit, Credits, State};

    use super::*;

    /// What blobs cost at least where a unit of gas costs 1,600 (EIP-7918).
    const LOW: Prices = Prices { gas: 1_600, blob_gas: 100 };
    const EVEN: Prices = Prices { gas: 1_600, blob_gas: 1_600 };
    const HALF: u16 = 50;

    /// A batch of one settlement, each chunk with as many credits as the form has room for.
    fn batch(mode: BatchMode, mut credits: usize) -> SealedBatch {
        let (most, limit) = match mode {
            BatchMode::Calldata => (19, 6_372),
            BatchMode::Blobs => (15, 46_080),
        };
        credits = credits.min(limit);
        let mut chunks = Vec::new();
        while credits > 0 {
            let count = credits.min(most);
            let credit =
                Credit { account: AccountIndex(0x0001_0101), tasks: 0x0101, amount: 0x0101_0101_0101_0101 };
            let group = Credits {
                job: JobId(0x0101_0101),
                settlement: 0x0101_0101,
                last: false,
                approval: None,
                credits: vec![credit; count],
            };
            let mut bytes = Vec::new();
            Op::Credits(group).encode(&mut bytes);
            chunks.push(Chunk { bytes, declared: count as u8, post_root: Keccak([1; 32]) });
            credits -= count;
        }
        let header = BatchHeader {
            number: BatchId(1),
            pre_root: Keccak::ZERO,
            time: 0,
            queue_end: 0,
            queue_hash: Keccak::ZERO,
            results_root: Keccak::ZERO,
            post: State::default().parts(),
        };
        SealedBatch { header, chunks, mode }
    }

    fn chosen(credits: usize, prices: Prices, percent: u16) -> BatchMode {
        cheaper(batch(BatchMode::Calldata, credits), batch(BatchMode::Blobs, credits), prices, percent).mode
    }

    /// The fewest credits for which it is blobs.
    fn from(prices: Prices, percent: u16) -> usize {
        (1..46_080).find(|credits| chosen(*credits, prices, percent) == BatchMode::Blobs).unwrap()
    }

    #[test]
    fn small_batches_are_calldata_and_large_ones_blobs() {
        // docs/decisions/0013 has these figures.
        assert_eq!((from(LOW, HALF), from(EVEN, HALF)), (292, 692));
        assert_eq!((from(LOW, 100), from(EVEN, 100)), (20, 322));
        let free = Prices { gas: 1_600, blob_gas: 0 };
        assert_eq!(
            chosen(100, free, HALF),
            BatchMode::Calldata,
            "a blob for nothing is still posted for gas"
        );
        let dear = Prices { gas: 1_600, blob_gas: 160_000 };
        assert_eq!(chosen(46_080, dear, HALF), BatchMode::Calldata);
    }

    #[test]
    fn what_takes_several_batches_is_compared_by_the_step() {
        let (calldata, blobs) = (batch(BatchMode::Calldata, 46_080), batch(BatchMode::Blobs, 46_080));
        assert_eq!((steps(&calldata.chunks), steps(&blobs.chunks)), (6_372, 46_080));
        // Six blobs for 4.5 times the gas of a full batch of calldata, and 7.2 times the credits.
        let (full, six) = (calldata_gas(&calldata.chunks), blobs_gas(&blobs.chunks).1);
        let prices = Prices { gas: 1_000, blob_gas: full * 4_500 / six };
        assert_eq!(cheaper(calldata.clone(), blobs.clone(), prices, 100).mode, BatchMode::Blobs);
        assert_eq!(cheaper(calldata, blobs, prices, HALF).mode, BatchMode::Calldata);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn dearer_blobs_are_never_chosen_where_cheaper_ones_are_not(
            credits in 1usize..8_000,
            gas: u64,
            low: u64,
            more: u64,
            percent in 1u16..=10_000,
        ) {
            let cheap = chosen(credits, Prices { gas, blob_gas: low }, percent);
            let dear = chosen(credits, Prices { gas, blob_gas: low.saturating_add(more) }, percent);
            prop_assert!(cheap == BatchMode::Blobs || dear == BatchMode::Calldata);
        }

        #[test]
        fn only_the_ratio_of_the_prices_counts(
            credits in 1usize..8_000,
            gas in 1u64..1 << 32,
            blob_gas in 0u64..1 << 32,
            times in 1u64..1 << 31,
        ) {
            let by = |times| chosen(credits, Prices { gas: gas * times, blob_gas: blob_gas * times }, HALF);
            prop_assert_eq!(by(1), by(times));
        }
    }
}
