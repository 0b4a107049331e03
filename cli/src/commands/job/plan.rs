//! `fedroll job plan`: checks, prices, spends nothing.

use std::collections::BTreeSet;
use std::fmt;

use protocol::api::Plan;
use protocol::ids::Address;
use protocol::job::{JobSpec, Work};
use serde::Serialize;

use super::checks::Cheating;
use crate::args::job;
use crate::client::Client;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::jobfile::Job;
use crate::network::{self, Network};
use crate::output::{Output, Report};
use crate::page::{self, Column, Page, count};

#[derive(Serialize)]
struct Planned {
    name: String,
    kind: &'static str,
    settlements: u32,
    spare_settlements: u32,
    tasks_per_settlement: u32,
    #[serde(with = "protocol::api::text")]
    price: protocol::amount::Amount,
    upload_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Brought>,
    cheating: Cheating,
    #[serde(flatten)]
    plan: Plan,
}

/// The data that the job brings.
#[derive(Serialize)]
struct Brought {
    shards: usize,
    examples: u64,
    bytes: u64,
}

impl Brought {
    fn of(job: &Job) -> Option<Self> {
        let Work::Train(train) = &job.spec.work else { return None };
        let shards = train.data.shards();
        let named: BTreeSet<_> = shards.iter().map(|shard| shard.digest.0).collect();
        let uploads = job.uploads.iter().filter(|upload| named.contains(&upload.digest.0));
        (!shards.is_empty()).then(|| Self {
            shards: shards.len(),
            examples: shards.iter().map(|shard| u64::from(shard.examples)).sum(),
            bytes: uploads.map(|upload| upload.bytes).sum(),
        })
    }
}

impl fmt::Display for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shards, examples, bytes } = *self;
        let shards = count(shards as u64, "shard", "shards");
        write!(f, "{shards}, {examples} examples, {}", page::bytes(bytes))
    }
}

impl Report for Planned {
    fn text(&self, page: &mut Page) {
        let budget = format!("{} tokens at most, the coordinator's fee included", self.plan.budget);
        let price = format!("{} tokens a task", self.price);
        let (settlements, tasks) = (self.settlements, self.tasks_per_settlement);
        let work =
            format!("{settlements} settlements of {tasks} tasks, and {} to spare", self.spare_settlements);
        page.heading(format_args!("Job {} ({})", self.name, self.kind));
        let mut facts: Vec<(&str, &dyn fmt::Display)> =
            vec![("cost", &budget), ("price", &price), ("work", &work), ("spec", &self.plan.spec)];
        facts.push(("cheating", &self.cheating));
        facts.extend(self.data.as_ref().map(|data| ("data", data as &dyn fmt::Display)));
        page.facts(&facts);
        page.heading("Workers that could do it");
        let empty = if self.plan.ineligible.is_empty() { "no worker is connected" } else { "none" };
        let workers = self.plan.eligible.iter();
        if self.data.is_some() {
            // What they hold themselves does not matter.
            page.table(
                &[Column::Left("worker")],
                workers.map(|worker| vec![worker.worker.to_string()]),
                empty,
            );
        } else {
            let rows = workers.map(|worker| vec![worker.worker.to_string(), worker.examples.to_string()]);
            page.table(&[Column::Left("worker"), Column::Right("examples")], rows, empty);
        }
        if !self.plan.ineligible.is_empty() {
            page.heading("Workers that could not");
            let rows = self
                .plan
                .ineligible
                .iter()
                .map(|worker| vec![worker.worker.to_string(), worker.reason.clone()]);
            page.table(&[Column::Left("worker"), Column::Left("why")], rows, "");
        }
        page.gap();
        if self.plan.problems.is_empty() {
            let good = page.good("nothing stands in its way");
            page.line(good);
        }
        for problem in &self.plan.problems {
            let bad = page.bad("problem");
            page.line(format_args!("{bad}: {problem}"));
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(self.plan.problems.is_empty())
    }
}

/// Plans the job in a file.
pub async fn run(args: &job::Plan, out: &Output) -> anyhow::Result<ExitStatus> {
    let job = Job::read(&args.file)?;
    let (client, network) = network::coordinator(&args.coordinator)?;
    let job = placed(job, &client, &network).await?;
    let plan = client.plan(&job.spec).await?;
    out.answer(&Planned {
        name: job.spec.name.to_string(),
        kind: kind(&job.spec),
        settlements: job.spec.full_settlements(),
        spare_settlements: job.spec.settlements() - job.spec.full_settlements(),
        tasks_per_settlement: job.spec.task_cap(),
        price: protocol::amount::Amount::units(job.spec.price_cap().into()),
        upload_bytes: job.uploads.iter().map(|upload| upload.bytes).sum(),
        data: Brought::of(&job),
        cheating: Cheating::under(&job.spec),
        plan,
    })
}

/// A job whose stake counts somewhere: in the registry that the file names, else in the network directory's, else in
/// what the coordinator says, which is checked before money is paid.
pub async fn placed(job: Job, client: &Client, network: &Network) -> anyhow::Result<Job> {
    if job.stake.is_none() {
        return Ok(job);
    }
    let in_the_file = "name one that it does in the file: registry = \"0x…\"";
    let registry = registry(client, network, in_the_file).await?;
    Ok(job.with_registry(registry)?)
}

/// Where stakes count unless somebody says otherwise; `fix` is how to say otherwise, if nobody knows.
pub async fn registry(client: &Client, network: &Network, fix: &str) -> anyhow::Result<Address> {
    let registry = match network.registry() {
        Some(registry) => Some(registry),
        None => client.info().await?.registry,
    };
    let unknown = || CliError::Unknown {
        what: "where the stakes count that the job asks for",
        fix: format!("this coordinator looks at no registry; {fix}"),
    };
    Ok(registry.ok_or_else(unknown)?)
}

/// The kind of a spec's work, as the API words it.
pub fn kind(spec: &JobSpec) -> &'static str {
    match spec.work {
        Work::Train(_) => "train",
        Work::Infer(_) => "infer",
    }
}
