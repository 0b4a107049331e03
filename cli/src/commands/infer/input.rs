//! Examples to be answered, from CSV or IDX.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Cursor, Read, Seek as _, SeekFrom};
use std::path::Path;

use models::data::{DataError, csv as table, idx};

use crate::args::job::Infer;
use crate::error::{CliError, file};

/// Bytes of a CSV file's first line.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// Inputs, and what they should be answered with if that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// Example after example.
    pub inputs: Vec<f32>,
    /// A label for each.
    pub labels: Option<Vec<u32>>,
    /// Values in one example.
    pub each: usize,
}

impl Examples {
    /// How many.
    pub fn len(&self) -> usize {
        self.inputs.len() / self.each
    }

    /// Reads what the flags name, for a model that takes inputs of this shape.
    pub fn read(args: &Infer, shape: [u32; 3]) -> anyhow::Result<Self> {
        let each = shape.iter().map(|&side| side as usize).product();
        let named = |error: DataError| CliError::Input(format!("{}: {error}", args.input.display()));
        let mut examples = if is_csv(&args.input) {
            let stream = open(&args.input)?;
            let table::Table { inputs, labels } = match &args.label_column {
                Some(name) => {
                    let stream = with_label_column(stream, name, &args.input)?;
                    table::read_table(stream, args.csv(shape)).map_err(named)?
                }
                None => table::read_table(stream, args.csv(shape)).map_err(named)?,
            };
            Self { inputs, labels, each }
        } else {
            Self::read_idx(args, shape, each)?
        };
        if let Some(first) = args.first.and_then(|first| usize::try_from(first).ok()) {
            examples.inputs.truncate(first.saturating_mul(each));
            if let Some(labels) = &mut examples.labels {
                labels.truncate(first);
            }
        }
        if examples.inputs.is_empty() {
            return Err(CliError::Input(format!("{} holds no examples", args.input.display())).into());
        }
        Ok(examples)
    }

    fn read_idx(args: &Infer, shape: [u32; 3], each: usize) -> anyhow::Result<Self> {
        let fits = |got: [u32; 3]| {
            let text = format!(
                "{} holds examples of shape {got:?}, the model takes {shape:?}",
                args.input.display()
            );
            if got == shape { Ok(()) } else { Err(CliError::Input(text)) }
        };
        match &args.labels {
            Some(labels) => {
                let data = idx::read_files(&args.input, labels).map_err(|error| {
                    let (images, labels) = (args.input.display(), labels.display());
                    CliError::Input(format!("{images} with {labels}: {error}"))
                })?;
                fits(data.shape())?;
                let labels = Some(data.labels().to_vec());
                Ok(Self { inputs: data.into_inputs(), labels, each })
            }
            None => {
                let (inputs, got) = idx::read_images(open(&args.input)?)
                    .map_err(|error| CliError::Input(format!("{}: {error}", args.input.display())))?;
                fits(got)?;
                Ok(Self { inputs, labels: None, each })
            }
        }
    }
}

impl Infer {
    fn csv(&self, shape: [u32; 3]) -> table::CsvOptions {
        table::CsvOptions { shape, divisor: self.divisor }
    }
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn open(path: &Path) -> Result<BufReader<File>, CliError> {
    File::open(path).map(BufReader::new).map_err(file("read", path))
}

/// The stream with the header's field `name` called `label`, which is what the reader of tables looks for,
/// and with every other field called something else.
fn with_label_column(mut stream: BufReader<File>, name: &str, path: &Path) -> anyhow::Result<impl Read> {
    let mut line = Vec::new();
    (&mut stream).take(HEADER_BYTES_MAX).read_until(b'\n', &mut line).map_err(file("read", path))?;
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(line.as_slice());
    let header = reader.records().next().transpose()?.unwrap_or_default();
    let Some(at) = header.iter().position(|field| field == name) else {
        let shown: Vec<&str> = header.iter().take(6).collect();
        let text = format!("{} has no column '{name}'; its first are {}", path.display(), shown.join(", "));
        return Err(CliError::Input(text).into());
    };
    let fields =
        (0..header.len()).map(|column| if column == at { "label".to_owned() } else { format!("c{column}") });
    let header = fields.collect::<Vec<_>>().join(",") + "\n";
    stream.seek(SeekFrom::Start(line.len() as u64)).map_err(file("read", path))?;
    Ok(Cursor::new(header).chain(stream))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(words: &[&str]) -> Infer {
        let fixed = ["fedroll", "infer", "--model", "job:0", "--output", "x"];
        match Cli::try_parse_from(fixed.iter().chain(words)).unwrap().command {
            Command::Infer(args) => args,
            _ => unreachable!("the words say infer"),
        }
    }

    #[test]
    fn a_label_column_is_taken_out_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digits.csv");
        std::fs::write(&path, "a,truth,b\n0,3,255\n51,4,0\n255,5,255\n").unwrap();
        let path = path.to_str().unwrap();
        let labelled = args(&["--input", path, "--label-column", "truth", "--first", "2"]);
        let examples = Examples::read(&labelled, [1, 1, 2]).unwrap();
        assert_eq!(
            examples,
            Examples { inputs: vec![0.0, 1.0, 0.2, 0.0], labels: Some(vec![3, 4]), each: 2 }
        );
        assert_eq!(examples.len(), 2);
        let wrong = args(&["--input", path, "--label-column", "c"]);
        let error = Examples::read(&wrong, [1, 1, 2]).unwrap_err().to_string();
        assert!(error.contains("no column 'c'") && error.contains("a, truth, b"), "{error}");
    }
}
