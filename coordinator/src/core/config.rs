//! What the operator has decided.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{Address, WorkerId};
use protocol::job::Name;
use protocol::sign::eip712::Domain;

use super::posting::BatchData;

/// What the core is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The secp256k1 address that signs acceptances and posts batches: a job's coordinator in the ledger.
    pub operator: Address,
    /// The rollup and its chain.
    pub domain: Domain,
    /// The registry in which workers stake, if it looks at any.
    pub registry: Option<Address>,
    /// Seconds between a close and the end of credits: a constant of the rollup.
    pub close_grace_s: u64,
    /// Seconds after a batch is final in which omissions are proven and results asked for: a constant of the rollup.
    pub omission_window_s: u64,
    /// Seconds after an acceptance by which its settlement must be posted.
    pub settle_by_s: u64,
    /// Where batches' bytes are to stand.
    pub batch_data: BatchData,
    /// Milliseconds that ops wait for company before a batch is sealed.
    pub seal_after_ms: u64,
    /// Milliseconds a worker that lost its link keeps its tasks.
    pub reconnect_grace_ms: u64,
    /// Rounds whose updates stay on disk; older ones may be discarded once their batch is final.
    pub keep_rounds: u32,
    /// Keys the nonces of assignments; nobody else knows it.
    pub secret: [u8; 32],
    /// Who may join.
    pub admission: Admission,
}

/// Who may join.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Any worker. Unsafe: whoever makes many keys is paid many times.
    pub open: bool,
    /// These keys.
    pub workers: BTreeSet<WorkerId>,
    /// Holders of these, each so many times.
    pub invitations: BTreeMap<Name, u32>,
}
