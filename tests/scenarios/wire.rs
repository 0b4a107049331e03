//! Bytes that nobody should send, over real QUIC to the real programs.

mod raw;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use protocol::limits::WIRE_VERSION;
use quinn::ConnectionError;
use tests::real::{Client, Network, Quirk, Shell, WorkKind, training};
use tokio::sync::Semaphore;

/// What the coordinator calls a peer that breaks the protocol.
const MISBEHAVED: u32 = 1;
/// Seconds until the coordinator must have hung up: more than it waits for a hello.
const HANG_UP_S_MAX: u64 = 30;

/// Sends bytes on the control stream of a connection of its own; how the coordinator hangs up, in words.
async fn say(address: &str, number: u8, bytes: &[u8]) -> Result<String> {
    let (_endpoint, connection) =
        raw::connect(address, [number; 32], format!("fedroll/{WIRE_VERSION}").as_bytes()).await?;
    let (mut send, _receive) = connection.open_bi().await?;
    send.write_all(bytes).await?;
    send.finish()?;
    let closed = tokio::time::timeout(Duration::from_secs(HANG_UP_S_MAX), connection.closed()).await;
    match closed.context("the coordinator does not hang up")? {
        ConnectionError::ApplicationClosed(close) => {
            let why = String::from_utf8_lossy(&close.reason).into_owned();
            ensure!(close.error_code == MISBEHAVED.into(), "code {}: {why}", close.error_code);
            Ok(why)
        }
        other => bail!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_breaks_the_protocol_is_hung_up_on_and_nobody_else_notices() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let address = network.coordinator.worker_address.clone();
    let mut honest = Client::join(&address, 1, "digits").await?;
    let cases: [&[u8]; 6] = [
        &[0xff; 4],               // a frame of 4 GiB
        &[0, 4, 0, 1],            // a frame one byte over the limit
        &[0, 0, 0, 100, 1, 2, 3], // a frame that ends before its length
        &[0, 0, 0, 1, 0xff],      // a message that there is not
        &[0, 0, 0, 0],            // a message of no bytes
        &[],                      // nothing at all
    ];
    for (number, bytes) in (100..).zip(cases) {
        say(&address, number, bytes).await.with_context(|| format!("{bytes:?}"))?;
    }
    // A worker that is let in and goes mad afterwards takes nobody along.
    let job = network.requester.submit(&training("sane", 2, 1)?, &[]).await?;
    let update = vec![0.0; models::zoo::parameter_count(&tests::real::model())?];
    let update = WorkKind::Update(models::update::encode(&update, &update, 20)?.into());
    honest.work(&update, Quirk::None, &Semaphore::new(1), 2).await?;
    ensure!(honest.owed.len() == 2, "{:?}", honest.refused);
    network.requester.wait(job, 60, |status| status.rounds.len() == 2).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_two_protocol_versions_say_so_on_both_sides() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let foreign = format!("fedroll/{}", WIRE_VERSION + 1);
    let (endpoint, address) = raw::foreign_coordinator(foreign.as_bytes())?;
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            // It ends with an alert: that is what the worker has to make sense of.
            let _ = incoming.await;
        }
    });
    let payout = format!("0x{}", "11".repeat(20));
    let line = format!("fedroll-worker run --dir worker --coordinator {address} --payout {payout}");
    let ran = Shell::new(dir.path()).quietly(&line).await?;
    accepting.abort();
    ensure!(ran.code == 2 && ran.stdout.is_empty(), "{ran:?}");
    let last = ran.stderr.lines().last().unwrap_or_default();
    ensure!(last.contains("another protocol version") && last.contains("update the older one"), "{ran:?}");

    let network = Network::start(dir.path(), "").await?;
    let refused = raw::connect(&network.coordinator.worker_address, [7; 32], foreign.as_bytes()).await;
    let refused = refused.err().context("a worker of another version was let in")?.to_string();
    ensure!(refused.contains("doesn't support any known protocol"), "{refused}");
    Ok(())
}
