//! The only file that writes to standard output and, but for the log, to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::args::Format;
use crate::error::NodeError;

/// Version of the JSON documents.
pub const SCHEMA: u32 = 1;

/// Where answers go.
pub struct Output {
    format: Format,
    stdout: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("format", &self.format).finish_non_exhaustive()
    }
}

/// An answer in both forms.
pub trait Answer: Serialize {
    /// For people; ends in a newline.
    fn text(&self) -> String;
}

#[derive(Serialize)]
struct Failure<'a> {
    schema: u32,
    error: &'a str,
}

impl Output {
    /// Answers in `format` on `stdout`.
    pub fn new(format: Format, stdout: Box<dyn Write + Send>) -> Self {
        Self { format, stdout }
    }

    /// Writes the answer.
    pub fn answer(&mut self, answer: &impl Answer) -> Result<(), NodeError> {
        let text = match self.format {
            Format::Text => answer.text(),
            Format::Json => json(answer),
        };
        self.write(&text).map_err(NodeError::Output)
    }

    /// Says why there is no answer.
    pub fn error(&mut self, error: &NodeError) {
        let words = error.to_string();
        if self.format == Format::Json {
            // Nobody is left to tell if this fails too.
            let _ = self.write(&json(&Failure { schema: SCHEMA, error: &words }));
        }
        let _ = writeln!(io::stderr(), "error: {words}");
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.flush()
    }
}

fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("answers are plain data");
    text.push('\n');
    text
}
