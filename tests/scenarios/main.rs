//! Every scenario across programs, in one binary: each more would link candle, alloy and revm again.

mod anvil;
mod audit;
mod blobs;
mod challenge;
mod cli;
mod cluster;
mod disk;
mod escape;
mod evidence;
mod kills;
mod leaves;
mod mutations;
mod network;
mod omissions;
mod posting_gas;
mod proof_gas;
mod refunds;
mod relayed;
mod reorganisations;
mod staked;
mod stakes;
mod strangers;
mod tidy;
mod twins;
mod verify;
mod wire;
