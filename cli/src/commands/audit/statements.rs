//! What workers' signers stated of their results to a registry of stakes: is it theirs, and do two of them contradict
//! each other?

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contracts::base_layer::BaseLayer as _;
use contracts::rpc::RpcChain;
use contracts::stakes::Stakes as _;
use protocol::api::{self, text};
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, JobId, Nonce};
use protocol::job::{Equivocation, Receipt, TaskResult};
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

/// Every statement that was shown.
#[derive(Debug)]
pub struct Statements {
    /// The registry, and whose statements count for which account, present or past.
    registry: Option<(Domain, BTreeMap<AccountIndex, BTreeSet<Address>>)>,
    seen: BTreeMap<(Address, JobId, u32, Nonce), (TaskResult, EthSignature)>,
    contradictions: Vec<(AccountIndex, Address, Equivocation)>,
    checked: u64,
    unchecked: u64,
}

impl Statements {
    /// None yet. Without a registry they are counted only.
    pub async fn of(chain: &RpcChain, registry: Option<Address>) -> anyhow::Result<Self> {
        let registry = match registry {
            None => None,
            Some(address) => {
                let registry = chain.registry(address).await?;
                let head = chain.head().await?.number;
                let mut signers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
                for event in registry.stake_events(chain.deployed_block(), head).await? {
                    if let StakeChange::Joined { signer, .. } = event.change {
                        signers.entry(event.account).or_default().insert(signer);
                    }
                }
                Some((registry.registry(), signers))
            }
        };
        let (seen, contradictions) = (BTreeMap::new(), Vec::new());
        Ok(Self { registry, seen, contradictions, checked: 0, unchecked: 0 })
    }

    /// Takes up the statements in what somebody shows, whether the rest of it holds or not: a statement speaks for
    /// itself. What is wrong with them.
    pub fn take(&mut self, shown: &api::Evidence) -> Vec<String> {
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
        let Some(signature) = receipt.stake else { return Ok(()) };
        let Some((domain, signers)) = &self.registry else {
            self.unchecked += 1;
            return Ok(());
        };
        let stated = receipt.task_result();
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
                    && !self.contradictions.iter().any(|(known, ..)| *known == account)
                {
                    self.contradictions.push((account, signer, found));
                }
            }
        }
        Ok(())
    }

    /// Adds what was found to the report, and writes contradictions to files in `directory`.
    pub fn conclude(self, directory: &Path, report: &mut AuditReport) -> Result<(), CliError> {
        if self.checked > 0 {
            report.checked.push(format!(
                "{} to a registry of stakes: each by a signer of its account, no two for one task differ",
                count(self.checked, "statement of a result", "statements of results")
            ));
        }
        if self.unchecked > 0 {
            report.not_checked.push(format!(
                "{} to a registry of stakes: name it with --registry",
                count(self.unchecked, "statement of a result", "statements of results")
            ));
        }
        let Some((domain, _)) = self.registry else { return Ok(()) };
        for (account, signer, found) in self.contradictions {
            let TaskResult { job, settlement, nonce, .. } = found.first;
            let file = directory.join(name(account, nonce));
            Contradiction::new(&domain, &found).write(&file)?;
            report.problems.push(format!(
                "account {account} has stated two results for one task (job {job}, settlement {}): \
                 `fedroll chain stake prove {}` takes its stake",
                settlement + 1,
                file.display()
            ));
            report.contradictions.push(Found { account, signer, job, settlement, file });
        }
        Ok(())
    }
}

fn name(account: AccountIndex, nonce: Nonce) -> String {
    let nonce = Keccak(nonce.0).to_string();
    let digits: String = nonce.trim_start_matches("0x").chars().take(8).collect();
    format!("contradiction-{account}-{digits}.json")
}
