//! `fedroll claim --omitted` against a coordinator that signed for more than its batches pay.

use std::fs;

use anyhow::{Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, PostOutcome};
use contracts::devchain::faucet_key;
use contracts::rpc::RpcWriter;
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::job::Acceptance;
use protocol::ledger::{
    BatchBuilder, BatchStart, Credit, Queue, QueueAction, QueueItem, Settlement, SettlementCredit, State,
    Terms,
};
use protocol::quic::key_file;
use protocol::sign::EthKey;
use protocol::wire::codec;
use tests::real::{Chain, Shell, operator};

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
    let hex = |bytes: Vec<u8>| bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let acceptances: Vec<String> = signed.iter().map(|signed| hex(codec::encode(signed))).collect();
    let document = serde_json::json!({ "schema": 1, "acceptances": acceptances });
    fs::write(shell.path("kept.json"), document.to_string())?;

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
