//! What workers have at stake, from the command line of their operators and of whoever catches one at a contradiction.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, PostOutcome};
use contracts::devchain::faucet_key;
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{BatchId, JobId, Nonce, WorkerId};
use protocol::job::TaskResult;
use protocol::ledger::{BatchBuilder, BatchStart, Queue, State};
use protocol::quic::key_file;
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;
use serde_json::{Value, json};
use tests::real::{Chain, Ran, Shell, operator};

/// Two accounts in a final batch; their payout keys, with ether and tokens, in `1.key` and `2.key`, their signers in
/// `s1.key` and `s2.key`.
async fn set_up(dir: &Path) -> Result<(Chain, Shell)> {
    let chain = Chain::start(&dir.join("chain")).await?;
    let poster = chain.writer(&operator()).await?;
    let shell = Shell::new(dir);
    let time = poster.head().await?.time;
    let start = BatchStart { number: BatchId(1), time, proposer: poster.sender(), queue_end: 0 };
    let queue = Queue::default();
    let mut builder = BatchBuilder::new(State::default(), start, poster.deployment(), &queue)?;
    for number in 1..=2 {
        let payout = EthKey::from_secret(&[number; 32])?;
        builder.register(WorkerId([number; 32]), payout.address())?;
        poster.send_ether(payout.address(), 10u128.pow(18)).await?;
        poster.mint(payout.address(), Amount::units(100_000_000)).await?;
        key_file::write(&shell.path(&format!("{number}.key")), &payout.secret())?;
        let signer = EthKey::from_secret(&[number + 10; 32])?;
        key_file::write(&shell.path(&format!("s{number}.key")), &signer.secret())?;
    }
    let outcome = poster.post_batch(&builder.seal().0).await?;
    ensure!(matches!(outcome, PostOutcome::Posted(_)), "{outcome:?}");
    key_file::write(&shell.path("anyone.key"), &faucet_key().secret())?;
    Ok((chain, shell))
}

struct Operator<'a> {
    shell: &'a Shell,
    place: String,
}

impl Operator<'_> {
    async fn run(&self, words: &str) -> Result<Ran> {
        self.shell.quietly(&format!("fedroll chain stake {words} {} --format json", self.place)).await
    }

    async fn done(&self, words: &str) -> Result<Value> {
        let ran = self.run(words).await?;
        ensure!(ran.code == 0, "{words}: {ran:?}");
        Ok(serde_json::from_str::<Value>(&ran.stdout)?["result"].take())
    }

    async fn refused(&self, words: &str, why: &str) -> Result<()> {
        let ran = self.run(words).await?;
        ensure!(ran.code == 2 && ran.stdout.contains(why), "{words}: {ran:?}");
        Ok(())
    }
}

/// The file that `fedroll audit --evidence` writes, for two statements of a signer.
fn contradiction(registry: &Domain, signer: &EthKey) -> Value {
    let first = TaskResult { job: JobId(0), settlement: 2, nonce: Nonce([3; 32]), result: Digest([4; 32]) };
    let hex = |bytes: &[u8]| bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let results = [first, TaskResult { result: Digest([5; 32]), ..first }].map(|result| {
        let signature = hex(&result.sign(registry, signer).to_bytes());
        json!({ "result": result.result.to_string(), "signature": signature })
    });
    json!({
        "version": 1, "chain_id": registry.chain_id, "registry": registry.contract.to_string(),
        "job": "0", "settlement": 2, "nonce": first.nonce.to_string(), "results": results,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stakes_leaves_and_loses_its_stake_by_a_contradiction() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (chain, shell) = set_up(dir.path()).await?;
    let place = format!("--rpc {} --rollup {} --registry {}", chain.url, chain.rollup, chain.registry);
    let operator = Operator { shell: &shell, place };
    ensure!(operator.done("show").await?["stakes"] == json!([]));
    operator.refused("join 25 --key-file 1.key --signer s1.key", "no final batch has an account").await?;
    chain.ask("evm_increaseTime", json!([6])).await?;
    chain.ask("evm_mine", json!([])).await?;

    operator.refused("join 25 --key-file 1.key", "the worker's signer key is not known").await?;
    let joined = operator.done("join 25 --key-file 1.key --signer s1.key").await?;
    ensure!(joined["stakes"][0]["stake"] == "25" && joined["stakes"][0]["counts"] == "25", "{joined:#}");
    let added = operator.done("join 1.5 --key-file 1.key").await?;
    ensure!(added["stakes"][0]["stake"] == "26.5", "{added:#}");
    operator.done("join 10 --key-file 2.key --signer s2.key").await?;

    operator.refused("withdraw --key-file 1.key", "was not asked back").await?;
    let left = operator.done("exit --key-file 1.key").await?;
    ensure!(left["stakes"][0]["counts"] == "0" && left["stakes"][0]["exit_at"].is_u64(), "{left:#}");
    operator.refused("withdraw --key-file 1.key", "before time").await?;
    chain.ask("evm_increaseTime", json!([121])).await?;
    chain.ask("evm_mine", json!([])).await?;
    ensure!(operator.done("withdraw --key-file 1.key").await?["stakes"] == json!([]));
    operator.refused("exit --key-file 1.key", "has staked for no account").await?;

    let registry = Domain { chain_id: 31_337, contract: chain.registry };
    let file = contradiction(&registry, &EthKey::from_secret(&[12; 32])?);
    std::fs::write(shell.path("found.json"), file.to_string())?;
    let shown = operator.done("show").await?;
    ensure!(shown["stakes"].as_array().is_some_and(|stakes| stakes.len() == 1), "{shown:#}");
    let watcher = chain.writer(&faucet_key()).await?;
    let before = watcher.token_balance(watcher.sender()).await?;
    let taken = operator.done("prove found.json --key-file anyone.key").await?;
    ensure!(taken["reward"] == "5" && taken["burnt"] == "5" && taken["account"] == "1", "{taken:#}");
    let gained = watcher.token_balance(watcher.sender()).await?.sub(before).context("it gained")?;
    ensure!(gained == Amount::units(5_000_000), "{gained}");
    operator.refused("prove found.json --key-file anyone.key", "was taken before").await?;
    operator.refused("join 10 --key-file 2.key --signer s2.key", "can never stake").await?;
    Ok(())
}
