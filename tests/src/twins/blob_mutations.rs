//! An honest batch in a blob, and what comes of it once something is changed.

use alloy::sol_types::SolCall as _;
use contracts::kzg::versioned_hash;
use protocol::ledger::fraud::{Fraud, wrong_result};
use protocol::ledger::{Blob, InBlobs, blob};

use super::court::Court;
use super::mutations::{Stage, Stopped, accepted};

impl Stage {
    /// The batch's only blob, as it is posted, and what is said of it.
    pub fn blob(&self) -> (Blob, u32, u32) {
        let mut blobs = blob::encode(&self.batch.chunks);
        assert_eq!(blobs.len(), 1, "it is a small batch");
        let credits = self.batch.summary().credit_count;
        (blobs.remove(0), self.batch.chunks.len() as u32, credits)
    }

    /// Posts a blob in place of the batch's, and looks for what stops it; an error is a batch that ought to be stopped
    /// and is not.
    pub fn try_out_blob(&self, blob: Blob, count: u32, credits: u32) -> Result<Stopped, String> {
        let hash = versioned_hash(&blob);
        let posted = InBlobs { count, credits, hashes: vec![hash], blobs: vec![blob] };
        let batch = Court::posted_in_blobs(&self.batch.header, posted);
        let verdict = self.deriver.clone().batch(&batch.posted, Some(&self.batch.results));
        let fraud = Fraud::of(&self.deriver, &batch.posted);
        let (call, stopped) = match (verdict.fault, &verdict.results, fraud) {
            (None, Some(Ok(())), None) => return Ok(Stopped::NotAtAll),
            (Some(_), _, Some(Fraud::Chunk(fraud))) => {
                (Court::fraud_call(&batch, &fraud).abi_encode(), Stopped::ByFraudProof)
            }
            (Some(_), _, Some(Fraud::Misfit(misfit))) => {
                (Court::misfit_call(&batch, &misfit).abi_encode(), Stopped::ByMisfitProof)
            }
            (None, Some(Err(_)), None) => {
                let fraud =
                    wrong_result(&batch.posted, &self.batch.results).ok_or("a fault without a proof")?;
                (Court::result_call(&batch, &fraud).abi_encode(), Stopped::ByResultProof)
            }
            (fault, results, fraud) => return Err(format!("{fault:?}, {results:?} and {fraud:?}")),
        };
        let mut court = self.court.clone();
        let blobs = batch.posted.blobs.as_ref().ok_or("it stands in blobs")?;
        // Posting sees no byte of a blob, and takes counts as they are said.
        court.post_blobs(&self.batch.header, blobs).map_err(|why| format!("posting: {why}"))?;
        accepted(&mut court, call)?;
        Ok(stopped)
    }
}
