//! Which of the accepted results a coordinator had to run again first: drawn by a secret whose hash the workers saw
//! before they worked, and signed with their receipts. Once the settlement is closed the coordinator shows it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::api::Evidence;
use protocol::hash::Digest;
use protocol::ids::JobId;
use protocol::job::{CheckSecret, Receipt};
use protocol::sign::Unverified;
use protocol::wire::codec;

use super::evidence::EVIDENCE_BYTES_MAX;
use super::report::AuditReport;
use crate::hex;
use crate::page::count;
use crate::replay::Replay;
use crate::rerun;
use crate::source::Source;

/// What is shown of one settlement.
#[derive(Debug, Default)]
struct Settlement {
    /// What its receipts say that the draw was committed to.
    committed: BTreeSet<Option<Digest>>,
    /// What it is said to have been drawn by.
    secrets: BTreeSet<[u8; 32]>,
    /// Its receipts.
    receipts: BTreeSet<Digest>,
}

/// The draws of every settlement whose evidence holds.
#[derive(Debug, Default)]
pub struct Draws(BTreeMap<(JobId, u32), Settlement>);

/// What a settlement's draw comes to.
enum Drawn {
    /// This many of its results were drawn.
    Results(u64),
    /// The coordinator does not show by what.
    Hidden,
    /// It cannot have been fair.
    Wrong(String),
}

impl Settlement {
    fn drawn(&self, rate_bps: u16) -> Drawn {
        let mut committed = self.committed.iter();
        let commitment = match (committed.next(), committed.next()) {
            (Some(Some(commitment)), None) => *commitment,
            (Some(None), None) => {
                return Drawn::Wrong("its receipts name no commitment to a draw".to_owned());
            }
            _ => return Drawn::Wrong("its receipts name different commitments to a draw".to_owned()),
        };
        if self.secrets.is_empty() {
            return Drawn::Hidden;
        }
        let Some(secret) = self
            .secrets
            .iter()
            .map(|secret| CheckSecret(*secret))
            .find(|secret| secret.commitment() == commitment)
        else {
            return Drawn::Wrong(format!(
                "what it was drawn by is not what its receipts were promised ({commitment})"
            ));
        };
        Drawn::Results(self.receipts.iter().filter(|receipt| secret.draws(receipt, rate_bps)).count() as u64)
    }
}

impl Draws {
    /// Takes up what is shown of a batch; its evidence holds.
    pub fn take(&mut self, shown: &Evidence) {
        for credit in &shown.credits {
            let settlement = self.0.entry((credit.job, credit.settlement)).or_default();
            settlement.secrets.extend(credit.check_secret.map(|secret| secret.0));
            for text in &credit.receipts {
                let bytes = hex::decode(text, EVIDENCE_BYTES_MAX).unwrap_or_default();
                if let Ok(receipt) = codec::decode_within::<Unverified<Receipt>>(&bytes, EVIDENCE_BYTES_MAX) {
                    settlement.committed.insert(receipt.body.checks);
                    settlement.receipts.insert(receipt.digest());
                }
            }
        }
    }

    /// Adds what was found to the report. How many results a job wants drawn is in its spec, which is asked for.
    pub async fn conclude(self, sources: &[Source], replay: &Replay, report: &mut AuditReport) {
        let mut rates: BTreeMap<JobId, Option<u16>> = BTreeMap::new();
        for (id, _) in self.0.keys() {
            if rates.contains_key(id) {
                continue;
            }
            let spec = match replay.deriver.state().job(*id) {
                Some(job) => rerun::spec(sources, job.spec).await.ok(),
                None => None,
            };
            rates.insert(*id, spec.map(|spec| spec.checks.rate_bps));
        }
        let (mut settlements, mut results, mut drawn) = (0, 0, 0);
        let (mut hidden, mut unknown) = (0, 0);
        for ((job, number), settlement) in self.0 {
            let Some(rate_bps) = rates[&job] else {
                unknown += 1;
                continue;
            };
            if rate_bps == 0 {
                continue;
            }
            match settlement.drawn(rate_bps) {
                Drawn::Results(count) => {
                    settlements += 1;
                    results += settlement.receipts.len() as u64;
                    drawn += count;
                }
                Drawn::Hidden => hidden += 1,
                Drawn::Wrong(why) => {
                    report.problems.push(format!("job {job}, settlement {}: {why}", number + 1));
                }
            }
        }
        if settlements > 0 {
            report.checked.push(format!(
                "which results the coordinator had to run again before it accepted them: {drawn} of {} in {}, drawn by \
                 what their workers had been promised",
                count(results, "result", "results"),
                count(settlements, "settlement", "settlements"),
            ));
        }
        if hidden > 0 {
            report.not_checked.push(format!(
                "which results of {} the coordinator had to run again: it does not show what they were drawn by",
                count(hidden, "settlement", "settlements")
            ));
        }
        if unknown > 0 {
            report.not_checked.push(format!(
                "which results of {} the coordinator had to run again: nobody shows the spec",
                count(unknown, "settlement", "settlements")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settlement(committed: &[Option<Digest>], secrets: &[[u8; 32]]) -> Settlement {
        Settlement {
            committed: committed.iter().copied().collect(),
            secrets: secrets.iter().copied().collect(),
            receipts: (0..1_000u32).map(|at| Digest::of(&at.to_be_bytes())).collect(),
        }
    }

    #[test]
    fn a_draw_is_fair_only_by_the_secret_that_every_receipt_was_promised() {
        let promised = Some(CheckSecret([1; 32]).commitment());
        let wrong = |settlement: Settlement| matches!(settlement.drawn(300), Drawn::Wrong(_));
        assert!(matches!(settlement(&[promised], &[[1; 32]]).drawn(300), Drawn::Results(10..60)));
        assert!(matches!(settlement(&[promised], &[[1; 32]]).drawn(10_000), Drawn::Results(1_000)));
        assert!(matches!(settlement(&[promised], &[]).drawn(300), Drawn::Hidden));
        assert!(wrong(settlement(&[promised], &[[2; 32]])));
        assert!(wrong(settlement(&[promised, None], &[[1; 32]])));
        assert!(wrong(settlement(&[promised, Some(CheckSecret([2; 32]).commitment())], &[[1; 32], [2; 32]])));
        assert!(wrong(settlement(&[None], &[[1; 32]])));
    }
}
