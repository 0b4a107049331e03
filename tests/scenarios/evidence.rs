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
        work: Digest::of(b"a task"),
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

/// A receipt of somebody's for a task, and what a coordinator shows for a credit that rests on it.
fn shown_for(account: u32, receipt: &Signed<Receipt>) -> CreditEvidence {
    let wire: Unverified<Receipt> = receipt.clone().into_wire();
    let bytes = codec::encode(&wire).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [credit] = <[CreditEvidence; 1]>::try_from(shown(PAID).credits).expect("one credit is shown");
    CreditEvidence {
        settlement: receipt.body().task.settlement,
        account: AccountIndex(account),
        receipts: vec![format!("0x{bytes}")],
        ..credit
    }
}

/// Posts a batch that pays accounts from 3 on for these receipts, which it registers for these workers first.
async fn pay_for(
    rollup: &mut Rollup,
    settlement: u32,
    workers: &[(NodeKey, u8)],
    receipts: &[Signed<Receipt>],
) -> Result<()> {
    let batch = rollup.seal(|builder| {
        for (worker, payout) in workers {
            builder.register(worker.id(), Address([*payout; 20]))?;
        }
        let credits = (3..).zip(receipts).map(|(account, receipt)| SettlementCredit {
            credit: Credit { account: AccountIndex(account), tasks: 1, amount: PAID },
            receipts: digest_of([receipt.digest()]),
            results: digest_of([receipt.body().result]),
        });
        let pay =
            Settlement { job: JobId(0), number: settlement, approval: None, credits: credits.collect() };
        ensure!(builder.settle(&pay)? == Progress::Closed);
        Ok(())
    });
    rollup.post(&batch.await?).await?;
    rollup.catch_up().await?;
    let credits = (3..).zip(receipts).map(|(account, receipt)| shown_for(account, receipt)).collect();
    show(rollup.shell.path("").as_path(), rollup.deriver.last(), &Evidence { schema: SCHEMA, credits })
}

/// What an audit with evidence finds wrong.
async fn problems(rollup: &Rollup) -> Result<Vec<String>> {
    let Chain { url, rollup: address, .. } = &rollup.chain;
    let line = format!("fedroll audit --rpc {url} --rollup {address} --evidence shown --format json");
    let ran = rollup.shell.quietly(&line).await?;
    Ok(serde_json::from_value(ran.json()?["result"]["problems"].clone())?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_paid_twice_is_found_whoever_signed_for_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut rollup =
        Rollup::on(Chain::start_with(&dir.path().join("chain"), WINDOWS).await?, dir.path()).await?;
    let sybil = || NodeKey::from_seed(&[0x32; 32]);
    // The coordinator's own worker states the honest one's result as its own, under the same slot.
    let copied = sybil().sign(Receipt { nonce: Nonce([8; 32]), ..receipt().body().clone() });
    // And one worker has two accounts, one of which pays the coordinator.
    let workers = [(worker(), 0x31), (sybil(), 0x32), (worker(), 0x33)];
    pay_for(&mut rollup, 1, &workers, &[receipt(), copied, receipt()]).await?;
    let found = problems(&rollup).await?;
    let [found] = found.as_slice() else { anyhow::bail!("{found:?}") };
    ensure!(found.contains("batch 2: credit 1: task 0/1/0 is paid to account 4"), "{found}");
    ensure!(found.contains("in credit 0 of batch 2 to account 3 (1 more"), "{found}");

    // A nonce belongs to one task, also in another batch.
    let task = TaskId { job: JobId(0), settlement: 2, slot: 0 };
    let again = worker().sign(Receipt { task, ..receipt().body().clone() });
    pay_for(&mut rollup, 2, &[], &[again]).await?;
    let found = problems(&rollup).await?;
    ensure!(found.len() == 2, "{found:?}");
    ensure!(found[1].contains("batch 3: credit 0: task 0/2/0 is paid to account 3"), "{found:?}");
    ensure!(found[1].contains("of batch 2"), "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_two_accounts_is_paid_for_a_receipt_on_one_of_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut rollup =
        Rollup::on(Chain::start_with(&dir.path().join("chain"), WINDOWS).await?, dir.path()).await?;
    pay_for(&mut rollup, 1, &[(worker(), 0x31), (worker(), 0x33)], &[receipt(), receipt()]).await?;
    let found = problems(&rollup).await?;
    let [found] = found.as_slice() else { anyhow::bail!("{found:?}") };
    ensure!(found.contains("to account 3, which is registered for the same worker"), "{found}");
    // Two accounts alone are no lie.
    let task = TaskId { slot: 1, ..receipt().body().task };
    let other = worker().sign(Receipt { task, nonce: Nonce([7; 32]), ..receipt().body().clone() });
    let honest = tempfile::tempdir()?;
    let chain = Chain::start_with(&honest.path().join("chain"), WINDOWS).await?;
    let mut rollup = Rollup::on(chain, honest.path()).await?;
    pay_for(&mut rollup, 1, &[(worker(), 0x31), (worker(), 0x33)], &[receipt(), other]).await?;
    let found = problems(&rollup).await?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_takes_nothing_ends_no_watch_and_is_tried_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    let mut rollup = Rollup::on(chain, dir.path()).await?;
    // As a full disk would, a file in the place of the directory takes nothing.
    std::fs::write(dir.path().join("kept"), "")?;
    std::fs::create_dir(dir.path().join("shown"))?;
    let words = ["--evidence", "shown", "--mirror", "kept"];
    let mut follower = Follower::start(&rollup.chain, dir.path(), &words).await?;
    follower.says("batch 1: 3 credits, holds").await?;
    pay_for(&mut rollup, 1, &[(worker(), 0x31)], &[receipt()]).await?;
    follower.says("batch 2: 1 credits, holds").await?;
    follower.says("batch 2: its evidence holds").await?;
    while follower.metrics().await?.contains("fedroll_audit_not_kept_total 0") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    std::fs::remove_file(dir.path().join("kept"))?;
    while !dir.path().join("kept/v1/batches/2/evidence").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    ensure!(follower.stop().await? == 0);
    Ok(())
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
    while !dir.path().join("kept/v1/batches/2/evidence").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
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
