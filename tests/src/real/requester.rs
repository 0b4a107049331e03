//! A requester: hands specs in, brings blobs, funds jobs, asks how they are.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _};
use contracts::rpc::RpcWriter;
use protocol::amount::Amount;
use protocol::api::{HEADER_EXPIRES, HEADER_SIGNATURE, Info, JobPhase, JobStatus, Submitted};
use protocol::hash::Digest;
use protocol::ids::JobId;
use protocol::job::JobSpec;
use protocol::job::request::HttpRequest;
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;
use serde::de::DeserializeOwned;

use super::{Chain, Coordinator, operator};

/// Milliseconds between two looks at a job.
const LOOK_MS: u64 = 20;

/// A requester with more money than it needs.
#[derive(Debug)]
pub struct Requester {
    key: EthKey,
    /// Its connection to the chain.
    pub chain: RpcWriter,
    http: reqwest::Client,
    base: String,
    /// What the coordinator says it is.
    pub info: Info,
}

impl Requester {
    /// A requester for one coordinator, with a million tokens.
    pub async fn new(chain: &Chain, coordinator: &Coordinator) -> Result<Self> {
        let key = EthKey::from_secret(&[0x42; 32])?;
        let bank = chain.writer(&operator()).await?;
        bank.send_ether(key.address(), 10u128.pow(20)).await?;
        bank.mint(key.address(), Amount::units(10u128.pow(15))).await?;
        let http = reqwest::Client::new();
        let info = http.get(format!("{}/v1/info", coordinator.http)).send().await?.json().await?;
        Ok(Self {
            key: EthKey::from_secret(&[0x42; 32])?,
            chain: chain.writer(&key).await?,
            http,
            base: coordinator.http.clone(),
            info,
        })
    }

    fn domain(&self) -> Domain {
        Domain { chain_id: self.info.chain_id, contract: self.info.rollup }
    }

    async fn signed(&self, method: reqwest::Method, path: &str, body: Vec<u8>) -> Result<reqwest::Response> {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        let request = HttpRequest {
            method: method.to_string(),
            path: path.into(),
            body: Digest::of(&body),
            expires: now + 60,
        };
        let signature = request.sign(&self.domain(), &self.key).to_bytes();
        let text = signature.iter().fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"));
        let response = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header(HEADER_EXPIRES, request.expires)
            .header(HEADER_SIGNATURE, text)
            .body(body)
            .send()
            .await?;
        if !response.status().is_success() {
            bail!("{path}: {}: {}", response.status(), response.text().await?);
        }
        Ok(response)
    }

    /// Reads something.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        ensure!(response.status().is_success(), "{path}: {}", response.text().await?);
        Ok(response.json().await?)
    }

    /// Reads bytes.
    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        ensure!(response.status().is_success(), "{path}: {}", response.status());
        Ok(response.bytes().await?.to_vec())
    }

    /// Hands a spec in without funding it.
    pub async fn hand_in(&self, spec: &JobSpec) -> Result<Submitted> {
        Ok(self.signed(reqwest::Method::POST, "/v1/jobs", spec.canonical_bytes()).await?.json().await?)
    }

    /// Brings a blob that a spec names.
    pub async fn bring(&self, blob: &[u8]) -> Result<()> {
        let path = format!("/v1/blobs/{}", Digest::of(blob));
        self.signed(reqwest::Method::PUT, &path, blob.to_vec()).await.map(|_| ())
    }

    /// Hands a spec in with its blobs and funds its whole budget.
    pub async fn submit(&self, spec: &JobSpec, blobs: &[&[u8]]) -> Result<JobId> {
        let submitted = self.hand_in(spec).await?;
        for blob in blobs {
            if submitted.missing.contains(&Digest::of(blob)) {
                self.bring(blob).await?;
            }
        }
        self.fund(spec, spec.budget()).await
    }

    /// Funds a job whose spec has been handed in.
    pub async fn fund(&self, spec: &JobSpec, units: u128) -> Result<JobId> {
        let amount = Amount::units(units);
        Ok(self.chain.fund_job(self.info.operator, spec.hash(), spec.terms(), amount).await?.0)
    }

    /// Ledger units of the token that it holds.
    pub async fn balance(&self) -> Result<u128> {
        Ok(self.chain.token_balance(self.chain.sender()).await?.as_units())
    }

    /// How a job is.
    pub async fn status(&self, job: JobId) -> Result<JobStatus> {
        self.get(&format!("/v1/jobs/{job}")).await
    }

    /// Looks at a job until it is as wanted; gives up after `seconds`, or when the job fails.
    pub async fn wait(
        &self,
        job: JobId,
        seconds: u64,
        wanted: impl Fn(&JobStatus) -> bool,
    ) -> Result<JobStatus> {
        let looks = seconds * 1000 / LOOK_MS;
        let mut last = None;
        for _ in 0..looks {
            // The coordinator may be down for a moment, and does not know the job before it has seen its funding.
            if let Ok(status) = self.status(job).await {
                if wanted(&status) {
                    return Ok(status);
                }
                ensure!(status.phase != JobPhase::Failed, "the job failed: {}", status.why);
                last = Some(status);
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
        let last = last.context("the coordinator never answered")?;
        bail!("after {seconds} s job {job} is {:?}, settled {}: {}", last.phase, last.settled, last.why)
    }
}
