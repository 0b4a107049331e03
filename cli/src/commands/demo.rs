//! `fedroll demo`: one real job, from `submit` to `claim`, on real data, with the figures at the end.

mod gas;
mod report;

use std::path::{Path, PathBuf};

use contracts::rpc::RpcChain;
use protocol::api::{JobPhase, JobStatus};
use protocol::sign::EthKey;

use self::gas::GasMeter;
use self::report::{DemoReport, Earning};
use super::audit::{self, AuditReport};
use super::claim::{Claimed, Claims};
use super::infer::{self, Answered, Asked, Cut, Examples, Items};
use super::job::submit;
use crate::args::NetworkArgs;
use crate::args::job::JobRef;
use crate::args::local::Demo;
use crate::client::Client;
use crate::clock::{Stopwatch, unix_seconds};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::files;
use crate::follow::{self, Progress};
use crate::funding::Requester;
use crate::jobfile::{CHECK_BPS, Job};
use crate::keys;
use crate::local::{Local, Ports, find_data, in_workspace};
use crate::network::Network;
use crate::output::Output;
use crate::signals;

/// Tokens for one answered digit.
const DIGIT_UNITS: u128 = 1_000;
/// Digits in one inference task.
const DIGITS_PER_TASK: u32 = 50;
/// Milliseconds a worker has for one inference task.
const TASK_MS: u64 = 60_000;

/// Runs the demo; its network is stopped on every way out.
pub async fn run(args: &Demo, out: &Output) -> anyhow::Result<ExitStatus> {
    let stop = signals::stop()?;
    tokio::pin!(stop);
    let watch = Stopwatch::start();
    let job = args.job.clone().or_else(|| in_workspace("jobs/mnist-demo.toml")).ok_or_else(|| {
        CliError::Unknown {
            what: "the demo's job file",
            fix: "run this program from its workspace, or name a job file with --job".to_owned(),
        }
    })?;
    // Read before anything is started: a mistake in it should cost nobody a minute.
    let job = Job::read(&job)?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => fresh_dir()?,
    };
    files::make_dir(&dir)?;
    out.note(format_args!("everything lies in {}", dir.display()));
    let mut local = tokio::select! {
        local = Local::start(&dir, &args.shape, Ports::default(), out) => local?,
        () = &mut stop => return Err(CliError::Interrupted.into()),
    };
    let stage = Stage::new(args, dir, &local)?;
    let played = tokio::select! {
        played = stage.play(job, &watch, out) => played,
        error = local.first_death() => Err(error.into()),
        () = &mut stop => Err(CliError::Interrupted.into()),
    };
    out.note("stopping the network");
    local.stop().await;
    out.answer(&played?)
}

fn fresh_dir() -> Result<PathBuf, CliError> {
    let base = in_workspace("target").unwrap_or_else(std::env::temp_dir).join("demo");
    files::make_dir(&base)?;
    let made = tempfile::Builder::new().prefix(&format!("{}-", unix_seconds())).tempdir_in(&base);
    Ok(made.map_err(crate::error::file("create", base))?.keep())
}

/// What the acts of the demo share.
struct Stage<'a> {
    args: &'a Demo,
    dir: PathBuf,
    client: Client,
    network: Network,
    key: EthKey,
    rpc: String,
    rollup: protocol::ids::Address,
    workers: Vec<crate::local::LocalWorker>,
}

impl<'a> Stage<'a> {
    fn new(args: &'a Demo, dir: PathBuf, local: &Local) -> anyhow::Result<Self> {
        let network = Network::find(&NetworkArgs { network: Some(dir.clone()), ..NetworkArgs::default() })?;
        Ok(Self {
            args,
            client: Client::new(&local.network.coordinator)?,
            key: keys::read_eth(&dir.join(&local.network.key_file))?,
            network,
            rpc: local.network.rpc.clone(),
            rollup: local.network.rollup,
            workers: local.workers.clone(),
            dir,
        })
    }

    async fn play(&self, job: Job, watch: &Stopwatch, out: &Output) -> anyhow::Result<DemoReport> {
        let meter = GasMeter::start(self.client.clone());
        let trained = self.train(job, &meter, out).await?;
        let model_file = self.dir.join("model.safetensors");
        let model = trained.model.ok_or_else(|| CliError::Input("the job left no model".to_owned()))?;
        self.client.save_blob(model, &model_file, |_, _| ()).await?;
        let mut answered = self.infer(&trained, model, out).await?;
        let trained =
            self.wait_until_final(trained.job.map_or(JobRef::Spec(trained.spec), JobRef::Id), out).await?;
        let inferred = self.wait_until_final(JobRef::Id(answered.job), out).await?;
        (answered.spent, answered.bytes_up) = (inferred.spent, inferred.bytes_up);
        let chain = RpcChain::connect(&self.rpc, self.rollup).await?;
        let audit = audit::audit(&chain, None, None, out).await?;
        let claimed = self.claim(out).await?;
        let costs = gas::measure(&self.client, &self.rpc, self.rollup, &self.key, &self.workers).await?;
        let earnings = self.earnings(&claimed).await?;
        Ok(DemoReport::new(self, watch, trained, audit, &claimed, answered, costs, earnings, model_file))
    }

    async fn train(&self, job: Job, meter: &GasMeter, out: &Output) -> anyhow::Result<JobStatus> {
        let requester = Requester { client: &self.client, key: &self.key, network: &self.network };
        let placed = requester.place(submit::order(job), true, out).await?;
        let job = JobRef::Id(placed.job);
        let mut progress = Progress::new(out, "training");
        let seen = |status: &JobStatus| {
            progress.set_suffix(format!("{} gas", meter.gas()));
            progress.show(status);
        };
        let status = follow::until(&self.client, out, job, seen, follow::is_over_and_judged).await?;
        progress.finish();
        failed_is_error(&status)?;
        Ok(status)
    }

    async fn infer(
        &self,
        trained: &JobStatus,
        weights: protocol::hash::Digest,
        out: &Output,
    ) -> anyhow::Result<Answered> {
        let held_out = find_data(self.args.shape.data_dir.as_deref())?.held_out()?;
        let first: Vec<u32> = (0..self.args.digits.min(held_out.len() as u32)).collect();
        let digits = held_out.subset(&first);
        let items = Items::Examples(Examples {
            labels: Some(digits.labels().to_vec()),
            each: digits.input_len(),
            inputs: digits.into_inputs(),
        });
        let model = self.client.spec(trained.spec).await?.model().clone();
        let price = protocol::amount::Amount::units(DIGIT_UNITS);
        let group = self.args.digits.div_ceil(DIGITS_PER_TASK);
        let (per_task, deadline_ms, check_bps) = (DIGITS_PER_TASK, TASK_MS, CHECK_BPS);
        let cut = Cut { price, per_task, group, deadline_ms, stake: None, check_bps };
        let requester = Requester { client: &self.client, key: &self.key, network: &self.network };
        let asked = Asked { model, weights, blob: None };
        infer::answer(&requester, asked, &items, cut, &self.dir.join("answers.jsonl"), true, out).await
    }

    async fn wait_until_final(&self, job: JobRef, out: &Output) -> anyhow::Result<JobStatus> {
        let spinner = out.spinner(&format!("waiting until job {job} is final on the base layer"));
        let seen = |status: &JobStatus| {
            spinner.set_message(format!("{}/{} settlements", status.settled, status.settlements));
        };
        let done = |status: &JobStatus| status.phase == JobPhase::Done || follow::has_failed(status);
        let status = follow::until(&self.client, out, job, seen, done).await?;
        spinner.finish_and_clear();
        failed_is_error(&status)?;
        Ok(status)
    }

    /// Claims what the first worker has earned; the coordinator has no part in it.
    async fn claim(&self, out: &Output) -> anyhow::Result<Claimed> {
        let chain = RpcChain::connect(&self.rpc, self.rollup).await?;
        let claims = Claims::rebuild(chain, out).await?;
        let claims = claims.ok_or_else(|| CliError::Input("no batch is final".to_owned()))?;
        let worker = self.workers[0].worker;
        let due = claims.due(|_, account| account.worker == worker).await?;
        let due = due.into_iter().map(|(proven, _)| proven).collect();
        claims.with_key(&self.key).pay(due, out).await
    }

    async fn earnings(&self, claimed: &Claimed) -> anyhow::Result<Vec<Earning>> {
        let listed = self.client.workers().await?.workers;
        let earning = |(number, local): (usize, &crate::local::LocalWorker)| {
            let status = listed.iter().find(|status| status.worker == local.worker)?;
            let claimed = if number == 0 { claimed.total() } else { protocol::amount::Amount::ZERO };
            Some(Earning { worker: local.worker, tasks: status.accepted, earned: status.earned, claimed })
        };
        Ok(self.workers.iter().enumerate().filter_map(earning).collect())
    }

    fn target(&self) -> f64 {
        self.args.accuracy
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}

fn failed_is_error(status: &JobStatus) -> Result<(), CliError> {
    if !follow::has_failed(status) {
        return Ok(());
    }
    let what = format!("the job {} has {}: {}", status.name, follow::phase_word(status.phase), status.why);
    Err(CliError::Mismatch { what, fix: "its coordinator's log says more" })
}

/// What the audit comes to in the demo.
fn audit_line(audit: &AuditReport) -> String {
    let credits: u32 = audit.batches.iter().map(|batch| batch.credits).sum();
    format!("{} batches with {credits} credits rebuilt from the chain alone", audit.batches.len())
}
