//! Every environment variable that the command line reads. clap shows them in `--help`; nothing else reads
//! variables.
//!
//! None of them holds a secret: keys are files.

/// `text` or `json`: how answers are written.
pub const FORMAT: &str = "FEDROLL_FORMAT";
/// `auto`, `always` or `never`: colours in text.
pub const COLOR: &str = "FEDROLL_COLOR";
/// What is logged to stderr, as a tracing filter: `warn`, `info`, `cli=debug`.
pub const LOG: &str = "FEDROLL_LOG";
/// The directory of a network that `fedroll up` made: it knows the chain, the rollup, the coordinator and a
/// key.
pub const NETWORK: &str = "FEDROLL_NETWORK";
/// The coordinator's HTTP API.
pub const COORDINATOR: &str = "FEDROLL_COORDINATOR";
/// The base layer's JSON-RPC.
pub const RPC: &str = "FEDROLL_RPC";
/// Where batches in blobs are read.
pub const BLOBS: &str = "FEDROLL_BLOBS";
/// The address of the `Rollup` contract.
pub const ROLLUP: &str = "FEDROLL_ROLLUP";
/// The address of the `WorkerRegistry` contract.
pub const REGISTRY: &str = "FEDROLL_REGISTRY";
/// The address of the `DisputeBonds` contract.
pub const DISPUTES: &str = "FEDROLL_DISPUTES";
/// The address of the `FundingRelay` contract.
pub const RELAY: &str = "FEDROLL_RELAY";
/// The file that holds the secp256k1 key to sign with.
pub const KEY_FILE: &str = "FEDROLL_KEY_FILE";
/// Where the MNIST files lie that `up` and `demo` split among their workers.
pub const DATA_DIR: &str = "FEDROLL_DATA_DIR";
