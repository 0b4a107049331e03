//! Where in a file something is wrong.

use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Characters of a line that are shown: a file that is no TOML may be one line of a megabyte.
const LINE_CHARS_MAX: usize = 120;
/// Of these, what is shown before the mark.
const BEFORE_CHARS_MAX: usize = 60;

/// A place in a text file, with the line it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: PathBuf,
    spot: Option<Box<Spot>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Spot {
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    /// Characters to mark, at least 1.
    length: usize,
    text: String,
}

impl Place {
    /// The file as a whole.
    pub fn of_file(file: &Path) -> Self {
        Self { file: file.to_owned(), spot: None }
    }

    /// A range of bytes in its text.
    pub fn at(file: &Path, text: &str, span: Range<usize>) -> Self {
        let start = floor(text, span.start);
        let end = floor(text, span.end.max(start));
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_text = text[line_start..].lines().next().unwrap_or("");
        let column = text[line_start..start].chars().count();
        let left = line_text.chars().count().saturating_sub(column);
        let length = text[start..end].chars().count().min(left).max(1);
        let line = before.matches('\n').count() + 1;
        let spot = Spot { line, column: column + 1, length, text: line_text.to_owned() };
        Self { file: file.to_owned(), spot: Some(Box::new(spot)) }
    }

    /// The value of a dotted key; if the file does not have it, the table it would be in; else the whole
    /// file.
    pub fn of_key(file: &Path, text: &str, key: &str) -> Self {
        match DeTable::parse(text).ok().and_then(|table| span_of(table.get_ref(), key)) {
            Some(span) => Self::at(file, text, span),
            None => Self::of_file(file),
        }
    }

    /// `message` as an error at this place: `file:line:column`, then the line with a mark under what is
    /// meant.
    pub fn say(&self, message: &dyn Display) -> String {
        let file = self.file.display();
        match self.spot.as_deref() {
            None => format!("{file}: {message}"),
            Some(Spot { line, column, length, text }) => {
                let (text, lead) = excerpt(text, column - 1);
                let gutter = " ".repeat(line.to_string().len());
                // Tabs stay tabs, so that the mark stands below its character on every terminal.
                let indent: String =
                    text.chars().take(lead).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let mark = "^".repeat((*length).min(text.chars().count().saturating_sub(lead)).max(1));
                format!(
                    "{file}:{line}:{column}: {message}\n{gutter} |\n{line} | {text}\n{gutter} | {indent}{mark}"
                )
            }
        }
    }
}

/// The part of a line around its character `at`, and where that character is in it.
fn excerpt(line: &str, at: usize) -> (String, usize) {
    let (length, skipped) = (line.chars().count(), at.saturating_sub(BEFORE_CHARS_MAX));
    if length <= LINE_CHARS_MAX {
        return (line.to_owned(), at);
    }
    let mut text: String = line.chars().skip(skipped).take(LINE_CHARS_MAX).collect();
    let mut lead = at - skipped;
    if skipped > 0 {
        text.insert(0, '…');
        lead += 1;
    }
    if skipped + LINE_CHARS_MAX < length {
        text.push('…');
    }
    (text, lead)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn span_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let (name, value): (&Spanned<_>, &Spanned<DeValue<'_>>) =
        table.iter().find(|(name, _)| name.get_ref() == first)?;
    match (rest, value.get_ref()) {
        (None, _) => Some(value.span()),
        (Some(rest), DeValue::Table(inner)) => Some(span_of(inner, rest).unwrap_or_else(|| name.span())),
        (Some(_), _) => Some(value.span()),
    }
}
