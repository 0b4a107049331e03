//! Posting when nothing goes smoothly: a node that loses what it is asked, blocks that pass by what is offered, another
//! transaction of the same key, a coordinator that dies at the wrong moment, blocks that are taken back. In the end
//! every batch stands once, the job is settled, and the audit holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use protocol::ids::JobId;
use protocol::ledger::BatchMode;
use serde_json::{Value, json};
use tests::real::{Chain, Coordinator, Fate, Network, Proxy, Requester, Shell, operator, training};
use tokio::task::JoinHandle;

use crate::blobs::posted;
use crate::network::{good_update, persistent};
use crate::reorganisations::{WINDOWS, all_posted, begin, comes_back, is_done, take_back};

const CALLDATA: &str = "seal_after_ms = 100\npoll_ms = 50\n";
const BLOBS: &str = "seal_after_ms = 100\npoll_ms = 50\nbatch_data = \"blobs\"\n";
const SEND: &str = "eth_sendRawTransaction";
/// Requests that nobody answers, or that are refused: whoever asks does so less and less often.
const OUTAGE: usize = 16;

/// A network on anvil, whose coordinator alone reaches the chain through a node that can misbehave.
struct Stage {
    network: Network,
    proxy: Proxy,
    job: JobId,
    worker: JoinHandle<()>,
}

impl Stage {
    /// A job that is funded, and of which nothing could be posted yet.
    async fn set(dir: &Path, settings: &str) -> Result<Self> {
        let mut chain = Chain::anvil(&[], WINDOWS).await?;
        let proxy = Proxy::before(&chain.url).await?;
        let direct = std::mem::replace(&mut chain.url, proxy.url.clone());
        let coordinator = Coordinator::start(&dir.join("coordinator"), &chain, settings).await?;
        chain.url = direct;
        let requester = Arc::new(Requester::new(&chain, &coordinator).await?);
        let network = Network { chain, coordinator, requester, dir: dir.to_owned() };
        proxy.rule(|method, _| if method == SEND { Fate::Lost } else { Fate::Pass });
        let (job, worker) = begin(&network).await?;
        let stage = Self { network, proxy, job, worker };
        stage.until("a batch is to be posted", |proxy| proxy.count(SEND, Fate::Lost) > 0).await?;
        Ok(stage)
    }

    /// Waits until the proxy has seen something.
    async fn until(&self, what: &str, seen: impl Fn(&Proxy) -> bool) -> Result<()> {
        for _ in 0..3_000 {
            if seen(&self.proxy) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("it never came to this: {what}; {}", self.network.coordinator.log())
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value> {
        self.network.chain.ask(method, params).await
    }

    /// Transactions of the operator that wait for a block.
    async fn waiting(&self) -> Result<Vec<Value>> {
        let pool = self.ask("txpool_content", json!([])).await?;
        let address = operator().address().to_string().to_lowercase();
        let ours = |(sender, by_nonce): (&String, &Value)| {
            (sender.to_lowercase() == address)
                .then(|| by_nonce.as_object().into_iter().flatten().map(|(_, tx)| tx.clone()).collect())
        };
        let pending = pool["pending"].as_object().into_iter().flatten();
        Ok(pending.filter_map(ours).collect::<Vec<Vec<Value>>>().concat())
    }

    /// The hash of the one transaction that waits, once it is another than this, and goes to the rollup.
    async fn waiting_but(&self, known: &Value) -> Result<Value> {
        let rollup = self.network.chain.rollup.to_string().to_lowercase();
        for _ in 0..1_500 {
            let waiting = self.waiting().await?;
            ensure!(waiting.len() <= 1, "the nonce is the same: {waiting:?}");
            let ours = |tx: &&Value| tx["to"].as_str().is_some_and(|to| to.to_lowercase() == rollup);
            if let Some(tx) = waiting.first().filter(ours).filter(|tx| tx["hash"] != *known) {
                return Ok(tx["hash"].clone());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("no other was ever offered: {}", self.network.coordinator.log())
    }

    /// Everything stands once, and holds.
    async fn ends_well(self) -> Result<()> {
        let Self { network, job, worker, .. } = self;
        let log = || network.coordinator.log();
        comes_back(&network, job).await.map_err(|error| error.context(log()))?;
        is_done(&network, job).await?;
        worker.abort();
        let line = format!("fedroll audit --rpc {} --rollup {}", network.chain.url, network.chain.rollup);
        let audit = Shell::new(&network.dir).quietly(&line).await?;
        ensure!(audit.code == 0, "{audit:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_transaction_of_the_same_key_is_replaced() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let stage = Stage::set(dir.path(), CALLDATA).await?;
    stage.ask("evm_setAutomine", json!([false])).await?;
    // It offers twice what the coordinator will, and no block takes it.
    let fee = format!("{:#x}", 20_000_000_000u64);
    let stuck = json!({
        "from": operator().address(), "to": operator().address(), "value": "0x1",
        "maxFeePerGas": fee, "maxPriorityFeePerGas": fee,
    });
    let stuck = stage.ask("eth_sendTransaction", json!([stuck])).await?;
    ensure!(stage.waiting().await?.len() == 1);
    stage.proxy.heal();
    stage.waiting_but(&stuck).await?;
    stage.ask("evm_setAutomine", json!([true])).await?;
    stage.ask("evm_mine", json!([])).await?;
    ensure!(stage.ask("eth_getTransactionReceipt", json!([stuck])).await?.is_null());
    stage.ends_well().await
}

async fn outage(settings: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let stage = Stage::set(dir.path(), settings).await?;
    // The transaction arrives, its answer does not, and then nobody answers, or with errors, for a while.
    let mut silence = 0;
    stage.proxy.rule(move |method, _| {
        if method == SEND && silence == 0 {
            silence = 1;
            return Fate::AnswerLost;
        }
        silence += usize::from(silence > 0);
        match silence {
            1..OUTAGE if silence % 3 == 0 => Fate::Refused,
            1..OUTAGE => Fate::Lost,
            _ => Fate::Pass,
        }
    });
    stage.until("the answer is lost", |proxy| proxy.count(SEND, Fate::AnswerLost) > 0).await?;
    stage.ends_well().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_in_the_middle_of_posting_posts_nothing_twice() -> Result<()> {
    tokio::try_join!(outage(CALLDATA), outage(BLOBS)).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_takes_and_loses_is_sent_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let stage = Stage::set(dir.path(), BLOBS).await?;
    let mut taken = 0;
    stage.proxy.rule(move |method, _| {
        taken += usize::from(method == SEND);
        if method == SEND && taken < 3 { Fate::Swallowed } else { Fate::Pass }
    });
    stage.until("it is sent a third time", |proxy| proxy.count(SEND, Fate::Pass) > 0).await?;
    stage.ends_well().await
}

async fn outrun(settings: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let stage = Stage::set(dir.path(), settings).await?;
    stage.ask("evm_setAutomine", json!([false])).await?;
    stage.proxy.heal();
    stage.until("it is offered", |proxy| proxy.count(SEND, Fate::Pass) > 0).await?;
    let dear = format!("{:#x}", 500_000_000_000u64);
    stage.ask("anvil_setNextBlockBaseFeePerGas", json!([dear])).await?;
    stage.ask("evm_mine", json!([])).await?;
    let block = stage.ask("eth_getBlockByNumber", json!(["latest", false])).await?;
    ensure!(block["transactions"] == json!([]), "it passes by what is offered: {block}");
    stage.until("more is offered", |proxy| proxy.count(SEND, Fate::Pass) > 1).await?;
    stage.ask("evm_setAutomine", json!([true])).await?;
    stage.ask("evm_mine", json!([])).await?;
    stage.ends_well().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_the_base_fee_outruns_is_raised() -> Result<()> {
    tokio::try_join!(outrun(CALLDATA), outrun(BLOBS)).map(drop)
}

async fn killed_before_it_hears(settings: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut stage = Stage::set(dir.path(), settings).await?;
    let mut sent = false;
    stage.proxy.rule(move |method, _| {
        sent |= method == SEND;
        if sent && method == "eth_getTransactionReceipt" { Fate::Lost } else { Fate::Pass }
    });
    stage.until("it is sent", |proxy| proxy.count(SEND, Fate::Pass) > 0).await?;
    stage.network.coordinator = stage.network.coordinator.crash().await?;
    stage.proxy.heal();
    stage.ends_well().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_killed_between_sending_and_hearing_posts_once() -> Result<()> {
    tokio::try_join!(killed_before_it_hears(CALLDATA), killed_before_it_hears(BLOBS)).map(drop)
}

/// The attempt from before the kill is passed by, or mined, while its sender is away.
async fn killed_while_it_waits(settings: &str, passed_by: bool) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut stage = Stage::set(dir.path(), settings).await?;
    stage.ask("evm_setAutomine", json!([false])).await?;
    stage.proxy.heal();
    let offered = stage.waiting_but(&Value::Null).await?;
    if passed_by {
        stage.network.coordinator = stage.network.coordinator.crash().await?;
        stage.ask("anvil_setNextBlockBaseFeePerGas", json!(["0x746a528800"])).await?;
        stage.ask("evm_mine", json!([])).await?;
        // The restarted coordinator knows nothing of it but the nonce, and outbids it.
        stage.waiting_but(&offered).await?;
        stage.ask("evm_setAutomine", json!([true])).await?;
        stage.ask("evm_mine", json!([])).await?;
        ensure!(stage.ask("eth_getTransactionReceipt", json!([offered])).await?.is_null());
    } else {
        // Once it is back it offers the same, or waits; either way it finds what was mined.
        stage.network.coordinator = stage.network.coordinator.crash().await?;
        stage.ask("evm_setAutomine", json!([true])).await?;
        stage.ask("evm_mine", json!([])).await?;
    }
    stage.ends_well().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_killed_while_its_transaction_waits_replaces_it_and_posts_once() -> Result<()> {
    tokio::try_join!(killed_while_it_waits(CALLDATA, true), killed_while_it_waits(BLOBS, true)).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_killed_while_its_transaction_waits_finds_it_mined() -> Result<()> {
    tokio::try_join!(killed_while_it_waits(CALLDATA, false), killed_while_it_waits(BLOBS, false)).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_that_a_deep_reorganisation_takes_back_are_posted_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let stage = Stage::set(dir.path(), BLOBS).await?;
    stage.proxy.heal();
    all_posted(&stage.network, stage.job).await?;
    stage.ask("anvil_mine", json!(["0x40"])).await?;
    take_back(&stage.network.chain, 1).await?;
    all_posted(&stage.network, stage.job).await?;
    stage.ends_well().await
}

/// Gas at these prices, what a block's producer gets included: blobs cost their least, 1 wei, throughout.
const CHEAP_GAS: &str = "0x1";
const DEAR_GAS: &str = "0x174876e800";

/// Has the next blocks ask for this, and waits until the coordinator has been told.
async fn gas_costs(network: &Network, proxy: &Proxy, wei: &str) -> Result<()> {
    const PRICES: &str = "eth_feeHistory";
    network.chain.ask("anvil_setNextBlockBaseFeePerGas", json!([wei])).await?;
    network.chain.ask("evm_mine", json!([])).await?;
    // One who looks asks for the second time once he has told of the first.
    let told = proxy.count(PRICES, Fate::Pass) + 2;
    for _ in 0..1_500 {
        if proxy.count(PRICES, Fate::Pass) >= told {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("nobody asks for prices: {}", network.coordinator.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_follow_the_prices_into_blobs_and_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut chain = Chain::anvil(&[], WINDOWS).await?;
    // Until some blocks' transactions offered less, the node recommends a tip of a billion wei.
    chain.ask("anvil_setNextBlockBaseFeePerGas", json!([CHEAP_GAS])).await?;
    let stranger = chain.ask("eth_accounts", json!([])).await?[1].clone();
    for _ in 0..10 {
        let offer =
            json!({ "from": stranger, "to": stranger, "maxFeePerGas": "0x2", "maxPriorityFeePerGas": "0x1" });
        chain.ask("eth_sendTransaction", json!([offer])).await?;
    }
    let proxy = Proxy::before(&chain.url).await?;
    let direct = std::mem::replace(&mut chain.url, proxy.url.clone());
    let settings = format!("{CALLDATA}batch_data = \"auto\"\nblobs_at_percent = 120\n");
    let coordinator = Coordinator::start(&dir.path().join("coordinator"), &chain, &settings).await?;
    chain.url = direct;
    let requester = Arc::new(Requester::new(&chain, &coordinator).await?);
    let network = Network { chain, coordinator, requester, dir: dir.path().to_owned() };
    let worker = persistent(network.coordinator.worker_address.clone(), 1, good_update()?);
    let mut wanted = Vec::new();
    let turns = [
        ("cheap", CHEAP_GAS, BatchMode::Calldata),
        ("dear", DEAR_GAS, BatchMode::Blobs),
        ("cheap-again", CHEAP_GAS, BatchMode::Calldata),
    ];
    for (name, wei, mode) in turns {
        gas_costs(&network, &proxy, wei).await?;
        let job = network.requester.submit(&training(name, 1, 1)?, &[]).await?;
        let batches = all_posted(&network, job).await? as usize;
        ensure!(batches > wanted.len(), "{name}: a job takes a batch at least");
        wanted.resize(batches, mode);
    }
    worker.abort();
    let posted = posted(&network.chain, &network.coordinator.http).await?;
    let stand: Vec<BatchMode> = posted.iter().map(|batch| batch.posted.mode()).collect();
    ensure!(stand == wanted, "{stand:?}, not {wanted:?}");
    let line = format!("fedroll audit --rpc {} --rollup {}", network.chain.url, network.chain.rollup);
    let audit = Shell::new(&network.dir).quietly(&line).await?;
    ensure!(audit.code == 0, "{audit:?}");
    Ok(())
}
