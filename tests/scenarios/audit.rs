//! `fedroll audit` against a proposer that lies: until fraud proofs are there the contract takes any state root that
//! its operator posts, so the auditor has to see it and say what was expected.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, BatchOnChain, ChainEvent, PostOutcome};
use contracts::rpc::RpcWriter;
use protocol::amount::Amount;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::ledger::{
    Batch, BatchBuilder, BatchMode, BatchStart, Credit, Deriver, Op, Progress, Settlement, SettlementCredit,
    State, Terms, parse_chunk,
};
use protocol::sign::EthKey;
use tests::real::{Chain, Ran, Shell, operator};

pub(super) const TERMS: Terms = Terms {
    price_cap: 2_000_000,
    task_cap: 40,
    settlements: 5,
    rate: 0,
    burst: 500_000_000,
    fee_bps: 100,
    approve: false,
    kind: 0,
};

/// A rollup with one funded job and one honest batch, and whoever may post to it.
pub(super) struct Rollup {
    pub(super) chain: Chain,
    pub(super) poster: RpcWriter,
    pub(super) deriver: Deriver,
    pub(super) shell: Shell,
}

impl Rollup {
    /// Three accounts that were paid 1.5 tokens each.
    async fn start(dir: &Path) -> Result<Self> {
        Self::on(Chain::start(&dir.join("chain")).await?, dir).await
    }

    /// The same on a chain that is there.
    pub(super) async fn on(chain: Chain, dir: &Path) -> Result<Self> {
        let poster = chain.writer(&operator()).await?;
        let requester = EthKey::from_secret(&[7; 32])?;
        poster.send_ether(requester.address(), 10u128.pow(19)).await?;
        poster.mint(requester.address(), Amount::units(500_000_000)).await?;
        let requester = chain.writer(&requester).await?;
        let budget = Amount::units(500_000_000);
        requester.fund_job(poster.sender(), SpecHash([7; 32]), TERMS, budget).await?;
        let mut shell = Shell::new(dir);
        shell.name(&chain.url, "<rpc>");
        shell.name(&chain.rollup.to_string(), "<rollup>");
        let deriver = Deriver::new(poster.deployment());
        let mut rollup = Self { chain, poster, deriver, shell };
        rollup.catch_up().await?;
        let batch = rollup
            .seal(|builder| {
                builder.consume_queue()?;
                register(builder, 1..4)?;
                pay(builder, 0, 0..3)
            })
            .await?;
        rollup.post(&batch).await?;
        rollup.catch_up().await?;
        ensure!(rollup.deriver.last() == BatchId(1));
        Ok(rollup)
    }

    /// Reads what stands on the base layer, wrong or not.
    pub(super) async fn catch_up(&mut self) -> Result<()> {
        let (mut deriver, mut posted) = (Deriver::new(self.poster.deployment()), Vec::new());
        let head = self.poster.head().await?.number;
        let mut next = self.poster.deployed_block();
        while next <= head {
            let history = self.poster.history(next, head).await?;
            for event in history.events {
                match event {
                    ChainEvent::Queued(queued) => deriver.queue_item(queued.index, queued.item)?,
                    ChainEvent::Posted(batch) => posted.push(*batch),
                    ChainEvent::RolledBack { number, .. } => {
                        posted.retain(|batch: &BatchOnChain| batch.number() < number);
                    }
                }
            }
            next = history.next_block;
        }
        for batch in posted {
            deriver.batch(&batch.posted, None);
        }
        self.deriver = deriver;
        Ok(())
    }

    /// Gives the queue an item.
    pub(super) async fn top_up(&self) -> Result<()> {
        self.poster.mint(self.poster.sender(), Amount::units(1_000)).await?;
        self.poster.top_up(JobId(0), Amount::units(1_000)).await?;
        Ok(())
    }

    /// An honest batch.
    pub(super) async fn seal(&self, fill: impl FnOnce(&mut BatchBuilder<'_>) -> Result<()>) -> Result<Batch> {
        self.seal_for(BatchMode::Calldata, fill).await
    }

    /// The same for either place.
    pub(super) async fn seal_for(
        &self,
        mode: BatchMode,
        fill: impl FnOnce(&mut BatchBuilder<'_>) -> Result<()>,
    ) -> Result<Batch> {
        let start = BatchStart {
            number: BatchId(self.deriver.last().0 + 1),
            time: self.poster.head().await?.time,
            proposer: self.poster.sender(),
            queue_end: self.deriver.queue().len(),
        };
        let state = self.deriver.state().clone();
        let begin = match mode {
            BatchMode::Calldata => BatchBuilder::new,
            BatchMode::Blobs => BatchBuilder::in_blobs,
        };
        let mut builder = begin(state, start, self.poster.deployment(), self.deriver.queue())?;
        fill(&mut builder)?;
        Ok(builder.seal().0)
    }

    pub(super) async fn post(&self, batch: &Batch) -> Result<()> {
        let outcome = self.poster.post_batch(batch).await?;
        ensure!(matches!(outcome, PostOutcome::Posted(_)), "{outcome:?}");
        Ok(())
    }

    /// Notes what the auditor says of it.
    async fn audit(&mut self) -> Result<Ran> {
        let line = format!("fedroll audit --quiet --rpc {} --rollup {}", self.chain.url, self.chain.rollup);
        self.shell.run(&line).await
    }
}

pub(super) fn register(builder: &mut BatchBuilder<'_>, workers: std::ops::Range<u8>) -> Result<()> {
    for worker in workers {
        builder.register(WorkerId([worker; 32]), Address([worker; 20]))?;
    }
    Ok(())
}

pub(super) fn pay(
    builder: &mut BatchBuilder<'_>,
    settlement: u32,
    accounts: std::ops::Range<u32>,
) -> Result<()> {
    let nothing = Digest([0; 32]);
    let credits = accounts.map(|account| SettlementCredit {
        credit: Credit { account: AccountIndex(account), tasks: 1, amount: 1_500_000 },
        receipts: nothing,
        results: nothing,
    });
    let settlement =
        Settlement { job: JobId(0), number: settlement, approval: None, credits: credits.collect() };
    ensure!(builder.settle(&settlement)? == Progress::Closed);
    Ok(())
}

/// States that the batch leads to `state`: header and last chunk agree, as the contract demands.
pub(super) fn state_instead(batch: &mut Batch, state: &State) {
    batch.header.post = state.parts();
    if let Some(last) = batch.chunks.last_mut() {
        last.post_root = batch.header.post.root();
    }
}

/// The state with more money for its first account.
pub(super) fn richer(state: &State, more: u128) -> Result<State> {
    let mut accounts: Vec<_> = state.accounts().map(|(_, account)| *account).collect();
    accounts[0].earned = accounts[0].earned.add(Amount::units(more))?;
    let jobs: Vec<_> = state.jobs().map(|(_, job)| *job).collect();
    State::restore(&accounts, &jobs, state.queue_position()).context("the trees hold them")
}

macro_rules! assert_transcript {
    ($name:literal, $shell:expr) => {
        let filters = [
            (r"0x[0-9a-f]{64}", "<hash>"),
            (r"0x[0-9a-f]{8}…", "<hash…>"),
            (r"0x[0-9a-fA-F]{40}", "<address>"),
            (r"blocks      \d+ to \d+", "blocks      <n> to <n>"),
        ];
        insta::with_settings!({ filters => filters, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, $shell.transcript());
        });
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_out_of_nothing_is_found_and_so_is_what_is_built_on_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut rollup = Rollup::start(dir.path()).await?;
    assert_eq!(rollup.audit().await?.code, 0);
    rollup.shell.transcript();
    let claim = format!("fedroll claim --quiet --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    rollup.shell.run(&format!("{claim} --account 0 --dry-run")).await?;

    // One account is richer than the ops make it, and the next batch is honest but for what it stands on.
    let mut batch = rollup.seal(|builder| pay(builder, 1, 0..1)).await?;
    let honest = batch.header.post.root();
    let rich = richer(rollup.deriver.state(), 9_000_000)?;
    state_instead(&mut batch, &rich);
    let lie = batch.header.post.root();
    rollup.post(&batch).await?;
    let mut next = rollup.seal(|_| Ok(())).await?;
    (next.header.number, next.header.pre_root, next.header.post) =
        (BatchId(3), batch.header.post.root(), batch.header.post);
    rollup.post(&next).await?;

    let ran = rollup.audit().await?;
    assert_eq!(ran.code, 1);
    let want = format!("batch 2: chunk 0 leads to the state {honest}, it was posted with {lie}");
    assert!(ran.stdout.contains(&want), "{want}\n{}", ran.stdout);
    assert!(ran.stdout.contains("batch 3: it builds on batch 2, which does not hold"), "{}", ran.stdout);
    let json = format!("fedroll audit --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let json = rollup.shell.quietly(&format!("{json} --format json")).await?;
    assert_eq!((json.code, &json.json()?["result"]["ok"]), (1, &false.into()));
    assert_eq!(json.json()?["result"]["problems"].as_array().map(Vec::len), Some(2));
    // What lies before the lie can still be claimed, and the claimant is warned.
    rollup.shell.run(&format!("{claim} --account 0 --dry-run")).await?;
    assert_transcript!("audit_money_out_of_nothing", rollup.shell);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credit_over_the_price_is_found_with_the_rule_it_breaks() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut rollup = Rollup::start(dir.path()).await?;
    let mut batch = rollup.seal(|builder| pay(builder, 1, 0..1)).await?;
    let mut bytes = Vec::new();
    for mut op in parse_chunk(&batch.chunks[0].bytes).ops {
        if let Op::Credits(credits) = &mut op {
            credits.credits[0].amount = 5_000_000;
        }
        op.encode(&mut bytes);
    }
    batch.chunks[0].bytes = bytes;
    let rich = richer(rollup.deriver.state(), 5_000_000)?;
    state_instead(&mut batch, &rich);
    rollup.post(&batch).await?;
    let ran = rollup.audit().await?;
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("batch 2, chunk 0, op 0 changes nothing: "), "{}", ran.stdout);
    assert_transcript!("audit_credit_over_the_price", rollup.shell);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_root_in_the_middle_is_found_in_its_chunk() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut rollup = Rollup::start(dir.path()).await?;
    let batch = rollup.seal(|builder| {
        register(builder, 4..41)?;
        pay(builder, 1, 0..40)
    });
    let mut batch = batch.await?;
    ensure!(batch.chunks.len() > 2, "{} chunks", batch.chunks.len());
    let honest = batch.chunks[1].post_root;
    batch.chunks[1].post_root = Keccak([0x66; 32]);
    rollup.post(&batch).await?;
    let ran = rollup.audit().await?;
    assert_eq!(ran.code, 1);
    let want =
        format!("batch 2: chunk 1 leads to the state {honest}, it was posted with {}", Keccak([0x66; 32]));
    assert!(ran.stdout.contains(&want), "{want}\n{}", ran.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_stops_answering_is_no_verdict() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rollup = Rollup::start(dir.path()).await?;
    let line = format!("fedroll audit --quiet --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let nobody = rollup.shell.quietly(&format!("{line} --evidence http://127.0.0.1:9")).await?;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (2, ""), "{nobody:?}");
    let Rollup { chain, shell, .. } = rollup;
    drop(chain);
    // The server ends a moment after it is dropped.
    let gone = shell
        .until(&line.replace("--quiet", ""), |answer| answer["error"]["code"] == "chain")
        .await
        .context("the audit of a chain that is gone")?;
    assert_eq!(gone["ok"], false);
    let ran = shell.quietly(&line).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("does not answer"), "{}", ran.stderr);
    Ok(fs::remove_dir_all(dir.path().join("chain"))?)
}
