//! `fedroll audit` as a person runs it: a process that reads a million credits from a base layer's JSON-RPC.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, PostOutcome};
use contracts::rpc::RpcWriter;
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::ledger::{
    BatchBuilder, BatchStart, Credit, Progress, Queue, QueueAction, QueueItem, SealError, Settlement,
    SettlementCredit, State, Terms,
};
use serde_json::Value;
use tokio::process::Command;

use super::measure::seconds_of;
use super::{Report, Row};
use crate::real::{Chain, operator, program};

const CREDITS: u32 = 1_000_000;
const ACCOUNTS: u32 = 100_000;
/// Units a credit.
const PRICE: u64 = 100;
const NAME: &str = "an audit of a million credits over JSON-RPC";

pub(super) async fn run(report: &mut Report) -> Result<()> {
    if !report.wants(NAME) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let chain = Chain::start(dir.path()).await?;
    let mut poster = Poster::start(&chain).await?;
    poster.open_accounts().await?;
    for settlement in 0..CREDITS / ACCOUNTS {
        poster.settle(settlement).await?;
    }
    let mut command = Command::new(program("fedroll")?);
    command.args(["audit", "--format", "json", "--quiet", "--rpc", &chain.url]);
    command.args(["--rollup", &chain.rollup.to_string()]).stdin(Stdio::null());
    let mut output = None;
    let seconds = seconds_of(async {
        output = Some(command.output().await?);
        anyhow::Ok(())
    })
    .await?;
    let output = output.context("it ended")?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let counted = answer["result"]["batches"].as_array().context("batches")?;
    let credits: u64 = counted.iter().filter_map(|batch| batch["credits"].as_u64()).sum();
    ensure!(output.status.success() && credits == u64::from(CREDITS), "{credits} credits audited");
    report.add(Row::new(NAME, seconds, "s").at_most(60.0))
}

/// The operator, posting as fast as the chain takes it.
struct Poster {
    chain: RpcWriter,
    queue: Queue,
    state: State,
    last: BatchId,
}

impl Poster {
    async fn start(chain: &Chain) -> Result<Self> {
        let chain = chain.writer(&operator()).await?;
        let terms = Terms {
            price_cap: PRICE,
            task_cap: ACCOUNTS,
            settlements: CREDITS / ACCOUNTS,
            rate: 0,
            burst: u64::MAX,
            fee_bps: 0,
            approve: false,
            kind: 0,
        };
        let amount = Amount::units(u128::from(CREDITS) * u128::from(PRICE));
        chain.mint(chain.sender(), amount).await?;
        let spec = SpecHash([5; 32]);
        let (_, cost) = chain.fund_job(chain.sender(), spec, terms, amount).await?;
        let time = chain.block(cost.block).await?.context("the block that funded it")?.time;
        let coordinator = chain.sender();
        let mut queue = Queue::default();
        let action = QueueAction::Fund { amount, coordinator, spec, terms };
        queue.push(QueueItem { job: JobId(0), time, sender: coordinator, action });
        Ok(Self { chain, queue, state: State::default(), last: BatchId(0) })
    }

    async fn open_accounts(&mut self) -> Result<()> {
        while self.state.next_account() < ACCOUNTS {
            let left = ACCOUNTS - self.state.next_account();
            self.post(|builder| {
                builder.consume_queue()?;
                for _ in 0..left {
                    match builder.register(WorkerId([1; 32]), Address([1; 20])) {
                        Ok(_) => {}
                        Err(SealError::Full) => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn settle(&mut self, number: u32) -> Result<()> {
        let credits = (0..ACCOUNTS).map(|account| SettlementCredit {
            credit: Credit { account: AccountIndex(account), tasks: 1, amount: PRICE },
            receipts: Digest([1; 32]),
            results: Digest([2; 32]),
        });
        let settlement = Settlement { job: JobId(0), number, approval: None, credits: credits.collect() };
        let mut progress = Progress::Continues { left: 0 };
        while progress != Progress::Closed {
            self.post(|builder| {
                progress = builder.settle(&settlement)?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn post(
        &mut self,
        fill: impl FnOnce(&mut BatchBuilder<'_>) -> Result<(), SealError>,
    ) -> Result<()> {
        let start = BatchStart {
            number: BatchId(self.last.0 + 1),
            time: self.chain.now().await?,
            proposer: self.chain.sender(),
            queue_end: self.queue.len(),
        };
        let mut builder = BatchBuilder::new(self.state.clone(), start, self.chain.deployment(), &self.queue)?;
        fill(&mut builder)?;
        let (batch, state) = builder.seal();
        ensure!(matches!(self.chain.post_batch(&batch).await?, PostOutcome::Posted(_)));
        (self.state, self.last) = (state, start.number);
        Ok(())
    }
}
