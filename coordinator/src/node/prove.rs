//! Proving others' batches wrong: while one stands after ours, nothing of ours can be posted.

use std::sync::Arc;

use contracts::base_layer::{Challenged, Challenger, challenge};
use contracts::error::ChainError;
use protocol::hash::keccak;
use protocol::ids::BatchId;
use protocol::ledger::fraud::Fraud;
use tokio::sync::mpsc;

use super::chain::Chain;
use super::event_loop::Stopped;

/// A batch to prove wrong.
#[derive(Debug)]
pub struct ProveRequest {
    /// Its number.
    pub number: BatchId,
    /// What is wrong with it.
    pub fraud: Box<Fraud>,
}

impl<B: Challenger + 'static> Chain<B> {
    /// Proves what it is asked to, each until the core counts the batch as gone, or it is final. `secret` is what the
    /// salts of commitments are made of.
    pub async fn prove(
        self: Arc<Self>,
        mut requests: mpsc::UnboundedReceiver<ProveRequest>,
        secret: [u8; 32],
    ) {
        while let Some(request) = requests.recv().await {
            // The core has ended.
            let Ok(()) = self.prove_one(&request, &secret).await else { return };
        }
    }

    async fn prove_one(&self, request: &ProveRequest, secret: &[u8; 32]) -> Result<(), Stopped> {
        let (number, commitment) = (request.number, request.fraud.commitment());
        let mut patience = self.outages.patience();
        loop {
            let wrong = self.core.read(|core| core.batches().wrong()).await?;
            if wrong.is_none_or(|wrong| wrong.commitment != commitment) {
                return Ok(());
            }
            match self.try_to_prove(request, secret).await {
                Ok(Some(Challenged::Proven(proven))) => {
                    tracing::warn!(
                        %number, proposer = %proven.proposer, part = %request.fraud.part(),
                        gas = proven.cost.gas, reward_wei = proven.reward,
                        "proved somebody else's batch wrong"
                    );
                }
                Ok(Some(Challenged::Final)) => {
                    tracing::error!(%number, "a wrong batch has become final: nothing can be posted after it");
                    return Ok(());
                }
                // Until that is final, a reorganisation may bring the batch back.
                Ok(Some(Challenged::Gone) | None) => {}
                Err(error) => {
                    let retry_ms = patience.wait_ms();
                    tracing::warn!(%number, %error, retry_ms, "could not prove the batch wrong");
                }
            }
            patience.wait().await;
        }
    }

    async fn try_to_prove(
        &self,
        request: &ProveRequest,
        secret: &[u8; 32],
    ) -> Result<Option<Challenged>, ChainError> {
        let ProveRequest { number, fraud } = request;
        let Some(batch) = self.places.read(&self.layer, *number, fraud.commitment()).await? else {
            return Ok(None);
        };
        // The same at every attempt, so that the commitment is made once.
        let salt = keccak(&[secret, &fraud.subject().0]).0;
        challenge(&self.layer, &batch, fraud, &salt).await.map(Some)
    }
}
