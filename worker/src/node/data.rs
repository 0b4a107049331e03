//! Examples: the worker's own, which are read here and never leave the machine, and a job's, once they are fetched.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use models::data::csv::CsvOptions;
use models::data::{DataError, Dataset, csv, idx};
use protocol::job::{Name, TaskData};

use super::limits::{DATA_FILES_MAX, HELD_OUT_NTH};

/// Where the examples under one tag lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSource {
    /// What jobs ask for.
    pub tag: Name,
    /// A CSV file, or a directory with one pair of IDX files (plain or gz).
    pub path: PathBuf,
    /// What CSV inputs are divided by: 255 brings bytes into [0, 1].
    pub divisor: u32,
}

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What the loader says.
    #[error("data '{tag}': {}: {source}", .path.display())]
    Data {
        /// The tag.
        tag: Name,
        /// The path.
        path: PathBuf,
        /// What is wrong.
        source: DataError,
    },
    /// The path leads nowhere.
    #[error("data '{tag}': cannot read {}: {source}", .path.display())]
    Path {
        /// The tag.
        tag: Name,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not exactly one pair.
    #[error(
        "data '{tag}': {} must hold one IDX file with 'images' and one with 'labels' in its name (plain or .gz); it holds \
         {images} and {labels}",
        .path.display()
    )]
    Pair {
        /// The tag.
        tag: Name,
        /// The directory.
        path: PathBuf,
        /// Files with images.
        images: usize,
        /// Files with labels.
        labels: usize,
    },
    /// No examples.
    #[error("data '{tag}': {} holds no examples", .path.display())]
    Empty {
        /// The tag.
        tag: Name,
        /// The path.
        path: PathBuf,
    },
}

/// Loaded examples.
#[derive(Debug)]
pub struct Shard {
    /// The examples to train on.
    pub dataset: Arc<Dataset>,
    /// Those held out of training to judge models by, where a job wants that.
    pub held_out: Option<Dataset>,
    /// Whether the file says nothing about their shape: they take the model's if that has as many values.
    pub is_flat: bool,
    /// The first 8 bytes of blake3 over the worker's own examples: mixed into the seed of everything done with them, so
    /// that two workers with the same key and other data differ, and one worker with the same data never does. `None`
    /// for a job's shard, whose digest is in the task's seed already.
    pub seed: Option<u64>,
}

/// A shard and where it is from, shared by those who use it.
pub type HeldShard = (TaskData, Arc<Shard>);

impl DataSource {
    /// Reads all examples.
    pub fn load(&self) -> Result<Shard, LoadError> {
        let data = |source| LoadError::Data { tag: self.tag.clone(), path: self.path.clone(), source };
        let is_flat = !self.path.is_dir();
        let dataset = if is_flat {
            let shape = [1, 1, self.csv_width()?];
            let divisor = self.divisor as f32;
            csv::read_file(&self.path, CsvOptions { shape, divisor }).map_err(data)?
        } else {
            let (images, labels) = self.pair()?;
            idx::read_files(&images, &labels).map_err(data)?
        };
        if dataset.is_empty() {
            return Err(LoadError::Empty { tag: self.tag.clone(), path: self.path.clone() });
        }
        let seed = Some(content_seed(&dataset));
        Ok(Shard { dataset: Arc::new(dataset), held_out: None, is_flat, seed })
    }

    fn path_error(&self, source: std::io::Error) -> LoadError {
        LoadError::Path { tag: self.tag.clone(), path: self.path.clone(), source }
    }

    /// Inputs in a line: all fields but the label. What is wrong with the line is for the parser to say.
    fn csv_width(&self) -> Result<u32, LoadError> {
        let file = std::fs::File::open(&self.path).map_err(|error| self.path_error(error))?;
        let mut line = Vec::new();
        BufReader::new(std::io::Read::take(file, 1 << 24))
            .read_until(b'\n', &mut line)
            .map_err(|error| self.path_error(error))?;
        let commas = line.iter().filter(|byte| **byte == b',').count();
        Ok((commas as u32).max(1))
    }

    fn pair(&self) -> Result<(PathBuf, PathBuf), LoadError> {
        let entries = std::fs::read_dir(&self.path).map_err(|error| self.path_error(error))?;
        let names =
            entries.take(DATA_FILES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let (mut images, mut labels): (Vec<String>, Vec<String>) = names
            .filter(|name| name.contains("images") || name.contains("labels"))
            .partition(|n| n.contains("images"));
        // A directory of a whole public data set has a test pair too, which is not for training.
        for names in [&mut images, &mut labels] {
            if names.len() > 1 {
                names.retain(|name| name.starts_with("train"));
            }
        }
        match (&images[..], &labels[..]) {
            ([image], [label]) => Ok((self.path.join(image), self.path.join(label))),
            _ => Err(LoadError::Pair {
                tag: self.tag.clone(),
                path: self.path.clone(),
                images: images.len(),
                labels: labels.len(),
            }),
        }
    }
}

impl Shard {
    /// A shard that a job brings.
    pub fn of_job(dataset: Dataset) -> Self {
        Self { dataset: Arc::new(dataset), held_out: None, is_flat: false, seed: None }
    }

    /// The examples in the model's shape.
    pub fn shaped(self, shape: [u32; 3]) -> Result<Self, DataError> {
        let values: u64 = shape.iter().map(|&side| u64::from(side)).product();
        if !self.is_flat || self.dataset.shape() == shape || values != self.dataset.input_len() as u64 {
            return Ok(self);
        }
        let labels = self.dataset.labels().to_vec();
        let dataset = Dataset::new(Arc::unwrap_or_clone(self.dataset).into_inputs(), shape, labels)?;
        Ok(Self { dataset: Arc::new(dataset), ..self })
    }

    /// With a tenth of the examples held out.
    pub fn holding_out(self) -> Self {
        let (dataset, held_out) = Arc::unwrap_or_clone(self.dataset).hold_out(HELD_OUT_NTH);
        Self { dataset: Arc::new(dataset), held_out: Some(held_out), ..self }
    }
}

/// Independent of the file format: the same examples give the same seed from IDX, gz and CSV.
fn content_seed(dataset: &Dataset) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"fedroll shard 1");
    hasher.update(&(dataset.len() as u64).to_le_bytes());
    hasher.update(&(dataset.input_len() as u64).to_le_bytes());
    let mut bytes = Vec::with_capacity(4 * dataset.input_len());
    for at in 0..dataset.len() {
        bytes.clear();
        bytes.extend(dataset.input(at).iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend_from_slice(&dataset.labels()[at].to_le_bytes());
        hasher.update(&bytes);
    }
    let mut seed = [0; 8];
    seed.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: PathBuf) -> DataSource {
        DataSource { tag: "digits".parse().unwrap(), path, divisor: 255 }
    }

    fn dataset() -> Dataset {
        let inputs = (0..24).map(|byte| byte as f32 / 255.0).collect();
        Dataset::new(inputs, [1, 2, 3], vec![0, 1, 2, 1]).unwrap()
    }

    #[test]
    fn idx_gz_and_csv_of_the_same_examples_have_the_same_seed() {
        let directory = tempfile::tempdir().unwrap();
        let (images, labels) = idx::encode(&dataset()).unwrap();
        let plain = directory.path().join("plain");
        let packed = directory.path().join("packed");
        std::fs::create_dir(&plain).unwrap();
        std::fs::create_dir(&packed).unwrap();
        std::fs::write(plain.join("train-images.idx"), &images).unwrap();
        std::fs::write(plain.join("train-labels.idx"), &labels).unwrap();
        std::fs::write(plain.join("test-labels.idx"), &labels).unwrap();
        std::fs::write(packed.join("images.idx.gz"), idx::gzip(&images)).unwrap();
        std::fs::write(packed.join("labels.idx.gz"), idx::gzip(&labels)).unwrap();
        let lines: Vec<String> = (0..4)
            .map(|at| {
                let values: Vec<String> = (6 * at..6 * at + 6).map(|value| value.to_string()).collect();
                format!("{},{}\n", dataset().labels()[at], values.join(","))
            })
            .collect();
        let table = directory.path().join("shard.csv");
        std::fs::write(&table, lines.concat()).unwrap();
        let shards = [plain, packed, table].map(|path| source(path).load().unwrap());
        assert!(shards.iter().all(|shard| shard.seed == shards[0].seed && shard.dataset.len() == 4));
        let [_, _, flat] = shards;
        assert_eq!(*flat.shaped([1, 2, 3]).unwrap().dataset, dataset());
    }

    #[test]
    fn what_is_missing_or_doubled_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let error = source(directory.path().to_owned()).load().unwrap_err();
        assert!(error.to_string().contains("it holds 0 and 0"), "{error}");
        let error = source(directory.path().join("none.csv")).load().unwrap_err();
        assert!(error.to_string().contains("none.csv"), "{error}");
        std::fs::write(directory.path().join("images"), b"not idx").unwrap();
        std::fs::write(directory.path().join("labels"), b"not idx").unwrap();
        let error = source(directory.path().to_owned()).load().unwrap_err();
        assert!(matches!(error, LoadError::Data { .. }), "{error}");
    }
}
