//! Networks on this machine.

use std::path::PathBuf;

use clap::Args;

use crate::env;

/// `fedroll up`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fedroll up                            four workers, in .fedroll
  fedroll up --workers 8 --split iid    eight workers with like shards
  fedroll job submit jobs/mnist.toml    from another terminal in the same directory")]
pub struct Up {
    /// Where everything lies: keys, chain, coordinator, workers, logs
    #[arg(long, default_value = ".fedroll", value_name = "DIR")]
    pub dir: PathBuf,
    /// What the network looks like.
    #[command(flatten)]
    pub shape: Shape,
    /// The port of the coordinator's HTTP API; 0 finds a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub http_port: u16,
    /// The port of the chain's JSON-RPC; 0 finds a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub rpc_port: u16,
}

/// What a local network looks like.
#[derive(Clone, Debug, Args)]
pub struct Shape {
    /// How many workers
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// How MNIST is split among them: iid, dirichlet:ALPHA or labels:K (K labels a worker)
    #[arg(long, default_value = "dirichlet:0.5", value_name = "HOW")]
    pub split: Split,
    /// The seed of the split
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub split_seed: u64,
    /// Where the MNIST files lie [default: models/data/mnist of the workspace this program was built in]
    #[arg(long, value_name = "DIR", env = env::DATA_DIR, hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
}

/// How examples are split among workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Split {
    /// Every worker gets a like share.
    Iid,
    /// Label shares drawn from a Dirichlet distribution: the smaller, the more unlike the shards.
    Dirichlet(f64),
    /// Every worker gets this many labels.
    Labels(u32),
}

impl std::str::FromStr for Split {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is no split: write iid, dirichlet:0.5 or labels:2");
        match text.split_once(':') {
            None if text == "iid" => Ok(Self::Iid),
            Some(("dirichlet", alpha)) => match alpha.parse::<f64>() {
                Ok(alpha) if alpha.is_finite() && alpha > 0.0 => Ok(Self::Dirichlet(alpha)),
                _ => Err(bad()),
            },
            Some(("labels", count)) => match count.parse() {
                Ok(count) if count > 0 => Ok(Self::Labels(count)),
                _ => Err(bad()),
            },
            _ => Err(bad()),
        }
    }
}

/// `fedroll demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Where everything lies [default: a fresh directory under target/demo of the workspace, or of the
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The training job [default: jobs/mnist-demo.toml of the workspace]
    #[arg(long, value_name = "FILE")]
    pub job: Option<PathBuf>,
    /// What the network looks like.
    #[command(flatten)]
    pub shape: Shape,
    /// The share of held-out digits that the trained model must tell
    #[arg(long, default_value_t = 0.97, value_name = "SHARE")]
    pub accuracy: f64,
    /// Held-out digits for the inference job
    #[arg(long, default_value_t = 500, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub digits: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_read() {
        assert_eq!("iid".parse(), Ok(Split::Iid));
        assert_eq!("dirichlet:0.5".parse(), Ok(Split::Dirichlet(0.5)));
        assert_eq!("labels:2".parse(), Ok(Split::Labels(2)));
        for bad in ["", "iid:1", "dirichlet", "dirichlet:0", "dirichlet:nan", "labels:0", "labels:x", "x:1"] {
            assert!(bad.parse::<Split>().is_err(), "{bad}");
        }
    }
}
