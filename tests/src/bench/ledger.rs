//! The ledger: sealing credits, and deriving them again as an auditor does.

use std::hint::black_box;

use anyhow::{Context as _, Result, ensure};
use protocol::amount::Amount;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::ledger::{
    Account, Batch, BatchBuilder, BatchStart, Credit, Deployment, Deriver, PostedBatch, Progress, Queue,
    QueueAction, QueueItem, SealError, Settlement, SettlementCredit, State, Terms,
};
use protocol::rng::Rng;
use protocol::sign::eip712::Domain;

use super::measure::best_s;
use super::{Report, Row};

const COORDINATOR: Address = Address([0xc0; 20]);
const DEPLOYMENT: Deployment =
    Deployment { domain: Domain { chain_id: 31337, contract: Address([0xee; 20]) }, close_grace: 20 };
const ACCOUNTS: u32 = 100_000;

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
        let entry = |account| SettlementCredit {
            credit: Credit { account: AccountIndex(account), tasks: 1, amount: 100 },
            receipts: Digest([1; 32]),
            results: Digest([2; 32]),
        };
        (0..accounts).filter(|_| matches!(self, Self::Dense) || rng.chance(1, 50)).map(entry).collect()
    }
}

pub(super) fn run(report: &mut Report) -> Result<()> {
    for (spread, whom) in [(Spread::Dense, "all of 100,000"), (Spread::Sparse, "2,000 of 100,000")] {
        let name = format!("credits that each pay {whom}");
        if !report.wants(&name) {
            continue;
        }
        let opened = Ledger::with_accounts(ACCOUNTS)?;
        let mut sealed = Ok((0, opened.clone()));
        let seconds = best_s(3, || {
            let mut ledger = opened.clone();
            sealed = ledger.settle(100_000, spread).map(|credits| (credits, ledger));
        });
        let (credits, _) = sealed?;
        report.add(Row::new(format!("{name}: sealed"), credits as f64 / seconds / 1e3, "k ops/s"))?;

        let mut ledger = opened;
        let credits = ledger.settle(1_000_000, spread)?;
        let batches: Vec<_> = ledger.batches.iter().map(posted).collect();
        let mut derived = Ok(Keccak::ZERO);
        let seconds = best_s(1, || derived = derive(&ledger.queue, &batches));
        ensure!(derived? == ledger.state.root(), "deriving gives another state");
        report.add(Row::new(format!("{name}: derived"), credits as f64 / seconds / 1e3, "k ops/s"))?;
    }
    let account = Account { worker: WorkerId([1; 32]), payout: Address([1; 20]), earned: Amount::ZERO };
    let state = State::restore(&vec![account; 1 << 20], &[], 0).context("below the capacity")?;
    let seconds = best_s(100, || {
        black_box(state.clone());
    });
    report.add(Row::new("a copy of a state of a million accounts", seconds * 1e6, "µs"))
}

/// The root that an auditor arrives at.
fn derive(queue: &Queue, batches: &[PostedBatch]) -> Result<Keccak> {
    let mut deriver = Deriver::new(DEPLOYMENT);
    deriver.queue_item(0, *queue.get(0).context("one item")?)?;
    for batch in batches {
        let verdict = deriver.batch(batch, None);
        ensure!(verdict.holds(), "batch {}: {:?}", verdict.number, verdict.fault);
    }
    Ok(deriver.state().root())
}

fn posted(batch: &Batch) -> PostedBatch {
    PostedBatch {
        header: batch.header,
        proposer: batch.proposer,
        payload: batch.payload(),
        blobs: None,
        commitment: batch.commitment(),
    }
}

/// The sealer's side of a ledger with many accounts and one rich job.
#[derive(Clone, Debug)]
struct Ledger {
    queue: Queue,
    state: State,
    batches: Vec<Batch>,
    number: u64,
}

impl Ledger {
    fn with_accounts(accounts: u32) -> Result<Self> {
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
                builder.consume_queue()?;
                let mut opened = 0;
                while opened < accounts && builder.register(WorkerId([1; 32]), Address([1; 20])).is_ok() {
                    opened += 1;
                }
                Ok(())
            })?;
        }
        Ok(ledger)
    }

    fn batch<T>(&mut self, fill: impl FnOnce(&mut BatchBuilder<'_>) -> Result<T, SealError>) -> Result<T> {
        self.number += 1;
        let start = BatchStart { number: BatchId(self.number), time: 2, proposer: COORDINATOR, queue_end: 1 };
        let mut builder = BatchBuilder::new(self.state.clone(), start, DEPLOYMENT, &self.queue)?;
        let filled = fill(&mut builder)?;
        let (batch, state) = builder.seal();
        self.state = state;
        self.batches.push(batch);
        Ok(filled)
    }

    /// Settles until this many credits are sealed; returns how many there are.
    fn settle(&mut self, wanted: usize, spread: Spread) -> Result<usize> {
        let (accounts, mut rng, mut sealed) = (self.state.next_account(), Rng::new(1), 0);
        for number in 0.. {
            if sealed >= wanted {
                break;
            }
            let credits = spread.credits(accounts, &mut rng);
            sealed += credits.len();
            let settlement = Settlement { job: JobId(0), number, approval: None, credits };
            while self.batch(|builder| builder.settle(&settlement))? != Progress::Closed {}
        }
        Ok(sealed)
    }
}
