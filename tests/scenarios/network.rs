//! A real coordinator process, real QUIC, a development chain, and workers good and bad.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::base_layer::{BaseLayer as _, ChainEvent};
use protocol::api::{Evidence, JobPhase, WorkerHistory, WorkerList};
use protocol::job::{JobSpec, SpecFields, TrainData, Work};
use protocol::ledger::Deriver;
use tests::real::{Client, Network, Quirk, WorkKind, model, training};
use tokio::sync::Semaphore;

pub(super) fn good_update() -> Result<WorkKind> {
    let parameters = models::zoo::parameter_count(&model())?;
    Ok(WorkKind::Update(Arc::new(models::update::encode(
        &vec![0.0; parameters],
        &vec![0.01; parameters],
        20,
    )?)))
}

/// A worker that comes back whenever its link ends, as the real one does.
pub(super) fn persistent(address: String, number: u32, kind: WorkKind) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let turn = Semaphore::new(1);
        loop {
            if let Ok(mut client) = Client::join(&address, number, "digits").await {
                // An error is a lost link: dial again.
                let _ = client.work(&kind, Quirk::None, &turn, usize::MAX).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

/// Derives the ledger from the chain alone.
pub(super) async fn derive(network: &Network) -> Result<Deriver> {
    let chain = &network.requester.chain;
    let mut deriver = Deriver::new(chain.deployment());
    let (mut next, head) = (chain.deployed_block(), chain.head().await?.number);
    while next <= head {
        let history = chain.history(next, head).await?;
        for event in history.events {
            match event {
                ChainEvent::Queued(queued) => deriver.queue_item(queued.index, queued.item)?,
                ChainEvent::Posted(batch) => {
                    let verdict = deriver.batch(&batch.posted, None);
                    ensure!(verdict.holds(), "batch {}: {:?}", verdict.number, verdict.fault);
                }
                ChainEvent::RolledBack { number, .. } => bail!("batch {number} was proven wrong"),
            }
        }
        next = history.next_block;
    }
    Ok(deriver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_through_kills_of_the_coordinator_and_pays_everyone_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let settings = "seal_after_ms = 100\npoll_ms = 50\n";
    let mut network = Network::start(dir.path(), settings).await?;
    let (rounds, workers) = (12, 4);
    let clients: Vec<_> = (0..workers)
        .map(|number| Ok(persistent(network.coordinator.worker_address.clone(), number, good_update()?)))
        .collect::<Result<_>>()?;
    let job = network.requester.submit(&training("kills", rounds, workers)?, &[]).await?;
    for kill in 1..=4 {
        network.requester.wait(job, 60, |status| status.rounds.len() as u32 > kill * 2 - 1).await?;
        network.coordinator = network.coordinator.crash().await?;
    }
    let done = network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await;
    let done = done.with_context(|| network.coordinator.log())?;
    for client in clients {
        client.abort();
    }
    assert_eq!(done.rounds.len() as u32, rounds);
    assert!(done.rounds.iter().all(|round| round.accepted == workers), "{:?}", done.rounds);

    let deriver = derive(&network).await?;
    let earned: Vec<u128> =
        deriver.state().accounts().map(|(_, account)| account.earned.as_units()).collect();
    assert_eq!(earned, vec![1_500_000 * u128::from(rounds); workers as usize]);
    let leaf = deriver.state().job(job).context("the job is in the ledger")?;
    let pay = 1_500_000 * u128::from(rounds * workers);
    assert_eq!(leaf.spent.as_units(), pay + pay / 100);
    assert_eq!(leaf.funded, leaf.spent, "every slot was paid: nothing is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_worker_is_told_why_and_not_paid() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let nan = {
        let mut bytes = models::update::encode(&[0.0; 51], &[0.5; 51], 20)?;
        bytes[0] ^= 0xff; // not an update at all
        WorkKind::Bytes(bytes.into())
    };
    let short = WorkKind::Bytes(models::update::encode(&[0.0; 7], &[0.5; 7], 20)?.into());
    let lies = [
        (Quirk::NoUpload, good_update()?, "not uploaded"),
        (Quirk::WrongDigest, good_update()?, "not uploaded"),
        (Quirk::OtherWork, good_update()?, "for other work than its task"),
        (Quirk::NoExamples, good_update()?, "no examples"),
        (Quirk::WrongNonce, good_update()?, "do not have this task"),
        (Quirk::OtherTask, good_update()?, "there is no such task"),
        (Quirk::Late, good_update()?, "do not have this task"),
    ];
    let turn = Semaphore::new(1);
    for (number, (quirk, kind, why)) in (0..).zip(lies) {
        let mut liar =
            Client::join(&network.coordinator.worker_address, number, &format!("lie{number}")).await?;
        let mut fields: SpecFields = training("lies", 1, 1)?.into();
        if let Work::Train(train) = &mut fields.work {
            train.data = TrainData::Local(format!("lie{number}").parse()?);
            train.round.deadline_ms = if quirk == Quirk::Late { 500 } else { 60_000 };
        }
        let job = network.requester.submit(&JobSpec::new(fields)?, &[]).await?;
        network.requester.wait(job, 30, |status| status.rounds.iter().any(|round| round.asked > 0)).await?;
        let worked = tokio::time::timeout(Duration::from_secs(30), liar.work(&kind, quirk, &turn, 1)).await;
        worked.with_context(|| format!("{quirk:?} got no answer"))??;
        assert!(liar.owed.is_empty(), "{quirk:?} was promised {:?}", liar.owed);
        assert!(liar.refused[0].contains(why), "{quirk:?}: {:?}", liar.refused);
    }
    // Malformed bytes are refused while they arrive: the upload itself fails.
    let other_scale = WorkKind::Bytes(models::update::encode(&[0.0; 51], &[0.5; 51], 19)?.into());
    for (number, kind) in [(90, nan), (91, short), (92, other_scale)] {
        let mut liar =
            Client::join(&network.coordinator.worker_address, number, &format!("lie{number}")).await?;
        let mut fields: SpecFields = training("lies", 1, 1)?.into();
        if let Work::Train(train) = &mut fields.work {
            train.data = TrainData::Local(format!("lie{number}").parse()?);
        }
        network.requester.submit(&JobSpec::new(fields)?, &[]).await?;
        let worked =
            tokio::time::timeout(Duration::from_secs(30), liar.work(&kind, Quirk::None, &turn, 1)).await?;
        assert!(worked.is_err(), "a malformed update was taken");
    }
    let workers: WorkerList = network.requester.get("/v1/workers").await?;
    assert!(workers.workers.iter().all(|worker| worker.accepted == 0), "{workers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_receipt_is_answered_again_and_paid_once_and_evidence_shows_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let mut client = Client::join(&network.coordinator.worker_address, 1, "digits").await?;
    let job = network.requester.submit(&training("twice", 1, 1)?, &[]).await?;
    client.work(&good_update()?, Quirk::Twice, &Semaphore::new(1), 2).await?;
    assert_eq!(client.owed, [1_500_000, 1_500_000], "the same promise twice: it is cumulative");
    network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await?;
    let deriver = derive(&network).await?;
    let earned = deriver.state().account(client.welcome.account).context("registered")?.earned;
    assert_eq!(earned.as_units(), 1_500_000);

    let last = deriver.last();
    let mut credits = Vec::new();
    for number in 1..=last.0 {
        let evidence: Evidence = network.requester.get(&format!("/v1/batches/{number}/evidence")).await?;
        credits.extend(evidence.credits);
    }
    assert_eq!((credits.len(), credits[0].receipts.len(), credits[0].tasks), (1, 1, 1));
    let workers: WorkerList = network.requester.get("/v1/workers").await?;
    let history: WorkerHistory =
        network.requester.get(&format!("/v1/workers/{}", workers.workers[0].worker)).await?;
    assert_eq!((history.tasks.len(), history.tasks[0].outcome.as_str()), (1, "accepted"));
    assert!(history.tasks[0].batch.is_some(), "{history:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_cannot_start_says_what_to_do() -> Result<()> {
    use tests::real::Process;
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "").await?;
    let config = dir.path().join("coordinator/coordinator.toml");
    let text = std::fs::read_to_string(&config)?;
    let port = network.coordinator.http.rsplit_once(':').context("a port")?.1.to_owned();
    let other_data = text.replace("coordinator/data", "coordinator/other");
    let cases = [
        (text.clone(), "another coordinator is running"),
        (
            other_data.replace("http = \"127.0.0.1:0\"", &format!("http = \"127.0.0.1:{port}\"")),
            "is the port busy?",
        ),
        (other_data.replace(&network.chain.url, "http://127.0.0.1:9"), "does not answer"),
        (
            other_data.replace(&network.chain.rollup.to_string(), &format!("0x{}", "11".repeat(20))),
            "no fedroll rollup",
        ),
        (other_data.replace("open = true", "opne = true"), "opne"),
    ];
    for (number, (text, want)) in cases.into_iter().enumerate() {
        let path = dir.path().join(format!("{number}.toml"));
        std::fs::write(&path, text)?;
        let log = dir.path().join(format!("{number}.log"));
        let path = path.to_str().context("a path in UTF-8")?;
        let started =
            Process::start("fedroll-coordinator", &["--config", path, "--format", "json"], &log).await;
        let error = started.err().with_context(|| format!("case {number} started"))?.to_string();
        assert!(error.contains(want), "case {number}: {error}");
    }
    Ok(())
}
