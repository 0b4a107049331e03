//! Others post while the coordinator is away, as they may after a silence: it goes on from what is right, and proves
//! wrong what is not.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Bonds as _, Challenger as _};
use contracts::rpc::{FRAUD_BOND_WEI, Windows};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{BatchId, JobId};
use protocol::ledger::{Batch, BatchBuilder, BatchStart};
use serde_json::{Value, json};
use tests::real::{Chain, Network, Shell, training};
use tokio::task::JoinHandle;

use crate::escape::has_settled;
use crate::network::{derive, good_update, persistent};

/// A wrong batch is not final before a slow machine has proven it.
const WINDOWS: Windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };

/// A coordinator with a job under way, which is stopped for a while.
struct Absent {
    network: Network,
    job: JobId,
}

fn workers(network: &Network) -> Result<[JoinHandle<()>; 2]> {
    let address = &network.coordinator.worker_address;
    Ok([persistent(address.clone(), 0, good_update()?), persistent(address.clone(), 1, good_update()?)])
}

impl Absent {
    /// The coordinator has settled something, and nobody has posted for a while.
    async fn on(chain: Chain, dir: &Path) -> Result<Self> {
        let mut network = Network::on(chain, dir, "seal_after_ms = 100\npoll_ms = 50\n").await?;
        let requester = network.requester.clone();
        let job = requester.submit(&training("absent", 1_000, 2)?, &[]).await?;
        let clients = workers(&network)?;
        has_settled(&network, job, 2).await?;
        network.coordinator.stop().await?;
        clients.iter().for_each(JoinHandle::abort);
        requester.chain.top_up(job, Amount::units(99)).await?;
        let quiet = requester.chain.config().quiet_period;
        network.chain.ask("evm_increaseTime", json!([quiet + 5])).await?;
        network.chain.ask("evm_mine", json!([])).await?;
        Ok(Self { network, job })
    }

    /// The requester does not want to wait, and posts what the silent proposer does not: the queue.
    async fn post_the_queue(&self, bend: impl FnOnce(&mut Batch)) -> Result<BatchId> {
        let chain = &self.network.requester.chain;
        chain.make_bond(chain.sender(), chain.config().fraud_bond).await?;
        let deriver = derive(&self.network).await?;
        let start = BatchStart {
            number: BatchId(deriver.last().0 + 1),
            time: chain.now().await?,
            proposer: chain.sender(),
            queue_end: deriver.queue().len(),
        };
        let state = deriver.state().clone();
        let mut builder = BatchBuilder::new(state, start, chain.deployment(), deriver.queue())?;
        assert_eq!(builder.consume_queue(), Ok(1));
        let mut batch = builder.seal().0;
        bend(&mut batch);
        chain.post_batch(&batch).await?;
        Ok(start.number)
    }

    /// The coordinator is back, says this of batch `number`, and posts after it.
    async fn goes_on(mut self, number: BatchId, says: &str) -> Result<Self> {
        self.network.coordinator = self.network.coordinator.start_again().await?;
        let clients = workers(&self.network)?;
        let on = async {
            let chain = &self.network.requester.chain;
            while chain.latest_batch().await?.0.0 < number.0 + 2
                || !self.network.coordinator.log().contains(says)
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        let on = tokio::time::timeout(Duration::from_secs(60), on).await;
        on.with_context(|| self.network.coordinator.log())??;
        clients.iter().for_each(JoinHandle::abort);
        Ok(self)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_goes_on_from_what_others_posted_in_its_absence() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start(&dir.path().join("chain")).await?;
    let absent = Absent::on(chain, dir.path()).await?;
    let foreign = absent.post_the_queue(|_| ()).await?;
    let absent = absent.goes_on(foreign, "somebody else posted a batch").await?;
    let (requester, job) = (&absent.network.requester, absent.job);
    let status = requester.status(job).await?;
    let told = format!("batch {foreign} was posted by {}", requester.chain.sender());
    ensure!(status.funded.as_units() % 100 == 99, "the top-up counts: {status:?}");
    let logged: Value = requester.get(&format!("/v1/jobs/{job}/log")).await?;
    ensure!(logged.to_string().contains(&told), "{logged}");
    Ok(())
}

/// The queue leads to another state than the one that is stated.
fn another_state(batch: &mut Batch) {
    batch.header.post.jobs_root = Keccak([0x66; 32]);
    let root = batch.header.post.root();
    batch.chunks.last_mut().expect("the queue is consumed in a chunk").post_root = root;
}

async fn a_lie_falls(chain: Chain, dir: &Path) -> Result<()> {
    let absent = Absent::on(chain, dir).await?;
    let wrong = absent.post_the_queue(another_state).await?;
    let chain = absent.network.requester.chain.clone();
    ensure!(chain.bond(chain.sender()).await?.wei == FRAUD_BOND_WEI);
    let operator = absent.network.requester.info.operator;
    let before = chain.ether_balance(operator).await?;
    let absent = absent.goes_on(wrong, "somebody else's batch was proven wrong and is gone").await?;
    let log = absent.network.coordinator.log();
    for want in ["somebody else's batch is wrong", "proved somebody else's batch wrong"] {
        ensure!(log.contains(want), "{want}: {log}");
    }
    ensure!(chain.bond(chain.sender()).await?.wei == 0, "who lied has lost its bond");
    let gained = chain.ether_balance(operator).await?.saturating_sub(before);
    ensure!(gained > FRAUD_BOND_WEI / 4, "the whole reward, less what gas costs: {gained}");
    let audit =
        format!("fedroll audit --rpc {} --rollup {}", absent.network.chain.url, absent.network.chain.rollup);
    let ran = Shell::new(dir).quietly(&audit).await?;
    let fell = format!("batch {wrong} of {} was proven wrong", chain.sender());
    ensure!(ran.code == 0 && ran.stdout.contains(&fell), "{ran:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_proves_a_strangers_lie_by_itself() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    a_lie_falls(chain, dir.path()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_proves_a_strangers_lie_by_itself_on_anvil() -> Result<()> {
    let dir = tempfile::tempdir()?;
    a_lie_falls(Chain::anvil(&[], WINDOWS).await?, dir.path()).await
}
