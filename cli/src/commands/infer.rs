//! `fedroll infer`: a file in, one answer a line out, paid by the item.

mod input;
mod items;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use models::weights::Weights;
use protocol::amount::Amount;
use protocol::api::{JobStatus, text};
use protocol::hash::Digest;
use protocol::ids::JobId;
use protocol::job::spec::SPEC_VERSION;
use protocol::job::{CheckTerms, InputBlob, JobSpec, ModelSpec, SpecFields, StakeTerms, Work};
use protocol::limits::{BLOB_BYTES_MAX, INPUT_BLOBS_MAX};
use serde::Serialize;

pub use self::input::Examples;
pub use self::items::Items;
use crate::args::job::{Infer, JobRef};
use crate::client::Client;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::files::{self, Draft};
use crate::follow::{self, Progress};
use crate::funding::{Order, Requester, Source};
use crate::network;
use crate::output::{Output, Report};
use crate::page::{Page, percent};

/// What an inference job came to.
#[derive(Debug, Serialize)]
pub struct Answered {
    /// The inference job.
    #[serde(with = "text")]
    pub job: JobId,
    /// Items answered.
    pub items: u64,
    #[serde(with = "text")]
    funded: Amount,
    /// What the workers were paid, and the fee, so far.
    #[serde(with = "text")]
    pub spent: Amount,
    /// The share of labels told, if there were labels.
    pub accuracy: Option<f64>,
    output: PathBuf,
    /// Bytes from workers.
    pub bytes_up: u64,
    /// Bytes to workers.
    pub bytes_down: u64,
}

impl Report for Answered {
    fn text(&self, page: &mut Page) {
        page.line(format_args!("{} items answered in {}", self.items, self.output.display()));
        page.line(format_args!("job {}, at most {} tokens", self.job, self.funded));
        if let Some(accuracy) = self.accuracy {
            page.line(format_args!("accuracy {}", percent(accuracy)));
        }
    }
}

/// How an input is cut and paid.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Tokens an item.
    pub price: Amount,
    /// Items a task.
    pub per_task: u32,
    /// Tasks settled together.
    pub group: u32,
    /// Milliseconds a worker has for a task.
    pub deadline_ms: u64,
    /// What must stand behind a worker's account.
    pub stake: Option<StakeTerms>,
    /// Of 10,000 results, how many are run again before they are accepted.
    pub check_bps: u16,
}

/// The model to ask.
#[derive(Debug)]
pub struct Asked {
    /// Its architecture.
    pub model: ModelSpec,
    /// Its weights.
    pub weights: Digest,
    /// The weights themselves, if they are here.
    pub blob: Option<Vec<u8>>,
}

/// Reads the input, asks, answers.
pub async fn run(args: &Infer, out: &Output) -> anyhow::Result<ExitStatus> {
    if args.price == Amount::ZERO {
        return Err(CliError::Input("--price is 0: nobody works for nothing".to_owned()).into());
    }
    if args.stake == Some(Amount::ZERO) {
        return Err(CliError::Input("--stake is 0: leave it out, and nobody needs one".to_owned()).into());
    }
    let (client, network) = network::coordinator(&args.pay.coordinator)?;
    let key = network.key(&args.pay.key)?;
    let asked = asked(args, &client).await?;
    let items = Items::read(args, &asked.model)?;
    let stake = match args.stake {
        None => None,
        Some(stake) => Some(StakeTerms {
            registry: super::job::plan::registry(&client, &network, "ask another one").await?,
            least: units_of("--stake", stake)?,
        }),
    };
    let (price, deadline_ms) = (args.price, args.deadline.0);
    let (per_task, group, check_bps) = (args.per_task, args.group, args.check_bps);
    let cut = Cut { price, per_task, group, deadline_ms, stake, check_bps };
    let requester = Requester { client: &client, key: &key, network: &network };
    let answered = answer(&requester, asked, &items, cut, &args.output, args.pay.yes, out).await?;
    out.answer(&answered)
}

/// Lets the workers answer `items`, and writes the answers in their order.
pub async fn answer(
    requester: &Requester<'_>,
    asked: Asked,
    items: &Items,
    cut: Cut,
    output: &Path,
    yes: bool,
    out: &Output,
) -> anyhow::Result<Answered> {
    let model = asked.model.clone();
    let order = order(asked, items, cut)?;
    let spec = order.spec.clone();
    // Before money is spent: a place where the answers can go.
    let draft = Draft::new(output)?;
    let placed = requester.place(order, yes, out).await?;
    let job = JobRef::Id(placed.job);
    let mut progress = Progress::new(out, &format!("job {job}"));
    let status =
        follow::until(requester.client, out, job, |status| progress.show(status), follow::is_over).await?;
    progress.finish();
    if follow::has_failed(&status) {
        let what = format!("job {job} has {}: {}", follow::phase_word(status.phase), status.why);
        return Err(CliError::Mismatch { what, fix: "fedroll job logs shows what happened to it" }.into());
    }
    let right = collect(requester.client, &spec, &model, &status, items, draft).await?;
    let items = items.len() as u64;
    Ok(Answered {
        job: placed.job,
        items,
        funded: placed.funded,
        spent: status.spent,
        accuracy: right.map(|right| right as f64 / items as f64),
        output: output.to_owned(),
        bytes_up: status.bytes_up,
        bytes_down: status.bytes_down,
    })
}

async fn asked(args: &Infer, client: &Client) -> anyhow::Result<Asked> {
    if let Some(job) = args.model.strip_prefix("job:") {
        let job: JobRef = job.parse().map_err(CliError::Input)?;
        let status = client.job(job).await?;
        let weights = status.model.ok_or_else(|| CliError::Mismatch {
            what: format!("job {job} has no model yet"),
            fix: "wait for its first round: fedroll job watch",
        })?;
        return Ok(Asked { model: client.spec(status.spec).await?.model().clone(), weights, blob: None });
    }
    let job = args.job.ok_or_else(|| CliError::Unknown {
        what: "the architecture that these weights are for",
        fix: "name the job that trained it with --job N, or the model itself with --model job:N".to_owned(),
    })?;
    let model = client.spec(client.job(job).await?.spec).await?.model().clone();
    let blob = files::read(Path::new(&args.model), BLOB_BYTES_MAX)?;
    // Refused here rather than by every worker, after the job was paid for.
    Weights::parse(&model, &blob).map_err(|error| CliError::Input(format!("{}: {error}", args.model)))?;
    Ok(Asked { model, weights: Digest::of(&blob), blob: Some(blob) })
}

fn order(asked: Asked, items: &Items, cut: Cut) -> anyhow::Result<Order> {
    let tasks = items.len().div_ceil(cut.per_task as usize);
    if tasks > INPUT_BLOBS_MAX {
        let least = items.len().div_ceil(INPUT_BLOBS_MAX);
        let text =
            format!("{tasks} tasks are over the limit of {INPUT_BLOBS_MAX}: --per-task {least} or more");
        return Err(CliError::Input(text).into());
    }
    let (mut blobs, mut inputs) = (BTreeMap::new(), Vec::with_capacity(tasks));
    for (items, blob) in items.blobs(&asked.model, cut.per_task)? {
        let digest = Digest::of(&blob);
        inputs.push(InputBlob { digest, items });
        blobs.insert(digest, Source::Memory(blob));
    }
    if let Some(blob) = asked.blob {
        blobs.insert(asked.weights, Source::Memory(blob));
    }
    let price = units_of("--price", cut.price)?;
    let infer = protocol::job::Infer {
        model: asked.model,
        weights: asked.weights,
        inputs,
        group_tasks: cut.group,
        deadline_ms: cut.deadline_ms,
    };
    let work = Work::Infer(infer);
    let spec = JobSpec::new(SpecFields {
        version: SPEC_VERSION,
        name: "inference".parse()?,
        settlement_rounds: work.usual_settlement_rounds(),
        work,
        price,
        fee_bps: 0,
        approve: false,
        burst: None,
        rate: 0,
        stake: cut.stake,
        checks: CheckTerms { rate_bps: cut.check_bps },
    })?;
    Ok(Order { spec, blobs })
}

fn units_of(flag: &str, amount: Amount) -> Result<u64, CliError> {
    let too_much = |_| CliError::Input(format!("{flag} {amount} is more than the ledger can say"));
    u64::try_from(amount.as_units()).map_err(too_much)
}

/// Fetches, checks and writes the answers; counts the right ones if there are labels.
async fn collect(
    client: &Client,
    spec: &JobSpec,
    model: &ModelSpec,
    status: &JobStatus,
    items: &Items,
    mut draft: Draft,
) -> anyhow::Result<Option<u64>> {
    let Work::Infer(infer) = &spec.work else { unreachable!("order() makes inference specs") };
    if status.answers.len() != infer.inputs.len() {
        let why = format!("{} blobs of answers for {} tasks", status.answers.len(), infer.inputs.len());
        return Err(CliError::Answer { path: "the inference job".to_owned(), why }.into());
    }
    let (mut first, mut right) = (0u64, 0u64);
    for (digest, input) in status.answers.iter().zip(&infer.inputs) {
        let bytes = client.blob(*digest).await?;
        let (lines, found) = items.lines(model, first, input.items as usize, &bytes)?;
        draft.write(&lines)?;
        right += found;
        first += u64::from(input.items);
    }
    draft.publish()?;
    Ok(items.are_labelled().then_some(right))
}
