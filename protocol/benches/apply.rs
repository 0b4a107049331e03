//! The ledger: sealing credits, and deriving them again as an auditor does.

use divan::{Bencher, counter::ItemsCount};
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::ledger::{
    Account, Batch, BatchBuilder, BatchStart, Credit, Deployment, Deriver, PostedBatch, Progress, Queue,
    QueueAction, QueueItem, Settlement, SettlementCredit, State, Terms,
};
use protocol::rng::Rng;
use protocol::sign::eip712::Domain;

fn main() {
    divan::main();
}

const COORDINATOR: Address = Address([0xc0; 20]);
const DEPLOYMENT: Deployment =
    Deployment { domain: Domain { chain_id: 31337, contract: Address([0xee; 20]) }, close_grace: 20 };

/// Which accounts a settlement pays.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Everyone: neighbours share most of their paths.
    Dense,
    /// One in fifty, at random: they share little.
    Sparse,
}

impl Spread {
    fn credits(self, accounts: u32, rng: &mut Rng) -> Vec<SettlementCredit> {
        let paid = |rng: &mut Rng| match self {
            Self::Dense => true,
            Self::Sparse => rng.chance(1, 50),
        };
        let entry = |account| SettlementCredit {
            credit: Credit { account: AccountIndex(account), tasks: 1, amount: 100 },
            receipts: Digest([1; 32]),
            results: Digest([2; 32]),
        };
        (0..accounts).filter(|_| paid(rng)).map(entry).collect()
    }
}

/// The sealer's side of a ledger with many accounts and one rich job.
struct Ledger {
    queue: Queue,
    state: State,
    batches: Vec<Batch>,
    number: u64,
}

impl Ledger {
    fn new(accounts: u32) -> Self {
        let terms = Terms {
            price_cap: 1_000,
            task_cap: u32::MAX,
            settlements: u32::MAX,
            rate: u64::MAX,
            burst: u64::MAX,
            fee_bps: 250,
            approve: false,
            kind: 0,
        };
        let mut queue = Queue::default();
        queue.push(QueueItem {
            job: JobId(0),
            time: 1,
            sender: Address([7; 20]),
            action: QueueAction::Fund {
                amount: Amount::units(1 << 90),
                coordinator: COORDINATOR,
                spec: SpecHash([5; 32]),
                terms,
            },
        });
        let mut ledger = Self { queue, state: State::default(), batches: Vec::new(), number: 0 };
        while ledger.state.next_account() < accounts {
            ledger.batch(|builder| {
                builder.consume_queue().expect("one item that funds the first job");
                let mut opened = 0;
                while opened < accounts && builder.register(WorkerId([1; 32]), Address([1; 20])).is_ok() {
                    opened += 1;
                }
            });
        }
        ledger
    }

    fn batch<T>(&mut self, fill: impl FnOnce(&mut BatchBuilder<'_>) -> T) -> T {
        self.number += 1;
        let start = BatchStart { number: BatchId(self.number), time: 2, proposer: COORDINATOR, queue_end: 1 };
        let mut builder = BatchBuilder::new(self.state.clone(), start, DEPLOYMENT, &self.queue)
            .expect("the queue holds its one item");
        let filled = fill(&mut builder);
        let (batch, state) = builder.seal();
        self.state = state;
        self.batches.push(batch);
        filled
    }

    /// Settles until this many credits are sealed; returns how many there are.
    fn settle(&mut self, credits: usize, spread: Spread) -> usize {
        let (accounts, mut rng, mut sealed) = (self.state.next_account(), Rng::new(1), 0);
        for number in 0.. {
            if sealed >= credits {
                break;
            }
            let credits = spread.credits(accounts, &mut rng);
            sealed += credits.len();
            let settlement = Settlement { job: JobId(0), number, approval: None, credits };
            while self.batch(|builder| builder.settle(&settlement)) != Ok(Progress::Closed) {}
        }
        sealed
    }
}

fn posted(batch: &Batch) -> PostedBatch {
    PostedBatch {
        header: batch.header,
        proposer: batch.proposer,
        payload: batch.payload(),
        commitment: batch.commitment(),
    }
}

/// A million credits in settlements of a hundred thousand accounts (dense) or two thousand (sparse), from genesis.
#[divan::bench(args = [Spread::Dense, Spread::Sparse], sample_count = 3)]
fn derive_a_million_credits(bencher: Bencher<'_, '_>, spread: Spread) {
    let mut ledger = Ledger::new(100_000);
    let sealed = ledger.settle(1_000_000, spread);
    let batches: Vec<_> = ledger.batches.iter().map(posted).collect();
    bencher.counter(ItemsCount::new(sealed)).bench_local(|| {
        let mut deriver = Deriver::new(DEPLOYMENT);
        deriver.queue_item(0, *ledger.queue.get(0).expect("one item")).expect("the first");
        for batch in &batches {
            assert!(deriver.batch(batch, None).holds(), "an honest batch holds");
        }
        deriver.state().root()
    });
}

#[divan::bench(args = [Spread::Dense, Spread::Sparse], sample_count = 5)]
fn seal_credits(bencher: Bencher<'_, '_>, spread: Spread) {
    let sealed = Ledger::new(100_000).settle(100_000, spread);
    bencher
        .counter(ItemsCount::new(sealed))
        .with_inputs(|| Ledger::new(100_000))
        .bench_local_refs(|ledger| ledger.settle(100_000, spread));
}

/// What keeping the state of a batch costs: pages are shared, so a copy is pointers only.
#[divan::bench]
fn clone_a_state_of_a_million_accounts(bencher: Bencher<'_, '_>) {
    let account = Account { worker: WorkerId([1; 32]), payout: Address([1; 20]), earned: Amount::ZERO };
    let state = State::restore(&vec![account; 1 << 20], &[], 0).expect("below the capacity");
    bencher.bench_local(|| state.clone());
}
