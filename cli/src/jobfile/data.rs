//! The data that a job brings: read from the requester's files, cut into shards, each a blob.

use std::path::Path;

use models::data::csv::{self, CsvOptions};
use models::data::split::{Scheme, split};
use models::data::{Dataset, idx, shard, text};
use models::error::ModelError;
use protocol::hash::Digest;
use protocol::job::{ModelSpec, ShardBlob, TrainData};
use protocol::limits::{BLOB_BYTES_MAX, SHARDS_MAX};

use super::fields::{FileData, FileSplit, FileTraining};
use super::{JobFileError, Place, Reader, Upload};
use crate::files;
use crate::funding::Source;

/// What CSV inputs are divided by unless the file says otherwise: bytes come to lie in [0, 1].
const DIVISOR: u32 = 255;

impl Reader<'_> {
    /// What the job trains on: a tag of examples that stay on the workers, or shards of the requester's.
    pub(super) fn train_data(
        &mut self,
        training: &FileTraining,
        data: Option<FileData>,
        model: &ModelSpec,
    ) -> Result<TrainData, JobFileError> {
        match (&training.data, data) {
            (Some(tag), None) => Ok(TrainData::Local(tag.clone())),
            (None, Some(data)) => self.shards(&data, training, model),
            (Some(_), Some(_)) => {
                let why = "the job brings its data in [data]: leave the workers' tag out, or the table";
                Err(self.wrong("training.data", why.to_owned()))
            }
            (None, None) => {
                let why =
                    "data = \"tag\" is missing (examples that workers hold), or a table [data] with your own";
                Err(self.wrong("training", why.to_owned()))
            }
        }
    }

    fn shards(
        &mut self,
        file: &FileData,
        training: &FileTraining,
        model: &ModelSpec,
    ) -> Result<TrainData, JobFileError> {
        let scheme = self.scheme(file)?;
        if !(1..=SHARDS_MAX as u32).contains(&file.shards) {
            let why = format!("data.shards is {}; it must lie between 1 and {SHARDS_MAX}", file.shards);
            return Err(self.wrong("data.shards", why));
        }
        let all = self.examples(file, model)?;
        // Fewer than a minibatch would be hardly any work, for the same pay.
        let parts = split(&all, file.shards, scheme, training.minibatch, training.seed)
            .map_err(|error| self.wrong("data.shards", error.to_string()))?;
        let mut shards = Vec::with_capacity(parts.len());
        for part in parts {
            let blob = shard::encode(&all.subset(&part))
                .map_err(|error| self.wrong("data.shards", error.to_string()))?;
            let (digest, bytes) = (Digest::of(&blob), blob.len() as u64);
            if bytes > BLOB_BYTES_MAX {
                let why =
                    format!("a shard takes {bytes} bytes, over the limit of {BLOB_BYTES_MAX}: cut more");
                return Err(self.wrong("data.shards", why));
            }
            let examples = u32::try_from(part.len()).expect("positions in a set are u32");
            shards.push(ShardBlob { digest, examples });
            self.uploads.push(Upload { source: Source::Memory(blob), digest, bytes });
        }
        Ok(TrainData::Job(shards))
    }

    fn scheme(&self, file: &FileData) -> Result<Scheme, JobFileError> {
        match (file.split, file.alpha, file.labels_each) {
            (FileSplit::Iid, None, None) => Ok(Scheme::Iid),
            (FileSplit::Dirichlet, Some(alpha), None) if alpha > 0.0 && alpha.is_finite() => {
                Ok(Scheme::Dirichlet { alpha })
            }
            (FileSplit::Labels, None, Some(each)) if each > 0 => Ok(Scheme::Labels { each }),
            (FileSplit::Dirichlet, _, None) => Err(self.wrong(
                "data.split",
                "a Dirichlet split needs a concentration above 0: alpha = 0.5".to_owned(),
            )),
            (FileSplit::Labels, None, _) => {
                Err(self
                    .wrong("data.split", "a split by labels needs their number: labels_each = 2".to_owned()))
            }
            (_, alpha, _) => {
                let (key, split) =
                    if alpha.is_some() { ("alpha", "dirichlet") } else { ("labels_each", "labels") };
                Err(self.wrong(&format!("data.{key}"), format!("only split = \"{split}\" takes {key}")))
            }
        }
    }

    /// All examples, of the model's shape and classes.
    fn examples(&self, file: &FileData, model: &ModelSpec) -> Result<Dataset, JobFileError> {
        if let (Some(named), None, None, None) = (&file.text, &file.images, &file.labels, &file.csv) {
            return self.text(file, named, model);
        }
        if file.text.is_some() || model.kind.is_sequential() {
            let why = "a gpt takes text = \"…\", the other models images and labels, or csv".to_owned();
            return Err(self.wrong("data", why));
        }
        let (key, named, data) = match (&file.images, &file.labels, &file.csv) {
            (Some(images), Some(labels), None) => {
                if file.divisor.is_some() {
                    return Err(self.wrong("data.divisor", "only csv = \"…\" takes a divisor".to_owned()));
                }
                let (image_bytes, label_bytes) =
                    (self.bytes("data.images", images)?, self.bytes("data.labels", labels)?);
                let read = idx::read(image_bytes.as_slice(), label_bytes.as_slice());
                ("data.images", images, read.map_err(|error| self.bad_file("data.images", images, &error))?)
            }
            (None, None, Some(table)) => {
                let bytes = self.bytes("data.csv", table)?;
                let divisor = file.divisor.unwrap_or(DIVISOR).max(1) as f32;
                let read = csv::read(bytes.as_slice(), CsvOptions { shape: model.input, divisor });
                ("data.csv", table, read.map_err(|error| self.bad_file("data.csv", table, &error))?)
            }
            _ => {
                let why = "name images = \"…\" and labels = \"…\" (IDX, plain or gz), or csv = \"…\"";
                return Err(self.wrong("data", why.to_owned()));
            }
        };
        if data.shape() != model.input {
            let why = ModelError::InputShape { got: data.shape(), want: model.input };
            return Err(self.bad_file(key, named, &why));
        }
        if let Some(at) = data.labels().iter().position(|&label| label >= model.classes) {
            let why = ModelError::Label { at, label: data.labels()[at], classes: model.classes };
            return Err(self.bad_file(key, named, &why));
        }
        Ok(data)
    }

    /// Sequences of a text's bytes, as long as the model's.
    fn text(&self, file: &FileData, named: &Path, model: &ModelSpec) -> Result<Dataset, JobFileError> {
        let key = "data.text";
        if !model.kind.is_sequential() || model.classes < text::BYTES {
            let why = "text is for kind = \"gpt\" with classes = 256: each byte is a token".to_owned();
            return Err(self.wrong(key, why));
        }
        if file.divisor.is_some() || file.split != FileSplit::Iid {
            let why = "text has no labels to split by, and no divisor".to_owned();
            return Err(self.wrong(key, why));
        }
        let bytes = self.bytes(key, named)?;
        text::sequences(&bytes, model.input[2]).map_err(|error| self.bad_file(key, named, &error))
    }

    fn bytes(&self, key: &str, named: &Path) -> Result<Vec<u8>, JobFileError> {
        files::read(&self.beside(named), BLOB_BYTES_MAX)
            .map_err(|error| JobFileError::File(Place::of_key(self.path, self.text, key), error))
    }
}
