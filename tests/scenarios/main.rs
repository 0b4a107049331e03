//! Every scenario across programs, in one binary: each more would link candle, alloy and revm again.

mod cluster;
mod network;
mod refunds;
mod tidy;
