//! An honest batch in a blob, and what comes of it once something is changed.

use alloy::sol_types::SolCall as _;
use contracts::base_layer::BatchOnChain;
use contracts::kzg::versioned_hash;
use protocol::hash::keccak;
use protocol::ledger::fraud::{Fraud, wrong_result};
use protocol::ledger::{Blob, Chunk, InBlobs, VersionedHash, blob};

use super::court::Court;
use super::mutations::{Stage, Stopped, accepted};

/// How far what was found is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The auditor has a proof of a lie, or none.
    ToTheAuditor,
    /// And the contract accepts it; where there is none, it accepts none of those that the batch invites. That takes
    /// KZG proofs by the dozen, and so a while.
    ToTheContract,
}

/// What stops a batch that the auditor has this against.
const fn stopped_by(found: Option<&Fraud>) -> Stopped {
    match found {
        None => Stopped::NotAtAll,
        Some(Fraud::Chunk(_)) => Stopped::ByFraudProof,
        Some(Fraud::Misfit(_)) => Stopped::ByMisfitProof,
        Some(Fraud::Result(_)) => Stopped::ByResultProof,
    }
}

fn call(batch: &BatchOnChain, found: &Fraud) -> Vec<u8> {
    match found {
        Fraud::Chunk(fraud) => Court::fraud_call(batch, fraud).abi_encode(),
        Fraud::Misfit(misfit) => Court::misfit_call(batch, misfit).abi_encode(),
        Fraud::Result(fraud) => Court::result_call(batch, fraud).abi_encode(),
    }
}

impl Stage {
    /// The batch's only blob, as it is posted, and what is said of it.
    pub fn blob(&self) -> (Blob, u32, u32) {
        let mut blobs = blob::encode(&self.batch.chunks);
        assert_eq!(blobs.len(), 1, "it is a small batch");
        let credits = self.batch.summary().credit_count;
        (blobs.remove(0), self.batch.chunks.len() as u32, credits)
    }

    /// Posts a blob in place of the batch's, and looks for what stops it; an error is a batch that ought to be stopped
    /// and is not, or a proof against one that is honest.
    pub fn try_out_blob(
        &self,
        blob: Blob,
        count: u32,
        credits: u32,
        taken: Taken,
    ) -> Result<Stopped, String> {
        let hash = match taken {
            // Where nobody opens the blob, any name of its bytes will do.
            Taken::ToTheAuditor => VersionedHash(keccak(&[blob.bytes()]).0),
            Taken::ToTheContract => versioned_hash(&blob),
        };
        let posted = InBlobs { count, credits, hashes: vec![hash], blobs: vec![blob] };
        let batch = Court::posted_in_blobs(&self.batch.header, posted);
        let verdict = self.deriver.clone().batch(&batch.posted, Some(&self.batch.results));
        let fraud = Fraud::of(&self.deriver, &batch.posted);
        let found = match (verdict.fault, &verdict.results, fraud) {
            (None, Some(Ok(())), None) => None,
            (Some(_), _, Some(fraud)) => Some(fraud),
            (None, Some(Err(_)), None) => {
                let fraud = wrong_result(&batch.posted, &self.batch.results);
                Some(Fraud::Result(Box::new(fraud.ok_or("a fault without a proof")?)))
            }
            (fault, results, fraud) => return Err(format!("{fault:?}, {results:?} and {fraud:?}")),
        };
        if taken == Taken::ToTheAuditor {
            return Ok(stopped_by(found.as_ref()));
        }
        let mut court = self.court.clone();
        let blobs = batch.posted.blobs.as_ref().ok_or("it stands in blobs")?;
        // Posting sees no byte of a blob, and takes counts as they are said.
        court.post_blobs(&self.batch.header, blobs).map_err(|why| format!("posting: {why}"))?;
        match &found {
            Some(fraud) => accepted(&mut court, call(&batch, fraud))?,
            None => {
                let chunks: Vec<Chunk> = blobs.chunks().into_iter().map(|stated| stated.chunk).collect();
                self.none_provable(&mut court, &batch, &chunks, &self.batch.results)?;
            }
        }
        Ok(stopped_by(found.as_ref()))
    }
}
