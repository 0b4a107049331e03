//! `fedroll claim --omitted` against a coordinator that signed for more than its batches pay.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, PostOutcome};
use contracts::devchain::faucet_key;
use contracts::rpc::RpcWriter;
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::job::{Acceptance, SignedAcceptance};
use protocol::ledger::{
    BatchBuilder, BatchStart, Credit, Queue, QueueAction, QueueItem, Settlement, SettlementCredit, State,
    Terms,
};
use protocol::quic::key_file;
use protocol::sign::EthKey;
use protocol::wire::codec;
use tests::real::{Chain, Shell, operator};

use crate::audit::pay as pay_accounts;
use crate::replayed::posted_twice;

const TERMS: Terms = Terms {
    price_cap: 2_000_000,
    task_cap: 40,
    settlements: 5,
    rate: 0,
    burst: 500_000_000,
    fee_bps: 100,
    approve: false,
    kind: 0,
};
const PAID: u64 = 1_500_000;

/// Posts a batch that funds job 0 and pays accounts 0 and 1 for its first settlement.
async fn pay(poster: &RpcWriter, requester: &RpcWriter) -> Result<()> {
    let amount = Amount::units(500_000_000);
    requester.fund_job(poster.sender(), SpecHash([7; 32]), TERMS, amount).await?;
    let head = poster.head().await?;
    let mut queue = Queue::default();
    let action =
        QueueAction::Fund { amount, coordinator: poster.sender(), spec: SpecHash([7; 32]), terms: TERMS };
    queue.push(QueueItem { job: JobId(0), time: head.time, sender: requester.sender(), action });
    let start = BatchStart { number: BatchId(1), time: head.time, proposer: poster.sender(), queue_end: 1 };
    let mut builder = BatchBuilder::new(State::default(), start, poster.deployment(), &queue)?;
    builder.consume_queue()?;
    for worker in 1..4 {
        builder.register(WorkerId([worker; 32]), Address([worker; 20]))?;
    }
    let nothing = Digest([0; 32]);
    let credits = (0..2).map(|account| SettlementCredit {
        credit: Credit { account: AccountIndex(account), tasks: 1, amount: PAID },
        receipts: nothing,
        results: nothing,
    });
    let settlement = Settlement { job: JobId(0), number: 0, approval: None, credits: credits.collect() };
    builder.settle(&settlement)?;
    let outcome = poster.post_batch(&builder.seal().0).await?;
    ensure!(matches!(outcome, PostOutcome::Posted(_)), "{outcome:?}");
    Ok(())
}

/// Writes what `fedroll worker acceptances` writes.
pub(super) fn export(file: &Path, signed: &[SignedAcceptance]) -> Result<()> {
    let hex = |bytes: Vec<u8>| bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let acceptances: Vec<String> = signed.iter().map(|signed| hex(codec::encode(signed))).collect();
    let document = serde_json::json!({ "schema": 1, "acceptances": acceptances });
    Ok(fs::write(file, document.to_string())?)
}

fn acceptance(settlement: u32, account: u32, owed: u64, settle_by: u64) -> Acceptance {
    let payout = Address([account as u8 + 1; 20]);
    Acceptance {
        job: JobId(0),
        spec: SpecHash([7; 32]),
        settlement,
        account: AccountIndex(account),
        payout,
        tasks: 1,
        owed,
        receipt: Digest([9; 32]),
        settle_by,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_for_and_not_paid_comes_from_the_bond_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start(&dir.path().join("chain")).await?;
    let poster = chain.writer(&operator()).await?;
    let requester = EthKey::from_secret(&[7; 32])?;
    poster.send_ether(requester.address(), 10u128.pow(19)).await?;
    poster.mint(requester.address(), Amount::units(500_000_000)).await?;
    // Before any block that the batch can be dated by.
    let past = poster.head().await?.time - 1;
    pay(&poster, &chain.writer(&requester).await?).await?;

    let shell = Shell::new(dir.path());
    key_file::write(&shell.path("anyone.key"), &faucet_key().secret())?;
    let (domain, coordinator) = (poster.domain(), operator());
    // Paid in full; paid short; left out; late; still in time; signed by somebody else.
    let signed = [
        acceptance(0, 0, PAID, u64::MAX).sign(&domain, &coordinator),
        acceptance(0, 1, PAID + 100_000, u64::MAX).sign(&domain, &coordinator),
        acceptance(0, 2, 700_000, u64::MAX).sign(&domain, &coordinator),
        acceptance(1, 2, 800_000, past).sign(&domain, &coordinator),
        acceptance(2, 2, 900_000, u64::MAX).sign(&domain, &coordinator),
        acceptance(3, 2, 900_000, past).sign(&domain, &requester),
    ];
    export(&shell.path("kept.json"), &signed)?;

    let line = format!("fedroll claim --omitted kept.json --rpc {} --rollup {}", chain.url, chain.rollup);
    let looked = shell.until(&format!("{line} --dry-run"), |answer| answer["result"]["kept"] == 1).await?;
    let result = &looked["result"];
    ensure!(result["waiting"] == 1 && result["foreign"] == 1, "{result:#}");
    ensure!(result["omissions"].as_array().is_some_and(|lines| lines.len() == 3), "{result:#}");
    let proven = shell.quietly(&format!("{line} --key-file anyone.key --format json")).await?;
    ensure!(proven.code == 0, "{proven:?}");
    for (account, units) in [(0, 0), (1, 100_000), (2, 1_500_000)] {
        let got = poster.token_balance(Address([account + 1; 20])).await?;
        ensure!(got == Amount::units(units), "account {account} got {got}");
    }
    let again = shell.quietly(&format!("{line} --key-file anyone.key")).await?;
    ensure!(again.code == 0 && again.stdout.contains("batch 1 went past the account"), "{again:?}");
    ensure!(poster.token_balance(Address([3; 20])).await? == Amount::units(1_500_000), "paid once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_omission_after_a_rollback_is_proven_against_the_batch_that_stands() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // What fell paid account 0; what stands in its place pays account 1, and went past account 0.
    let rollup = posted_twice(dir.path(), async |rollup| {
        let batch = rollup.seal(|builder| pay_accounts(builder, 1, 1..2)).await?;
        rollup.post(&batch).await
    });
    let rollup = rollup.await?;
    let accepted = |settlement, account, owed| acceptance(settlement, account, owed, u64::MAX);
    let accepted = [accepted(0, 0, 1_500_000), accepted(1, 0, 1_400_000), accepted(1, 1, 1_500_000)];
    export(
        &rollup.shell.path("kept.json"),
        &accepted.map(|one| one.sign(&rollup.poster.domain(), &operator())),
    )?;
    let line = format!(
        "fedroll claim --omitted kept.json --key-file watcher.key --format json --rpc {} --rollup {}",
        rollup.chain.url, rollup.chain.rollup
    );
    let ran = rollup.shell.quietly(&line).await?;
    ensure!(ran.code == 0, "{ran:?}");
    let result = ran.json()?["result"].clone();
    ensure!(result["kept"] == 2 && result["omissions"][0]["paid"] == "1.4", "{result:#}");
    ensure!(rollup.poster.token_balance(Address([1; 20])).await? == Amount::units(1_400_000));
    Ok(())
}
