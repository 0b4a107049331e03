//! The whole way on a chain that is not ours: anvil as a process, the commands against it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::BaseLayerWriter as _;
use contracts::devchain::faucet_key;
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::ids::Address;
use protocol::quic::key_file;
use tests::real::{Process, Shell, TAG, Worker, start_anvil};

const JOB: &str = r#"
version = 1
name = "abroad"
[model]
kind = "logistic"
input = [1, 4, 4]
classes = 3
[training]
data = "TAG"
rounds = 2
scale_bits = 20
[round]
workers = 2
[evaluation]
by = "workers"
[pay]
price = "0.5"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_from_deploy_to_claim_on_anvil() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let shell = Shell::new(dir.path());
    // A block a second: time must go on for batches to become final.
    let (_anvil, rpc) = start_anvil(&["--block-time", "1", "--slots-in-an-epoch", "1"]).await?;
    key_file::write(&shell.path("faucet.key"), &faucet_key().secret())?;
    let mut keys = Vec::new();
    for name in ["operator.key", "requester.key"] {
        let made = shell.quietly(&format!("fedroll key new {name}")).await?;
        keys.push(made.stdout.trim().parse::<Address>()?);
    }
    let [operator, requester] = keys[..] else { unreachable!("two keys were made") };

    let line = format!("fedroll chain deploy --rpc {rpc} --key-file faucet.key --operator {operator}");
    let deployed = shell.quietly(&format!("{line} --format json")).await?;
    ensure!(deployed.code == 0, "{deployed:?}");
    let rollup = deployed.json()?["result"]["rollup"].as_str().context("an address")?.to_owned();
    let bank = RpcChain::connect(&rpc, rollup.parse()?).await?.with_key(&faucet_key());
    for receiver in [operator, requester] {
        bank.send_ether(receiver, 10u128.pow(19)).await?;
    }
    bank.mint(requester, Amount::units(10_000_000)).await?;

    let config = shell.path("coordinator.toml");
    let text = format!(
        "data_dir = {:?}\nkey_file = {:?}\nrpc = \"{rpc}\"\nrollup = \"{rollup}\"\nopen = true\n\
         listen = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nseal_after_ms = 500\npoll_ms = 100\n",
        shell.path("data"),
        shell.path("operator.key")
    );
    fs::write(&config, text)?;
    let arguments = ["--config", config.to_str().context("a path in UTF-8")?, "--format", "json"];
    let log = shell.path("coordinator.log");
    let coordinator = Process::start("fedroll-coordinator", &arguments, &log).await?;
    let http = coordinator.ready["http"].as_str().context("a URL")?.to_owned();
    let dial = coordinator.ready["worker_address"].as_str().context("an address")?.to_owned();
    let mut workers = Vec::new();
    for number in [1, 2] {
        workers.push(Worker::start(&shell.path(&format!("worker-{number}")), &dial, number).await?);
    }

    fs::write(shell.path("job.toml"), JOB.replace("TAG", TAG))?;
    let submit = format!("fedroll job submit job.toml --yes --watch --coordinator {http}");
    let submitted = shell.quietly(&format!("{submit} --key-file requester.key --format json")).await?;
    ensure!(submitted.code == 0, "{submitted:?}");
    let status = format!("fedroll job status 0 --coordinator {http}");
    shell.until(&status, |status| status["result"]["phase"] == "done").await?;

    let network = format!("--rpc {rpc} --rollup {rollup} --format json");
    let claimed = shell.quietly(&format!("fedroll claim --all {network} --key-file faucet.key")).await?;
    ensure!(claimed.code == 0, "{claimed:?}");
    let paid = claimed.json()?["result"]["paid"].clone();
    ensure!(paid[0]["amount"] == "1" && paid[1]["amount"] == "1" && paid[2].is_null(), "{paid:#}");
    let audit =
        shell.quietly(&format!("fedroll audit {network} --evidence {http} --mirror evidence")).await?;
    ensure!(audit.code == 0, "{audit:?}");
    let totals = &audit.json()?["result"]["totals"];
    ensure!(totals["claimed"] == "2" && totals["earned"] == "2", "{totals:#}");
    drop(coordinator);
    audit_the_mirror(&shell, &network).await
}

/// What was mirrored outlives the coordinator; who keeps it cannot change it unnoticed.
async fn audit_the_mirror(shell: &Shell, network: &str) -> Result<()> {
    let line = format!("fedroll audit {network} --evidence evidence");
    let whole = shell.quietly(&line).await?;
    ensure!(whole.code == 0 && whole.stdout.contains("4 receipts signed by their workers"), "{whole:?}");
    let batches = shell.path("evidence").join("v1/batches");
    let kept = fs::read_dir(&batches)?.next().context("a mirrored batch")??.path().join("evidence");
    let honest = fs::read_to_string(&kept)?;
    let mut evidence: serde_json::Value = serde_json::from_str(&honest)?;
    let credits = evidence["credits"].as_array_mut().context("credits")?;
    // Each signature holds, and each receipt is about this job: only not of this account.
    let other = credits[1]["receipts"].clone();
    credits[0]["receipts"] = other;
    fs::write(&kept, evidence.to_string())?;
    let forged = shell.quietly(&line).await?;
    ensure!(forged.code == 1 && forged.stdout.contains("a receipt is signed by"), "{forged:?}");
    fs::write(&kept, honest.replace("\"tasks\":1", "\"tasks\":2"))?;
    let forged = shell.quietly(&line).await?;
    ensure!(forged.code == 1 && forged.stdout.contains("1 receipts for 2 tasks"), "{forged:?}");
    fs::remove_file(&kept)?;
    let missing = shell.quietly(&line).await?;
    ensure!(missing.code == 0 && missing.stdout.contains("the mirror does not have it"), "{missing:?}");
    Ok(())
}
