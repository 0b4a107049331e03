//! `fedroll verify dispute --judge`: what follows from a dispute, signed by its referee and carried out on the base
//! layer.

use contracts::base_layer::BaseLayer as _;
use contracts::rpc::{Pledge, RpcDisputes};
use protocol::amount::Amount;
use protocol::api::text;
use protocol::dispute::sentence::Sentence;
use protocol::hash::Keccak;
use protocol::ids::{Address, SpecHash, WorkerId};
use protocol::ledger::state::{Job, State};
use protocol::sign::eip712::Domain;
use serde::Serialize;

use crate::args::pledge::DisputesArgs;
use crate::args::verify::VerifyDispute;
use crate::commands::chain::pledge;
use crate::error::CliError;
use crate::hearing::Judged;
use crate::output::Output;
use crate::page::{Page, utc};
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
    let referee = Referee { reader: &reader, address: key.address(), amount, job, state: &state };
    let mut passed = Vec::new();
    for judged in disputes {
        if !args.sign_only && reader.is_judged(key.address(), judged.subject).await? {
            out.note(format_args!("the dispute over task {} was judged before", judged.task));
            continue;
        }
        let Some(sentence) = referee.sentence(judged).await? else {
            out.note(format_args!("nothing to sign for the dispute over task {}", judged.task));
            continue;
        };
        let signature = sentence.sign(&domain, &key);
        let done = if args.sign_only {
            None
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

/// Who judges, and what by.
struct Referee<'a> {
    reader: &'a RpcDisputes,
    address: Address,
    amount: Amount,
    job: &'a Job,
    state: &'a State,
}

impl Referee<'_> {
    /// What follows from a dispute; `None` where nobody was shown to be wrong.
    async fn sentence(&self, judged: &Judged) -> anyhow::Result<Option<Sentence>> {
        let Some([worker_wrong, challenger_wrong]) = judged.shown().and_then(|verdict| verdict.shown_wrong())
        else {
            return Ok(None);
        };
        let own = self.reader.rollup().domain();
        if judged.rollup != own {
            let Domain { chain_id, contract } = judged.rollup;
            let what = format!(
                "the dispute over task {} is about the rollup {contract} on chain {chain_id}",
                judged.task
            );
            return Err(CliError::Mismatch { what, fix: "name that one's network" }.into());
        }
        let payouts = payouts_of(judged.worker, self.state)?;
        let worker = self.owner(judged.worker, &payouts).await?;
        // Whose key it is nobody has said but the owner of the pledge: a made-up challenger has none behind its own.
        let challenger = self.owner(judged.challenger, &[self.job.coordinator]).await?;
        Ok(Some(Sentence {
            dispute: judged.subject,
            transcript: judged.transcript,
            opened: self.job.opened_at,
            worker,
            challenger,
            worker_key: judged.worker,
            challenger_key: judged.challenger,
            worker_wrong,
            challenger_wrong,
            amount: self.amount,
        }))
    }

    /// Who answers for a key: the first of these owners who has pledged enough behind it, early enough.
    async fn owner(&self, party: WorkerId, owners: &[Address]) -> anyhow::Result<Address> {
        let mut found = Vec::new();
        for owner in owners {
            let pledge = self.reader.pledge_of(self.address, *owner, party).await?;
            match self.lacking(pledge) {
                None => return Ok(*owner),
                Some(why) => found.push(format!("{owner} {why}")),
            }
        }
        let (amount, referee, found) = (self.amount, self.address, found.join(", "));
        let what = format!(
            "nobody answers for the key {party} before {referee} with {amount} tokens since {}: {found}",
            utc(self.job.opened_at)
        );
        let fix = "see `fedroll chain pledge show`; only who pledged behind its key in time is judged";
        Err(CliError::Mismatch { what, fix }.into())
    }

    /// Why a pledge cannot be judged over; `None` if it can.
    fn lacking(&self, pledge: Option<Pledge>) -> Option<String> {
        match pledge {
            None => Some("has pledged nothing behind it".to_owned()),
            Some(pledge) if pledge.amount < self.amount => Some(format!("has pledged {}", pledge.amount)),
            Some(pledge) if pledge.since > self.job.opened_at => {
                Some(format!("has pledged since {} only", utc(pledge.since)))
            }
            Some(_) => None,
        }
    }
}

/// Where a worker's earnings go, by the ledger. Anybody who may post can register a key with an address of its own
/// choice; that moves nobody's pledge but the one that this address has made behind this key.
fn payouts_of(worker: WorkerId, state: &State) -> Result<Vec<Address>, CliError> {
    let mut payouts = Vec::new();
    for (_, account) in state.accounts().filter(|(_, account)| account.worker == worker) {
        if !payouts.contains(&account.payout) {
            payouts.push(account.payout);
        }
    }
    if payouts.is_empty() {
        let what = format!("the worker {worker} has no account in the last final state");
        let fix = "wait until its registration stands in a final batch";
        return Err(CliError::Mismatch { what, fix });
    }
    Ok(payouts)
}
