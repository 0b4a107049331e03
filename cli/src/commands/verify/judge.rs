//! `fedroll verify dispute --judge`: what follows from a dispute, signed by its referee and carried out on the base
//! layer.

use std::collections::BTreeSet;

use protocol::amount::Amount;
use protocol::api::text;
use protocol::dispute::sentence::Sentence;
use protocol::hash::Keccak;
use protocol::ids::{Address, SpecHash, WorkerId};
use protocol::ledger::state::{Job, State};
use serde::Serialize;

use crate::args::pledge::DisputesArgs;
use crate::args::verify::VerifyDispute;
use crate::commands::chain::pledge;
use crate::error::CliError;
use crate::hearing::Judged;
use crate::output::Output;
use crate::page::Page;
use crate::replay;

/// A verdict that a referee has signed.
#[derive(Debug, Serialize)]
pub struct Passed {
    #[serde(with = "text")]
    referee: Address,
    /// The contract that it is for.
    #[serde(with = "text")]
    disputes: Address,
    chain_id: u64,
    #[serde(flatten)]
    sentence: Sentence,
    /// `r ‖ s ‖ v`, in hex.
    signature: String,
    /// What became of it; absent if it was only signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<Done>,
}

#[derive(Debug, Serialize)]
struct Done {
    #[serde(with = "text")]
    reward: Amount,
    #[serde(with = "text")]
    burnt: Amount,
    #[serde(with = "text")]
    transaction: Keccak,
    gas: u64,
}

impl Passed {
    /// Writes it for people.
    pub fn describe(&self, page: &mut Page) {
        page.heading(format_args!("Sentence on dispute {}", self.sentence.dispute));
        let who = match (self.sentence.worker_wrong, self.sentence.challenger_wrong) {
            (true, false) => format!("the worker's {}", self.sentence.worker),
            (false, true) => format!("the challenger's {}", self.sentence.challenger),
            _ => format!("both {} and {}", self.sentence.worker, self.sentence.challenger),
        };
        let amount = format!("{} tokens", self.sentence.amount);
        page.facts(&[("referee", &self.referee), ("against", &who), ("loses", &amount)]);
        match &self.done {
            Some(done) => page.line(format_args!(
                "{} tokens went to the winner's pledge, {} are burnt; transaction {} ({} gas)",
                done.reward, done.burnt, done.transaction, done.gas
            )),
            None => page.line(format_args!("signed, not sent: {}", self.signature)),
        }
    }
}

/// Signs what follows from each of these disputes, and sends it unless it is only to be signed.
pub async fn pass(
    args: &VerifyDispute,
    amount: Amount,
    spec: SpecHash,
    disputes: &[Judged],
    out: &Output,
) -> anyhow::Result<Vec<Passed>> {
    let network = args.shown.coordinator.network.clone();
    let (reader, network) = pledge::open(&DisputesArgs { network, disputes: args.disputes }).await?;
    let key = network.key(&args.key)?;
    let spinner = out.spinner("rebuilding the ledger from the base layer");
    let replay = replay::replay(reader.rollup(), &spinner).await?;
    spinner.finish_and_clear();
    let fix = "wait until the job and its worker stand in a final batch";
    let none = || CliError::Mismatch { what: "no batch is final yet".to_owned(), fix };
    let (_, state) = replay.last_final.ok_or_else(none)?;
    let job = args.about.job();
    let none = || CliError::Mismatch { what: format!("job {job} is not in the last final state"), fix };
    let job = state.job(job).ok_or_else(none)?;
    if job.spec != spec {
        let what = format!("the disputes are shown for the spec {spec}, the ledger's job has {}", job.spec);
        return Err(CliError::Mismatch { what, fix: "ask the job's coordinator" }.into());
    }
    let domain = reader.domain();
    let writer = reader.clone().with_writer(&reader.rollup().clone().with_key(&key));
    let mut passed = Vec::new();
    for judged in disputes {
        let Some(sentence) = sentence(judged, job, &state, amount)? else {
            out.note(format_args!("nothing to sign for the dispute over task {}", judged.task));
            continue;
        };
        let signature = sentence.sign(&domain, &key);
        let done = if args.sign_only {
            None
        } else if reader.is_judged(key.address(), sentence.dispute).await? {
            out.note(format_args!("the dispute over task {} was judged before", judged.task));
            continue;
        } else {
            let done = writer.judge(key.address(), &sentence, signature).await?;
            let (transaction, gas) = (done.cost.tx, done.cost.gas);
            Some(Done { reward: done.reward, burnt: done.burnt, transaction, gas })
        };
        let signature =
            signature.to_bytes().iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let (referee, disputes, chain_id) = (key.address(), domain.contract, domain.chain_id);
        passed.push(Passed { referee, disputes, chain_id, sentence, signature, done });
    }
    Ok(passed)
}

/// What follows from a dispute; `None` where nobody was shown to be wrong.
fn sentence(judged: &Judged, job: &Job, state: &State, amount: Amount) -> Result<Option<Sentence>, CliError> {
    let Some([worker_wrong, challenger_wrong]) = judged.shown().and_then(|verdict| verdict.shown_wrong())
    else {
        return Ok(None);
    };
    Ok(Some(Sentence {
        dispute: judged.dispute,
        transcript: judged.transcript,
        opened: job.opened_at,
        worker: payout_of(judged.worker, state)?,
        challenger: job.coordinator,
        worker_wrong,
        challenger_wrong,
        amount,
    }))
}

/// Where a worker's earnings go, by the ledger.
fn payout_of(worker: WorkerId, state: &State) -> Result<Address, CliError> {
    let own = state.accounts().filter(|(_, account)| account.worker == worker);
    let payouts: BTreeSet<Address> = own.map(|(_, account)| account.payout).collect();
    let what = match payouts.len() {
        1 => return Ok(payouts.into_iter().next().expect("there is one")),
        0 => format!("the worker {worker} has no account in the last final state"),
        count => format!("the worker {worker} has accounts with {count} payout addresses"),
    };
    Err(CliError::Mismatch { what, fix: "only who is known by one address can have pledged" })
}
