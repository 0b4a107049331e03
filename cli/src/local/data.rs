//! MNIST, split among the workers of a local network: each gets its own shard in its own directory, and sees
//! only that.

use std::path::{Path, PathBuf};

use models::data::split::{self, Scheme};
use models::data::{Dataset, idx};

use crate::args::local::{Shape, Split};
use crate::error::CliError;
use crate::files;

/// Examples that every shard must have: a minibatch.
const SHARD_EXAMPLES_MIN: u32 = 32;

/// The workspace that this program was built in.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where the MNIST files lie.
#[derive(Clone, Debug)]
pub struct DataFiles {
    dir: PathBuf,
}

impl DataFiles {
    /// The examples to train on.
    pub fn train(&self) -> anyhow::Result<Dataset> {
        Ok(idx::read_files(&self.dir.join("train-images.idx.gz"), &self.dir.join("train-labels.idx.gz"))?)
    }

    /// The held-out examples.
    pub fn held_out(&self) -> anyhow::Result<Dataset> {
        Ok(idx::read_files(&self.dir.join("test-images.idx.gz"), &self.dir.join("test-labels.idx.gz"))?)
    }
}

/// Finds the MNIST files: where the flag says, else in the workspace around this program, else in the one it
/// was built in.
pub fn find_data(given: Option<&Path>) -> Result<DataFiles, CliError> {
    let dir = match given {
        Some(dir) => dir.to_owned(),
        None => in_workspace("models/data/mnist").ok_or_else(missing)?,
    };
    if dir.join("train-images.idx.gz").is_file() {
        Ok(DataFiles { dir })
    } else {
        let why = format!("{} does not hold train-images.idx.gz", dir.display());
        Err(CliError::Mismatch { what: why, fix: "name the directory of the MNIST files with --data-dir" })
    }
}

/// A file or directory of the workspace, by its path in it.
pub fn in_workspace(path: &str) -> Option<PathBuf> {
    let executable = std::env::current_exe().ok();
    let around = executable.iter().flat_map(|executable| executable.ancestors().map(Path::to_owned));
    around.chain([PathBuf::from(WORKSPACE)]).map(|root| root.join(path)).find(|path| path.exists())
}

fn missing() -> CliError {
    CliError::Unknown {
        what: "where the MNIST files lie",
        fix: "run this program from its workspace, or name their directory with --data-dir".to_owned(),
    }
}

/// Where a worker's shard lies.
pub fn shard_dir(worker: &Path) -> PathBuf {
    worker.join("data/mnist")
}

/// Writes one shard for each worker directory; returns how many examples each holds.
pub fn write_shards(shape: &Shape, workers: &[PathBuf]) -> anyhow::Result<Vec<u64>> {
    let data = find_data(shape.data_dir.as_deref())?.train()?;
    let scheme = match shape.split {
        Split::Iid => Scheme::Iid,
        Split::Dirichlet(alpha) => Scheme::Dirichlet { alpha },
        Split::Labels(each) => Scheme::Labels { each },
    };
    let shards = split::split(&data, shape.workers, scheme, SHARD_EXAMPLES_MIN, shape.split_seed)?;
    for (shard, worker) in shards.iter().zip(workers) {
        let (images, labels) = idx::encode(&data.subset(shard))?;
        let dir = shard_dir(worker);
        files::make_dir(&dir)?;
        files::write(&dir.join("images.idx"), &images)?;
        // Last: a shard with labels is whole.
        files::write(&dir.join("labels.idx"), &labels)?;
    }
    Ok(shards.iter().map(|shard| shard.len() as u64).collect())
}

/// Examples in a shard that was written before.
pub fn shard_examples(worker: &Path) -> Option<u64> {
    // IDX labels: a head of 8 bytes, then one byte an example.
    std::fs::metadata(shard_dir(worker).join("labels.idx")).ok()?.len().checked_sub(8)
}
