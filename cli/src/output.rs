//! The only file that prints.
//!
//! stdout gets the answer and nothing else: text, or one JSON document. stderr gets the talk: progress,
//! warnings, questions, errors. A reader that hangs up (`| head`) ends the command quietly.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use contracts::error::ChainError;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::args::{Color, Format};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::jobfile::JobFileError;
use crate::page::Page;

/// The version of every JSON document that the command line writes.
const SCHEMA: u32 = 1;

/// What a command found: data for programs, and a text for people.
pub trait Report: Serialize {
    /// Writes the text.
    fn text(&self, page: &mut Page);

    /// Whether the answer is yes.
    fn status(&self) -> ExitStatus {
        ExitStatus::Yes
    }

    /// Whether the JSON document has the report's fields at its top rather than under `result`.
    fn flat(&self) -> bool {
        false
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: u32,
    command: &'a str,
    ok: bool,
    result: &'a T,
}

#[derive(Serialize)]
struct FlatEnvelope<'a, T> {
    schema: u32,
    command: &'a str,
    ok: bool,
    #[serde(flatten)]
    result: &'a T,
}

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    schema: u32,
    command: &'a str,
    ok: bool,
    error: ErrorBody,
}

#[derive(Serialize)]
struct ErrorBody {
    code: String,
    message: String,
    causes: Vec<String>,
    fix: Option<String>,
}

/// Where a command's words go.
#[derive(Debug)]
pub struct Output<W: Write = io::Stdout> {
    command: String,
    format: Format,
    stdout: RefCell<W>,
    stdout_color: bool,
    stderr_color: bool,
    talk: bool,
    bars: MultiProgress,
}

impl Output {
    /// The process's own stdout and stderr.
    pub fn standard(command: &str, format: Format, color: Color, quiet: bool) -> Self {
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let painted = |terminal: bool| match color {
            Color::Auto => terminal,
            Color::Always => true,
            Color::Never => false,
        };
        let target =
            if quiet || !stderr { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self {
            command: command.to_owned(),
            format,
            stdout: RefCell::new(io::stdout()),
            stdout_color: painted(stdout),
            stderr_color: painted(stderr),
            talk: !quiet,
            bars: MultiProgress::with_draw_target(target),
        }
    }
}

impl<W: Write> Output<W> {
    /// Whether the answer is one JSON document.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints the answer; its status is the command's.
    pub fn answer<R: Report>(&self, report: &R) -> anyhow::Result<ExitStatus> {
        let status = report.status();
        let (schema, command, ok) = (SCHEMA, self.command.as_str(), status == ExitStatus::Yes);
        let text = match self.format {
            Format::Text => {
                let mut page = Page::new(self.stdout_color);
                report.text(&mut page);
                page.into_text()
            }
            Format::Json if report.flat() => document(&FlatEnvelope { schema, command, ok, result: report })?,
            Format::Json => document(&Envelope { schema, command, ok, result: report })?,
        };
        self.print(&text)?;
        Ok(status)
    }

    /// Prints a part of the answer before the rest is known, in text only: the JSON document comes at the
    /// end.
    pub fn line(&self, text: impl Display) -> anyhow::Result<()> {
        if self.is_json() { Ok(()) } else { self.print(&format!("{text}\n")) }
    }

    fn print(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = self.stdout.borrow_mut();
        self.bars.suspend(|| stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))?;
        Ok(())
    }

    /// Prints an error: text on stderr, or the JSON document on stdout.
    pub fn error(&self, error: &anyhow::Error) -> ExitStatus {
        if is_broken_pipe(error) {
            return ExitStatus::Yes;
        }
        let body = error_body(error);
        if self.is_json() {
            let envelope = ErrorEnvelope { schema: SCHEMA, command: &self.command, ok: false, error: body };
            let printed = document(&envelope).and_then(|text| self.print(&text));
            return match printed {
                Err(error) if is_broken_pipe(&error) => ExitStatus::Yes,
                _ => ExitStatus::Error,
            };
        }
        self.say(&format!("{}: {}", self.painted("1;31", "error"), body.message));
        for cause in body.causes {
            self.say(&format!("  because: {cause}"));
        }
        if let Some(fix) = body.fix {
            self.say(&format!("  {}: {fix}", self.painted("1;32", "fix")));
        }
        ExitStatus::Error
    }

    /// Says how the work goes; silent under `--quiet`.
    pub fn note(&self, text: impl Display) {
        if self.talk {
            self.say(&text.to_string());
        }
    }

    /// Says what the reader should know even under `--quiet`.
    pub fn warn(&self, text: impl Display) {
        self.say(&format!("{}: {text}", self.painted("1;33", "warning")));
    }

    /// Asks a question on the terminal; an error if there is none.
    pub fn confirm(&self, question: &str) -> Result<(), CliError> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CliError::NoTerminal);
        }
        let mut answer = String::new();
        let read = self.bars.suspend(|| {
            let mut stderr = io::stderr();
            write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush())?;
            io::stdin().read_line(&mut answer)
        });
        match read {
            Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
            _ => Err(CliError::Declined),
        }
    }

    /// A progress bar of `length` steps; only a terminal sees it.
    pub fn bar(&self, length: u64, label: &str) -> ProgressBar {
        let style =
            ProgressStyle::with_template("{prefix:.bold} {bar:28.green/black.bright} {pos}/{len} {msg}");
        let bar = self.bars.add(ProgressBar::new(length));
        bar.set_style(style.expect("the template is constant and well formed").progress_chars("━━─"));
        bar.set_prefix(label.to_owned());
        bar
    }

    /// A sign that something goes on; a plain line where there is no terminal.
    pub fn spinner(&self, label: &str) -> ProgressBar {
        if self.bars.is_hidden() {
            self.note(format_args!("{label} …"));
        }
        let style = ProgressStyle::with_template("{spinner:.green} {prefix} {msg}");
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style.expect("the template is constant and well formed"));
        bar.set_prefix(label.to_owned());
        if !self.bars.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }

    fn say(&self, text: &str) {
        self.bars.suspend(|| {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.stderr_color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints what clap has to say: help and version on stdout, a usage error on stderr or as the JSON document.
pub fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() || !json {
        // A reader that hung up needs no help.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let message = error.to_string();
    let message = message.trim_start_matches("error: ").trim_end().to_owned();
    let fix = Some("fedroll --help".to_owned());
    let error = ErrorBody { code: "usage".to_owned(), message, causes: Vec::new(), fix };
    let text = document(&ErrorEnvelope { schema: SCHEMA, command: "fedroll", ok: false, error });
    let _ = io::stdout().write_all(text.unwrap_or_default().as_bytes());
    ExitStatus::Error.into()
}

/// One line, so that a program that goes on (`up`, `chain dev`) can be read by lines.
fn document<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

fn error_body(error: &anyhow::Error) -> ErrorBody {
    let known = error.chain().find_map(|cause| cause.downcast_ref::<CliError>());
    let message = error.to_string();
    let mut causes: Vec<String> = Vec::new();
    let mut said = message.clone();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Many messages end with their cause already.
        if !said.contains(&cause) {
            said = cause.clone();
            causes.push(cause);
        }
    }
    let (code, fix) = match known {
        Some(known) => (known.code(), known.fix()),
        None => error.chain().find_map(verdict).unwrap_or(("failed", None)),
    };
    ErrorBody { code: code.to_owned(), message, causes, fix }
}

/// The word for an error of another room, and what to do about it.
fn verdict<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<(&'a str, Option<String>)> {
    if let Some(error) = cause.downcast_ref::<JobFileError>() {
        let known = match error {
            JobFileError::Read(error) | JobFileError::File(_, error) => error.fix(),
            JobFileError::NotText(_) => Some("`fedroll job init` writes a commented example".to_owned()),
            _ => Some("correct that line; `fedroll job init` writes a commented example".to_owned()),
        };
        return Some(("job-file", known));
    }
    let error = cause.downcast_ref::<ChainError>()?;
    let fix = match error {
        ChainError::Unreachable { .. } => {
            "check that the base layer's node runs there, or name another with --rpc URL"
        }
        ChainError::NoRollup { .. } => "check --rollup and --rpc: they must be of one network",
        ChainError::NoEther { .. } => "send that address some of the chain's own coin for gas",
        error if error.is_retry() => "try again: nothing is done twice",
        _ => return Some(("chain", None)),
    };
    Some(("chain", Some(fix.to_owned())))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Sample {
        workers: u32,
    }

    impl Report for Sample {
        fn text(&self, page: &mut Page) {
            page.line(format_args!("{} workers", self.workers));
        }
        fn status(&self) -> ExitStatus {
            ExitStatus::from_answer(self.workers > 0)
        }
        fn flat(&self) -> bool {
            self.workers > 9
        }
    }

    fn output(format: Format) -> Output<Vec<u8>> {
        Output {
            command: "sample".to_owned(),
            format,
            stdout: RefCell::new(Vec::new()),
            stdout_color: false,
            stderr_color: false,
            talk: false,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        }
    }

    fn printed(output: Output<Vec<u8>>) -> String {
        String::from_utf8(output.stdout.into_inner()).unwrap()
    }

    #[test]
    fn text_is_the_answer_alone() {
        let text = output(Format::Text);
        assert_eq!(text.answer(&Sample { workers: 4 }).unwrap(), ExitStatus::Yes);
        assert_eq!(text.answer(&Sample { workers: 0 }).unwrap(), ExitStatus::No);
        assert_eq!(printed(text), "4 workers\n0 workers\n");
    }

    #[test]
    fn json_is_one_document_that_says_whether_it_is_a_yes() {
        let json = output(Format::Json);
        json.line("not in the document").unwrap();
        json.answer(&Sample { workers: 0 }).unwrap();
        let want = "{\"schema\":1,\"command\":\"sample\",\"ok\":false,\"result\":{\"workers\":0}}\n";
        assert_eq!(printed(json), want);
        let flat = output(Format::Json);
        flat.answer(&Sample { workers: 12 }).unwrap();
        let value: serde_json::Value = serde_json::from_str(&printed(flat)).unwrap();
        assert_eq!((&value["workers"], &value["ok"]), (&12.into(), &true.into()));
    }

    #[test]
    fn an_error_is_a_document_too() {
        let json = output(Format::Json);
        let error = anyhow::Error::from(CliError::NoTerminal).context("cannot submit the job");
        assert_eq!(json.error(&error), ExitStatus::Error);
        let value: serde_json::Value = serde_json::from_str(&printed(json)).unwrap();
        assert_eq!(value["error"]["code"], "no-terminal");
        assert_eq!(value["error"]["message"], "cannot submit the job");
        assert_eq!(value["error"]["causes"][0], CliError::NoTerminal.to_string());
        assert!(value["error"]["fix"].as_str().unwrap().contains("--yes"));
    }

    #[test]
    fn a_reader_that_hangs_up_is_no_error() {
        let pipe = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(output(Format::Text).error(&pipe), ExitStatus::Yes);
    }
}
