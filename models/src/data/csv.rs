//! CSV: one example a line, with or without a header line, with or without a label.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::{Reader, ReaderBuilder, StringRecord};

use super::dataset::values_each;
use super::{CsvProblem, DataError, Dataset, VALUES_MAX};

/// Bytes of one CSV file.
pub const CSV_BYTES_MAX: u64 = 1 << 33;

/// How a CSV file is to be understood.
///
/// A line has as many inputs as the shape has values, in the order channels, rows, columns, and may have one label:
/// in the column that the header calls `label` (or `class`, `target`, `y`), else in the first. A first line with a
/// field that is not a number is the header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CsvOptions {
    /// One example's channels, height, width.
    pub shape: [u32; 3],
    /// What inputs are divided by: 255 brings image bytes into [0, 1]; 1 leaves them alone.
    pub divisor: f32,
}

impl CsvOptions {
    /// Images of bytes.
    pub fn bytes(shape: [u32; 3]) -> Self {
        Self { shape, divisor: 255.0 }
    }
}

/// Inputs as they stand in a file, and labels if it has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// All inputs, example after example.
    pub inputs: Vec<f32>,
    /// A label for each, if the file has them.
    pub labels: Option<Vec<u32>>,
}

/// Reads labelled examples.
pub fn read(stream: impl Read, options: CsvOptions) -> Result<Dataset, DataError> {
    let table = read_table(stream, options)?;
    let labels = table.labels.ok_or(at(1, CsvProblem::NoLabels))?;
    Dataset::new(table.inputs, options.shape, labels)
}

/// Reads labelled examples from a file; an error names the file.
pub fn read_file(path: &Path, options: CsvOptions) -> Result<Dataset, DataError> {
    let file =
        File::open(path).map_err(|source| DataError::File { path: path.display().to_string(), source })?;
    read(file, options)
}

/// Reads examples, labelled or not.
pub fn read_table(stream: impl Read, options: CsvOptions) -> Result<Table, DataError> {
    let shape = options.shape;
    let each = values_each(shape)
        .filter(|each| (1..=VALUES_MAX).contains(each))
        .ok_or(DataError::Shape { values: 0, shape })? as usize;
    let stream = stream.take(CSV_BYTES_MAX);
    let mut reader = ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(stream);
    let mut row = StringRecord::new();
    let mut rows =
        Rows { each, divisor: options.divisor, label: None, inputs: Vec::new(), labels: Vec::new() };
    let mut first = true;
    while next(&mut reader, &mut row)? {
        let line = row.position().map_or(0, csv::Position::line);
        if first {
            first = false;
            if rows.start(&row, line)? {
                continue;
            }
        }
        rows.push(&row, line)?;
    }
    if rows.inputs.is_empty() {
        return Err(at(1, CsvProblem::Empty));
    }
    Ok(Table { inputs: rows.inputs, labels: rows.label.map(|_| rows.labels) })
}

struct Rows {
    each: usize,
    divisor: f32,
    label: Option<usize>,
    inputs: Vec<f32>,
    labels: Vec<u32>,
}

impl Rows {
    /// Learns from the first line where the label is; whether that line is a header.
    fn start(&mut self, row: &StringRecord, line: u64) -> Result<bool, DataError> {
        let labelled = row.len() == self.each + 1;
        if !labelled && row.len() != self.each {
            return Err(at(line, CsvProblem::Columns { got: row.len(), inputs: self.each }));
        }
        let header = row.iter().any(|field| field.parse::<f64>().is_err());
        if labelled {
            let named = |field: &str| {
                ["label", "class", "target", "y"].iter().any(|name| field.eq_ignore_ascii_case(name))
            };
            self.label = Some(row.iter().position(|field| header && named(field)).unwrap_or(0));
        }
        Ok(header)
    }

    fn push(&mut self, row: &StringRecord, line: u64) -> Result<(), DataError> {
        if self.inputs.len() as u64 + self.each as u64 > VALUES_MAX {
            let got = self.inputs.len() as u64 + self.each as u64;
            return Err(DataError::TooLarge { what: "csv", got, limit: VALUES_MAX });
        }
        for (column, field) in row.iter().enumerate() {
            let cut = || field.chars().take(40).collect::<String>();
            if self.label == Some(column) {
                // Spreadsheets and data frames write whole numbers as 3.0, too.
                let label = field.strip_suffix(".0").unwrap_or(field).parse();
                let problem = || CsvProblem::Label { column: column + 1, text: cut() };
                self.labels.push(label.map_err(|_| at(line, problem()))?);
            } else {
                let number = field.parse::<f32>().ok().map(|number| number / self.divisor);
                let problem = || CsvProblem::Number { column: column + 1, text: cut() };
                self.inputs.push(number.filter(|n| n.is_finite()).ok_or_else(|| at(line, problem()))?);
            }
        }
        Ok(())
    }
}

fn at(line: u64, problem: CsvProblem) -> DataError {
    DataError::Csv { line, problem }
}

fn next<R: Read>(reader: &mut Reader<R>, row: &mut StringRecord) -> Result<bool, DataError> {
    reader.read_record(row).map_err(|error| {
        let line = error.position().map_or(0, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                let problem = format!("{len} columns, the lines before have {expected_len}");
                at(line, CsvProblem::Malformed(problem))
            }
            _ => at(line, CsvProblem::Malformed(error.to_string())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: [u32; 3] = [1, 1, 2];

    fn problem(text: &str) -> (u64, CsvProblem) {
        match read_table(text.as_bytes(), CsvOptions::bytes(SHAPE)) {
            Err(DataError::Csv { line, problem }) => (line, problem),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_label_is_first_or_where_the_header_says() {
        let first = read("3,0,255\n4,51,0\n".as_bytes(), CsvOptions::bytes(SHAPE)).unwrap();
        assert_eq!((first.labels(), first.inputs()), (&[3, 4][..], &[0.0, 1.0, 0.2, 0.0][..]));
        let named = read("a,b,Label\n0,255,3.0\n51,0,4\n".as_bytes(), CsvOptions::bytes(SHAPE)).unwrap();
        assert_eq!(named, first);
        let header = read("label,a,b\n3,0,255\n4,51,0\n".as_bytes(), CsvOptions::bytes(SHAPE)).unwrap();
        assert_eq!(header, first);
    }

    #[test]
    fn inputs_without_labels_are_a_table_only() {
        let table = read_table("1,2\n3,4".as_bytes(), CsvOptions { shape: SHAPE, divisor: 1.0 }).unwrap();
        assert_eq!(table, Table { inputs: vec![1.0, 2.0, 3.0, 4.0], labels: None });
        assert!(read("1,2\n3,4".as_bytes(), CsvOptions::bytes(SHAPE)).is_err());
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(problem("1,2,3,4\n"), (1, CsvProblem::Columns { got: 4, inputs: 2 }));
        assert_eq!(problem("1,2,3\n1,x,3\n"), (2, CsvProblem::Number { column: 2, text: "x".into() }));
        assert_eq!(problem("1,2,3\n1,nan,3\n"), (2, CsvProblem::Number { column: 2, text: "nan".into() }));
        assert_eq!(problem("1,2,3\n1.5,2,3\n"), (2, CsvProblem::Label { column: 1, text: "1.5".into() }));
        assert_eq!(problem("1,2,3\n1,2\n").0, 2);
        assert_eq!(problem("a,b,c\n"), (1, CsvProblem::Empty));
        assert_eq!(problem(""), (1, CsvProblem::Empty));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a,.\"\\n -]{0,200}") {
            let _ = read(text.as_bytes(), CsvOptions::bytes(SHAPE));
        }
    }
}
