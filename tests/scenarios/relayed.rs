//! A requester that holds tokens and no ether: it signs, somebody else sends, and the job runs, is closed and is
//! refunded as if it had sent everything itself. With real programs, on both chains.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _};
use contracts::rpc::{RpcWriter, Windows};
use protocol::amount::Amount;
use protocol::ids::Address;
use protocol::quic::key_file;
use protocol::sign::EthKey;
use serde_json::Value;
use tests::real::{Chain, Network, Shell, operator};

use crate::network::{good_update, persistent};

/// More rounds than are done before it is closed.
const JOB: &str = r#"
version = 1
name = "relayed"
[model]
kind = "logistic"
input = [1, 4, 4]
classes = 3
[training]
data = "digits"
rounds = 1000
minibatch = 1
scale_bits = 20
[round]
workers = 2
[settlement]
rounds = 1
[evaluation]
by = "none"
[pay]
price = "1.5"
"#;

/// A network, a requester without ether, and a sponsor with it.
struct Scene {
    network: Network,
    shell: Shell,
    bank: RpcWriter,
    poor: Address,
}

impl Scene {
    async fn on(chain: Chain, dir: &Path) -> Result<Self> {
        let bank = chain.writer(&operator()).await?;
        let network = Network::on(chain, dir, "seal_after_ms = 100\npoll_ms = 50\n").await?;
        let shell = Shell::new(dir);
        let (poor, sponsor) = (EthKey::from_secret(&[0x0a; 32])?, EthKey::from_secret(&[0x0b; 32])?);
        bank.mint(poor.address(), Amount::units(10u128.pow(10))).await?;
        bank.send_ether(sponsor.address(), 10u128.pow(18)).await?;
        key_file::write(&shell.path("poor.key"), &poor.secret())?;
        key_file::write(&shell.path("sponsor.key"), &sponsor.secret())?;
        fs::write(shell.path("job.toml"), JOB)?;
        Ok(Self { network, shell, bank, poor: poor.address() })
    }

    /// A command that asks the coordinator and signs with the requester's key.
    fn signs(&self, words: &str) -> String {
        let http = &self.network.coordinator.http;
        self.sends(&format!("{words} --coordinator {http} --key-file poor.key --yes"))
    }

    fn sends(&self, words: &str) -> String {
        let Chain { url, rollup, .. } = &self.network.chain;
        format!("fedroll {words} --rpc {url} --rollup {rollup} --format json")
    }

    /// The answer of a command that ends well.
    async fn answer(&self, line: &str) -> Result<Value> {
        let ran = self.shell.quietly(line).await?;
        ensure!(ran.code == 0, "{line}: {ran:?}");
        Ok(ran.json()?["result"].clone())
    }

    /// The sponsor sends an order.
    async fn relay(&self, order: &str) -> Result<Value> {
        self.answer(&self.sends(&format!("job relay {order} --key-file sponsor.key --yes"))).await
    }
}

async fn others_send(chain: Chain) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let relay = chain.funding_relay;
    let scene = Scene::on(chain, dir.path()).await?;
    let owned = async || scene.bank.token_balance(scene.poor).await;
    let before = owned().await?;

    let signed = scene.signs(&format!("job submit job.toml --sign-only fund.json --relay {relay}"));
    assert_eq!(scene.answer(&signed).await?["file"], "fund.json");
    // Whoever relays it cannot change it.
    let text = fs::read_to_string(scene.shell.path("fund.json"))?;
    let bent = text.replace(&scene.poor.to_string(), &operator().address().to_string());
    ensure!(bent != text, "{text}");
    fs::write(scene.shell.path("bent.json"), bent)?;
    let bent = scene.sends("job relay bent.json --key-file sponsor.key --yes");
    ensure!(scene.shell.quietly(&bent).await?.code == 2, "an order that its requester did not sign");

    let funded = scene.relay("fund.json").await?;
    let amount: Amount = funded["funded"].as_str().context("an amount")?.parse()?;
    assert_eq!(
        (funded["job"].as_str(), owned().await?),
        (Some("0"), Amount::units(before.as_units() - amount.as_units()))
    );
    let again = scene.sends("job relay fund.json --key-file sponsor.key --yes");
    ensure!(scene.shell.quietly(&again).await?.code == 2, "an order is good for one job");

    let clients = [0, 1].map(|number| {
        let address = scene.network.coordinator.worker_address.clone();
        Ok::<_, anyhow::Error>(persistent(address, number, good_update()?))
    });
    let requester = &scene.network.requester;
    let job = protocol::ids::JobId(0);
    let on = requester.wait(job, 60, |status| status.settled > 1).await?;
    assert_eq!(on.requester, Some(scene.poor));
    for client in clients {
        client?.abort();
    }

    scene.answer(&scene.signs("job cancel 0 --sign-only close.json")).await?;
    let closed = scene.relay("close.json").await?;
    assert_eq!((closed["job"].as_str(), closed["funded"].as_str()), (Some("0"), None));
    assert_eq!(scene.bank.ether_balance(scene.poor).await?, 0, "it never had any");
    let audit = scene.answer(&scene.sends("audit")).await?;
    let owner = audit["jobs"].as_array().and_then(|jobs| jobs.first()).context("a job")?["requester"].clone();
    assert_eq!(owner, scene.poor.to_string());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_without_gas_has_a_job_funded_and_closed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    others_send(Chain::start(dir.path()).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_without_gas_has_a_job_funded_and_closed_on_anvil() -> Result<()> {
    others_send(Chain::anvil(&[], Windows::DEVELOPMENT).await?).await
}
