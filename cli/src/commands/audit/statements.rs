//! What workers' signers stated of their results to a registry of stakes: is it there where a job asks for it, is it
//! theirs, and do two of them contradict each other?

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contracts::base_layer::BaseLayer as _;
use contracts::error::ChainError;
use contracts::rpc::{RpcChain, RpcRegistry};
use contracts::stakes::Stakes as _;
use protocol::api::{self, text};
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, JobId, Nonce};
use protocol::job::{Equivocation, Receipt, StakeTerms, TaskResult};
use protocol::ledger::State;
use protocol::sign::eip712::Domain;
use protocol::sign::{EthSignature, Unverified};
use protocol::stakes::StakeChange;
use protocol::wire::codec;
use serde::Serialize;

use super::evidence::EVIDENCE_BYTES_MAX;
use super::report::AuditReport;
use crate::contradiction::Contradiction;
use crate::error::CliError;
use crate::hex;
use crate::page::count;
use crate::source::Source;

/// Two results that one signer stated for one task.
#[derive(Debug, Serialize)]
pub struct Found {
    /// Whose account it was.
    #[serde(with = "text")]
    pub account: AccountIndex,
    /// Whose statements.
    #[serde(with = "text")]
    pub signer: Address,
    #[serde(with = "text")]
    job: JobId,
    settlement: u32,
    /// What `fedroll chain stake prove` takes.
    pub file: PathBuf,
}

impl Found {
    /// What it says of whom, and what to do with it.
    pub fn words(&self) -> String {
        format!(
            "account {} has stated two results for one task (job {}, settlement {}): `fedroll chain stake prove {}` \
             takes its stake",
            self.account,
            self.job,
            self.settlement + 1,
            self.file.display()
        )
    }
}

/// A registry, and whose statements count for which account, present or past.
#[derive(Debug)]
struct Registry {
    reader: RpcRegistry,
    signers: BTreeMap<AccountIndex, BTreeSet<Address>>,
    /// The block to read next.
    next: u64,
}

impl Registry {
    fn domain(&self) -> Domain {
        self.reader.registry()
    }
}

/// Every statement that was shown.
#[derive(Debug)]
pub struct Statements {
    registry: Option<Registry>,
    /// What jobs ask of their workers, as far as their specs are shown.
    asked: BTreeMap<JobId, Option<StakeTerms>>,
    /// Jobs whose specs nobody shows.
    unknown: BTreeSet<JobId>,
    seen: BTreeMap<(Address, JobId, u32, Nonce), (TaskResult, EthSignature)>,
    /// Accounts that contradict themselves.
    liars: BTreeSet<AccountIndex>,
    /// Contradictions that are not written down yet.
    found: Vec<(AccountIndex, Address, Equivocation)>,
    checked: u64,
    unchecked: u64,
}

impl Statements {
    /// None yet. Without a registry they are counted only.
    pub async fn of(chain: &RpcChain, registry: Option<Address>) -> anyhow::Result<Self> {
        let registry = match registry {
            None => None,
            Some(address) => {
                let (reader, next) = (chain.registry(address).await?, chain.deployed_block());
                Some(Registry { reader, signers: BTreeMap::new(), next })
            }
        };
        let (asked, unknown, seen, liars) = Default::default();
        let mut statements =
            Self { registry, asked, unknown, seen, liars, found: Vec::new(), checked: 0, unchecked: 0 };
        statements.hear(chain).await?;
        Ok(statements)
    }

    /// Reads who has staked since the last time.
    pub async fn hear(&mut self, chain: &RpcChain) -> Result<(), ChainError> {
        let Some(Registry { reader, signers, next }) = &mut self.registry else { return Ok(()) };
        let head = chain.head().await?.number;
        if *next > head {
            return Ok(());
        }
        for event in reader.stake_events(*next, head).await? {
            if let StakeChange::Joined { signer, .. } = event.change {
                signers.entry(event.account).or_default().insert(signer);
            }
        }
        *next = head + 1;
        Ok(())
    }

    /// What the jobs behind these credits ask for, by the specs that the ledger names; `source` shows them.
    async fn learn(&mut self, source: &Source, state: &State, shown: &api::Evidence) {
        let jobs: BTreeSet<JobId> = shown.credits.iter().map(|credit| credit.job).collect();
        for id in jobs.into_iter().filter(|id| !self.asked.contains_key(id)).collect::<Vec<_>>() {
            let Some(job) = state.job(id) else { continue };
            match source.spec(job.spec).await {
                Ok(spec) => {
                    self.asked.insert(id, spec.stake);
                    self.unknown.remove(&id);
                }
                Err(_) => drop(self.unknown.insert(id)),
            }
        }
    }

    /// Takes up the statements in what somebody shows, whether the rest of it holds or not: a statement speaks for
    /// itself. What is wrong with them.
    pub async fn take(&mut self, source: &Source, state: &State, shown: &api::Evidence) -> Vec<String> {
        self.learn(source, state, shown).await;
        let mut problems = Vec::new();
        for (at, credit) in shown.credits.iter().enumerate() {
            for text in &credit.receipts {
                let bytes = hex::decode(text, EVIDENCE_BYTES_MAX).unwrap_or_default();
                // What cannot be read is said where the receipts are checked.
                let Ok(receipt) = codec::decode_within::<Unverified<Receipt>>(&bytes, EVIDENCE_BYTES_MAX)
                else {
                    continue;
                };
                if let Err(why) = self.take_one(credit.account, &receipt.body) {
                    problems.push(format!("credit {at}: {why}"));
                }
            }
        }
        problems
    }

    fn take_one(&mut self, account: AccountIndex, receipt: &Receipt) -> Result<(), String> {
        let asked = self.asked.get(&receipt.task.job).copied().flatten();
        let Some(signature) = receipt.stake else {
            return match asked {
                None => Ok(()),
                Some(_) => Err(format!(
                    "the job asks for staked workers, and the receipt of task {} carries no statement of its result",
                    receipt.task
                )),
            };
        };
        let ours = |registry: &&Registry| {
            asked.is_none_or(|asked: StakeTerms| asked.registry == registry.domain().contract)
        };
        let Some(Registry { reader, signers, .. }) = self.registry.as_ref().filter(ours) else {
            self.unchecked += 1;
            return Ok(());
        };
        let (stated, domain) = (receipt.task_result(), &reader.registry());
        let signer = stated
            .signer(domain, &signature)
            .filter(|signer| signers.get(&account).is_some_and(|signers| signers.contains(signer)));
        let signer = signer.ok_or_else(|| {
            format!(
                "the result of task {} is not stated to the registry {} by a signer of account {account}",
                receipt.task, domain.contract
            )
        })?;
        self.checked += 1;
        match self.seen.entry((signer, stated.job, stated.settlement, stated.nonce)) {
            Entry::Vacant(place) => drop(place.insert((stated, signature))),
            Entry::Occupied(place) => {
                if let Ok((found, signer)) = Equivocation::new(domain, *place.get(), (stated, signature))
                    && self.liars.insert(account)
                {
                    self.found.push((account, signer, found));
                }
            }
        }
        Ok(())
    }

    /// Writes the contradictions that were found since the last time to files in `directory`.
    pub fn write(&mut self, directory: &Path) -> Result<Vec<Found>, CliError> {
        let Some(domain) = self.registry.as_ref().map(Registry::domain) else { return Ok(Vec::new()) };
        let mut written = Vec::new();
        for (account, signer, found) in self.found.drain(..) {
            let TaskResult { job, settlement, nonce, .. } = found.first;
            let file = directory.join(name(account, nonce));
            Contradiction::new(&domain, &found).write(&file)?;
            written.push(Found { account, signer, job, settlement, file });
        }
        Ok(written)
    }

    /// Adds what was found to the report, and writes contradictions to files in `directory`.
    pub fn conclude(mut self, directory: &Path, report: &mut AuditReport) -> Result<(), CliError> {
        if self.checked > 0 {
            report.checked.push(format!(
                "{} to a registry of stakes: there where a job asks for it, each by a signer of its account, no two \
                 for one task differ",
                count(self.checked, "statement of a result", "statements of results")
            ));
        }
        if self.unchecked > 0 {
            report.not_checked.push(format!(
                "{} to a registry of stakes: name it with --registry",
                count(self.unchecked, "statement of a result", "statements of results")
            ));
        }
        for job in &self.unknown {
            report.not_checked.push(format!(
                "whether receipts of job {job} had to carry a statement to a registry of stakes: nobody shows its spec"
            ));
        }
        for found in self.write(directory)? {
            report.problems.push(found.words());
            report.contradictions.push(found);
        }
        Ok(())
    }
}

fn name(account: AccountIndex, nonce: Nonce) -> String {
    let nonce = Keccak(nonce.0).to_string();
    let digits: String = nonce.trim_start_matches("0x").chars().take(8).collect();
    format!("contradiction-{account}-{digits}.json")
}
