//! What workers' signers stated of their results to a registry of stakes: is it there where a job asks for it, is it
//! theirs, and do two of them contradict each other?

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contracts::base_layer::BaseLayer as _;
use contracts::error::ChainError;
use contracts::rpc::{RpcChain, RpcRegistry};
use contracts::stakes::Stakes as _;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, JobId, Nonce};
use protocol::job::{Equivocation, Receipt, StakeTerms, TaskResult};
use protocol::sign::eip712::Domain;
use protocol::sign::{EthSignature, Unverified};
use protocol::stakes::StakeChange;
use protocol::wire::codec;
use serde::Serialize;

use super::evidence::EVIDENCE_BYTES_MAX;
use super::exhibit::Exhibit;
use super::report::AuditReport;
use crate::contradiction::Contradiction;
use crate::error::CliError;
use crate::hex;
use crate::page::count;

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

    /// Takes up the statements in what somebody shows, whether the rest of it holds or not: a statement speaks for
    /// itself. What is wrong with them.
    pub fn take(&mut self, Exhibit { evidence: shown, asked }: &Exhibit) -> Vec<String> {
        for (job, stake) in asked {
            match stake {
                Some(stake) => {
                    self.asked.insert(*job, *stake);
                    self.unknown.remove(job);
                }
                None if self.asked.contains_key(job) => {}
                None => drop(self.unknown.insert(*job)),
            }
        }
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

    /// Writes the contradictions that were found since the last time to files in `directory`; those that it does not
    /// take are tried again the next time.
    pub fn write(&mut self, directory: &Path) -> Result<Vec<Found>, CliError> {
        let Some(domain) = self.registry.as_ref().map(Registry::domain) else { return Ok(Vec::new()) };
        let mut written = Vec::new();
        while let Some((account, signer, found)) = self.found.first() {
            let TaskResult { job, settlement, nonce, .. } = found.first;
            let file = directory.join(name(*account, nonce));
            Contradiction::new(&domain, found).write(&file)?;
            written.push(Found { account: *account, signer: *signer, job, settlement, file });
            self.found.remove(0);
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
