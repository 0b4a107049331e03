//! `fedroll claim --omitted`: what coordinators signed for and the ledger did not pay, claimed from their bonds.

use std::collections::BTreeMap;
use std::path::Path;

use contracts::base_layer::{BaseLayer, BatchOnChain, ChainEvent};
use contracts::bonds::{ServiceBonds, ServiceBondsWriter};
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, JobId};
use protocol::job::SignedAcceptance;
use protocol::ledger::Deriver;
use protocol::ledger::omission::{JobInState, Passage, Place, passage};
use protocol::sign::eip712::Domain;
use protocol::wire::codec;
use serde::{Deserialize, Serialize};

use crate::args::money::Claim;
use crate::error::{CliError, file};
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Column, Page, utc};

/// Bytes of a file of acceptances: some 50,000 of them.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one acceptance.
const ACCEPTANCE_BYTES_MAX: usize = 4096;

/// What a worker exports: `fedroll worker acceptances`.
#[derive(Debug, Deserialize)]
struct Exported {
    acceptances: Vec<String>,
}

/// The answer of `fedroll claim --omitted`.
#[derive(Debug, Default, Serialize)]
pub struct Omitted {
    dry_run: bool,
    /// Promises that the ledger has kept.
    kept: usize,
    /// Promises whose time has not come.
    waiting: usize,
    /// Promises of another rollup, or signed by somebody else than the job's coordinator.
    foreign: usize,
    /// The others.
    omissions: Vec<Line>,
}

/// One promise that was not kept.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(with = "text")]
    job: JobId,
    settlement: u32,
    #[serde(with = "text")]
    account: AccountIndex,
    /// What was signed for.
    #[serde(with = "text")]
    promised: Amount,
    /// What the ledger credited.
    #[serde(with = "text")]
    credited: Amount,
    /// What the bond has paid.
    #[serde(with = "text")]
    paid: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(with = "text::option")]
    transaction: Option<Keccak>,
    /// What is the matter.
    why: String,
}

impl Report for Omitted {
    fn text(&self, page: &mut Page) {
        let columns = [
            Column::Right("job"),
            Column::Right("settlement"),
            Column::Right("promised"),
            Column::Right("credited"),
            Column::Right("bond paid"),
            Column::Left("why"),
        ];
        let rows = self.omissions.iter().map(|line| {
            vec![
                line.job.to_string(),
                (line.settlement + 1).to_string(),
                line.promised.to_string(),
                line.credited.to_string(),
                line.paid.to_string(),
                line.why.clone(),
            ]
        });
        page.table(&columns, rows, "no promise is broken");
        page.line(format_args!("{} promises are kept, {} still have time", self.kept, self.waiting));
        if self.foreign > 0 {
            page.line(format_args!(
                "{} are not signed by their job's coordinator for this rollup",
                self.foreign
            ));
        }
        if self.dry_run {
            page.line("nothing was sent (--dry-run)");
        }
    }

    fn status(&self) -> ExitStatus {
        let due = |line: &Line| line.credited.as_units() + line.paid.as_units() < line.promised.as_units();
        ExitStatus::from_answer(!self.omissions.iter().any(due))
    }
}

/// How a promise fared.
enum Fate {
    /// Its chunk went past the account, and credited too little.
    Short(Box<(BatchOnChain, Passage)>),
    /// It is late.
    Late(Box<(BatchOnChain, JobInState)>),
}

/// Every promise of a file against everything that is final.
#[derive(Default)]
struct Findings {
    kept: usize,
    waiting: usize,
    foreign: usize,
    broken: Vec<(SignedAcceptance, Fate)>,
}

/// Compares, proves and answers.
pub async fn run(args: &Claim, file: &Path, out: &Output) -> anyhow::Result<ExitStatus> {
    let acceptances = read(file)?;
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?.with_blobs(network.blobs()?);
    let spinner = out.spinner("reading the base layer");
    let findings = compare(&chain, acceptances).await?;
    spinner.finish_and_clear();
    let mut report = Omitted {
        dry_run: args.dry_run,
        kept: findings.kept,
        waiting: findings.waiting,
        foreign: findings.foreign,
        omissions: Vec::new(),
    };
    if args.dry_run || findings.broken.is_empty() {
        for (acceptance, fate) in &findings.broken {
            report.omissions.push(line(&chain, acceptance, fate).await?);
        }
        return out.answer(&report);
    }
    let writer = chain.with_key(&network.key(&args.key)?);
    for (acceptance, fate) in &findings.broken {
        let mut found = line(&writer, acceptance, fate).await?;
        if found.credited.as_units() + found.paid.as_units() < found.promised.as_units() {
            let proven = match fate {
                Fate::Short(short) => writer.prove_short_credit(&short.0, &short.1, acceptance).await,
                Fate::Late(late) => writer.prove_unsettled(&late.0, &late.1, acceptance).await,
            };
            match proven {
                Ok((paid, cost)) => {
                    found.paid = found.paid.add(paid)?;
                    found.transaction = Some(cost.tx);
                }
                // One that the bond cannot pay must not keep the others from being paid.
                Err(error) if error.reason().is_some() => found.why = format!("{}; {error}", found.why),
                Err(error) => return Err(error.into()),
            }
        }
        report.omissions.push(found);
    }
    out.answer(&report)
}

async fn line(chain: &impl ServiceBonds, acceptance: &SignedAcceptance, fate: &Fate) -> anyhow::Result<Line> {
    let said = &acceptance.acceptance;
    let (credited, why) = match fate {
        Fate::Short(short) => (short.1.credited, format!("batch {} went past the account", short.0.number())),
        Fate::Late(_) => (0, format!("it was to be settled by {}", utc(said.settle_by))),
    };
    let paid = chain.omission_paid(Place::from(said)).await?;
    Ok(Line {
        job: said.job,
        settlement: said.settlement,
        account: said.account,
        promised: Amount::units(said.owed.into()),
        credited: Amount::units(credited.into()),
        paid: Amount::units(paid.into()),
        transaction: None,
        why,
    })
}

/// Follows the ledger through every final batch, and looks where it went past each promise's place.
async fn compare(chain: &RpcChain, acceptances: Vec<SignedAcceptance>) -> anyhow::Result<Findings> {
    let mut open: BTreeMap<Place, SignedAcceptance> = BTreeMap::new();
    for signed in acceptances {
        let newest = open.entry(Place::from(&signed.acceptance)).or_insert(signed);
        if signed.acceptance.owed > newest.acceptance.owed {
            *newest = signed;
        }
    }
    let mut findings = Findings::default();
    let (head, last_final) = (chain.finalized().await?, chain.final_batch().await?);
    let mut deriver = Deriver::new(chain.deployment());
    let (mut next, mut newest) = (chain.deployed_block(), None);
    while next <= head.number {
        let history = chain.history(next, head.number).await?;
        anyhow::ensure!(
            history.next_block > next,
            "the base layer's node reads no further than block {next}"
        );
        next = history.next_block;
        for event in history.events {
            match event {
                ChainEvent::Queued(queued) => deriver.queue_item(queued.index, queued.item)?,
                ChainEvent::Posted(batch) if batch.number() <= last_final => {
                    settle(&chain.domain(), &deriver, &batch, &mut open, &mut findings);
                    if !deriver.batch(&batch.posted, None).holds() {
                        let what = format!("batch {} does not hold", batch.number());
                        return Err(CliError::Mismatch { what, fix: "fedroll audit says why" }.into());
                    }
                    newest = Some(batch);
                }
                _ => {}
            }
        }
    }
    for (place, signed) in open {
        let job = JobInState::open(deriver.state(), place.job);
        match (&newest, job) {
            (_, Some(job)) if !signed.is_from(job.job.coordinator, &chain.domain()) => findings.foreign += 1,
            (Some(batch), Some(job)) if batch.posted.header.time > signed.acceptance.settle_by => {
                findings.broken.push((signed, Fate::Late(Box::new(((**batch).clone(), job)))));
            }
            _ => findings.waiting += 1,
        }
    }
    Ok(findings)
}

/// Takes out of `open` what this batch decides.
fn settle(
    domain: &Domain,
    before: &Deriver,
    batch: &BatchOnChain,
    open: &mut BTreeMap<Place, SignedAcceptance>,
    findings: &mut Findings,
) {
    open.retain(|place, signed| {
        let Some(found) = passage(before, &batch.posted, *place) else { return true };
        if !signed.is_from(found.later.job.coordinator, domain) {
            findings.foreign += 1;
        } else if found.credited >= signed.acceptance.owed {
            findings.kept += 1;
        } else {
            findings.broken.push((*signed, Fate::Short(Box::new((batch.clone(), found)))));
        }
        false
    });
}

fn read(path: &Path) -> Result<Vec<SignedAcceptance>, CliError> {
    let length = std::fs::metadata(path).map_err(file("read", path))?.len();
    let wrong = |why: String| CliError::Input(format!("{}: {why}", path.display()));
    if length > FILE_BYTES_MAX {
        return Err(wrong(format!("{length} bytes are over the limit of {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read(path).map_err(file("read", path))?;
    let exported: Exported = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    exported
        .acceptances
        .iter()
        .map(|hex| decode(hex).ok_or_else(|| wrong(format!("not an acceptance: {hex}"))))
        .collect()
}

fn decode(text: &str) -> Option<SignedAcceptance> {
    let bytes = crate::hex::decode(text, ACCEPTANCE_BYTES_MAX)?;
    codec::decode_within(&bytes, ACCEPTANCE_BYTES_MAX).ok()
}
