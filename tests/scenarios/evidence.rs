//! What lies behind the credits: evidence that holds is kept, evidence of a wrong results tree brings the batch down,
//! what nobody shows is named, and can be asked for on the base layer.

use std::path::Path;

use anyhow::{Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Bonds as _, Challenger as _};
use contracts::bonds::ServiceBondsWriter as _;
use contracts::rpc::{FRAUD_BOND_WEI, Windows};
use protocol::amount::Amount;
use protocol::api::{CreditEvidence, Evidence, SCHEMA};
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, Nonce, TaskId};
use protocol::job::Receipt;
use protocol::ledger::batch::root_of_results;
use protocol::ledger::builder::{Progress, Settlement, SettlementCredit};
use protocol::ledger::op::Credit;
use protocol::ledger::share::digest_of;
use protocol::ledger::{Batch, BatchBuilder};
use protocol::sign::{EthKey, NodeKey, Signed, Unverified};
use protocol::wire::codec;
use tests::real::{Chain, Ran};

use crate::audit::Rollup;
use crate::challenge::{Follower, watcher};

/// Long enough for a slow machine, and never over in a test.
const WINDOWS: Windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };
/// Units that the task is paid.
const PAID: u64 = 1_500_000;

fn worker() -> NodeKey {
    NodeKey::from_seed(&[0x31; 32])
}

fn receipt() -> Signed<Receipt> {
    worker().sign(Receipt {
        task: TaskId { job: JobId(0), settlement: 1, slot: 0 },
        nonce: Nonce([9; 32]),
        result: Digest::of(b"an update"),
        result_bytes: 9,
        examples: 100,
        loss: None,
        evaluated: None,
        trace: None,
        checks: None,
        stake: None,
    })
}

/// Batch 2: a worker joins as account 3, and is paid for one task.
fn paid(builder: &mut BatchBuilder<'_>) -> Result<()> {
    builder.register(worker().id(), Address([0x31; 20]))?;
    let receipt = receipt();
    let credit = SettlementCredit {
        credit: Credit { account: AccountIndex(3), tasks: 1, amount: PAID },
        receipts: digest_of([receipt.digest()]),
        results: digest_of([receipt.body().result]),
    };
    let settlement = Settlement { job: JobId(0), number: 1, approval: None, credits: vec![credit] };
    ensure!(builder.settle(&settlement)? == Progress::Closed);
    Ok(())
}

/// What a coordinator shows for a batch that pays the task with so many units.
fn shown(units: u64) -> Evidence {
    let receipt: Unverified<Receipt> = receipt().into_wire();
    let bytes = codec::encode(&receipt).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let credit = CreditEvidence {
        job: JobId(0),
        settlement: 1,
        account: AccountIndex(3),
        tasks: 1,
        amount: Amount::units(units.into()),
        receipts: vec![format!("0x{bytes}")],
        check_secret: None,
        acceptance: None,
    };
    Evidence { schema: SCHEMA, credits: vec![credit] }
}

/// Puts evidence where a mirror has it.
fn show(dir: &Path, batch: BatchId, evidence: &Evidence) -> Result<()> {
    let path = dir.join(format!("shown/v1/batches/{batch}"));
    std::fs::create_dir_all(&path)?;
    Ok(std::fs::write(path.join("evidence"), serde_json::to_vec(evidence)?)?)
}

/// The results say that the task was paid more than the credit says.
fn lie(batch: &mut Batch) -> Result<()> {
    batch.results[0].credit.amount += 1;
    let root = root_of_results(&batch.results);
    batch.header.results_root = root.ok_or_else(|| anyhow::anyhow!("one leaf is a tree"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_is_not_about_its_credit_is_proven_from_the_evidence() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    let mut rollup = Rollup::on(chain, dir.path()).await?;
    watcher(&rollup).await?;
    let audit = format!("fedroll audit --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let challenge = format!("{audit} --evidence shown --challenge --key-file watcher.key --format json");
    let honest = rollup.seal(paid).await?;
    let mut wrong = honest.clone();
    lie(&mut wrong)?;
    rollup.post(&wrong).await?;

    // Evidence that leads elsewhere is no proof; the one that was committed to is.
    show(dir.path(), BatchId(2), &shown(PAID))?;
    let ran = rollup.shell.quietly(&challenge).await?;
    ensure!(ran.code == 1 && ran.json()?["result"]["challenge"].is_null(), "{ran:?}");
    ensure!(ran.stdout.contains("does not lead to its results root"), "{}", ran.stdout);
    show(dir.path(), BatchId(2), &shown(PAID + 1))?;
    let ran = rollup.shell.quietly(&challenge).await?;
    let answer = ran.json()?["result"]["challenge"].clone();
    ensure!(ran.code == 1 && answer["outcome"] == "proven" && answer["result"] == 0, "{ran:?}");
    ensure!(rollup.poster.bond(rollup.poster.sender()).await?.wei == 0);
    ensure!(rollup.poster.latest_batch().await?.0 == BatchId(1));

    rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    rollup.catch_up().await?;
    rollup.post(&honest).await?;
    show(dir.path(), BatchId(2), &shown(PAID))?;
    let ran = rollup.shell.quietly(&format!("{challenge} --mirror kept")).await?;
    ensure!(ran.code == 0 && ran.json()?["result"]["challenge"].is_null(), "{ran:?}");
    ensure!(ran.stdout.contains("1 receipt signed by their workers"), "{}", ran.stdout);
    ensure!(dir.path().join("kept/v1/batches/2/evidence").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_waits_for_evidence_keeps_it_and_proves_what_it_shows() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    let mut rollup = Rollup::on(chain, dir.path()).await?;
    watcher(&rollup).await?;
    std::fs::create_dir(dir.path().join("shown"))?;
    let words = ["--evidence", "shown", "--mirror", "kept", "--challenge", "--key-file", "watcher.key"];
    let mut follower = Follower::start(&rollup.chain, dir.path(), &words).await?;
    follower.says("batch 1: 3 credits, holds").await?;
    let honest = rollup.seal(paid).await?;
    let mut wrong = honest.clone();
    lie(&mut wrong)?;
    rollup.post(&wrong).await?;
    follower.says("batch 2: 1 credits, holds").await?;
    show(dir.path(), BatchId(2), &shown(PAID + 1))?;
    follower.says("batch 2: does not match: result 0 of its results tree is not about credit 0").await?;
    follower.says("proven: result 0 of batch 2 is wrong").await?;

    std::fs::remove_dir_all(dir.path().join("shown/v1"))?;
    rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    rollup.catch_up().await?;
    rollup.post(&honest).await?;
    follower.says("batch 2: 1 credits, holds").await?;
    show(dir.path(), BatchId(2), &shown(PAID))?;
    follower.says("batch 2: its evidence holds").await?;
    ensure!(dir.path().join("kept/v1/batches/2/evidence").exists());
    // Nobody shows what lies behind batch 1.
    let text = follower.metrics().await?;
    for want in ["fedroll_audit_batches_without_evidence 1", "fedroll_audit_batches_wrong_total 1"] {
        ensure!(text.contains(want), "{want}\n{text}");
    }
    ensure!(follower.stop().await? == 1, "a watcher that saw a lie ends with 1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_nobody_shows_is_asked_for_on_the_base_layer() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    let rollup = Rollup::on(chain, dir.path()).await?;
    watcher(&rollup).await?;
    rollup.poster.mint(rollup.poster.sender(), Amount::units(1_000_000_000)).await?;
    rollup.poster.deposit_bond(rollup.poster.sender(), Amount::units(1_000_000_000)).await?;
    let batch = rollup.seal(paid).await?;
    rollup.post(&batch).await?;
    let network = format!("--rpc {} --rollup {} --format json", rollup.chain.url, rollup.chain.rollup);
    let leaf = async |verb: &str, leaf: &str| {
        let key = if verb == "show" { "" } else { "--key-file watcher.key" };
        rollup
            .shell
            .quietly(&format!("fedroll chain leaf {verb} --batch 2 --leaf {leaf} {network} {key}"))
            .await
    };
    let state = |ran: &Ran| anyhow::Ok(ran.json()?["result"]["state"].clone());
    ensure!(state(&leaf("show", "0").await?)? == "never");
    let none = leaf("ask", "1").await?;
    ensure!(none.code == 2 && none.stdout.contains("not one at 1"), "{none:?}");
    ensure!(state(&leaf("ask", "0").await?)? == "open");
    let twice = leaf("ask", "0").await?;
    ensure!(twice.code == 2, "{twice:?}");
    let early = leaf("end", "0").await?;
    ensure!(early.code == 2, "{early:?}");
    let before = rollup.poster.token_balance(EthKey::from_secret(&[0x77; 32])?.address()).await?;
    rollup.chain.ask("evm_increaseTime", serde_json::json!([WINDOWS.data + 1])).await?;
    ensure!(state(&leaf("end", "0").await?)? == "silent");
    let after = rollup.poster.token_balance(EthKey::from_secret(&[0x77; 32])?.address()).await?;
    ensure!(after > before, "{before} to {after}: a silent coordinator's bond pays");
    Ok(())
}
