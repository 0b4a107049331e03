//! One figure: a row of the table and of `target/bench.json`.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// One figure against its reference and its target.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it is held against.
    pub reference: String,
    /// The reference's value, in the same unit.
    pub reference_value: Option<f64>,
    /// Value over reference.
    pub ratio: Option<f64>,
    /// What bounds the figure on this machine, if it was measured.
    pub limit: Option<f64>,
    /// What was to be reached, in words.
    pub target: String,
    /// Whether it was; absent where there is no target.
    pub met: Option<bool>,
}

impl Row {
    /// A figure on its own.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let (reference, target) = (String::new(), String::new());
        Self {
            name: name.into(),
            value,
            unit,
            reference,
            reference_value: None,
            ratio: None,
            limit: None,
            target,
            met: None,
        }
    }

    /// Holds it against something.
    #[must_use]
    pub fn against(self, reference: impl Into<String>, value: f64) -> Self {
        Self {
            reference: reference.into(),
            reference_value: Some(value),
            ratio: Some(self.value / value),
            ..self
        }
    }

    /// States what bounds it.
    #[must_use]
    pub fn limited_by(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// To be at most `most`.
    #[must_use]
    pub fn at_most(self, most: f64) -> Self {
        Self { target: format!("≤ {most}"), met: Some(self.value <= most), ..self }
    }

    /// To be at least `least`.
    #[must_use]
    pub fn at_least(self, least: f64) -> Self {
        Self { target: format!("≥ {least}"), met: Some(self.value >= least), ..self }
    }
}

/// A number with four significant digits.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (3 - value.abs().log10().floor() as i32).clamp(0, 6) as usize };
    format!("{value:.digits$}")
}

/// Writes what is above the rows.
pub(super) fn print_header(out: &mut impl std::io::Write) -> Result<()> {
    Ok(writeln!(
        out,
        "{:<46} {:>10} {:<10} {:>10} {:>7} {:>10} {:<9} met  reference",
        "figure", "value", "unit", "reference", "ratio", "limit", "target"
    )?)
}

/// Writes a row for people.
pub(super) fn print(out: &mut impl std::io::Write, row: &Row) -> Result<()> {
    let optional = |value: Option<f64>| value.map_or("–".to_owned(), short);
    let met = match row.met {
        None => "",
        Some(true) => "yes",
        Some(false) => "NO",
    };
    Ok(writeln!(
        out,
        "{:<46} {:>10} {:<10} {:>10} {:>7} {:>10} {:<9} {met:<4} {}",
        row.name,
        short(row.value),
        row.unit,
        optional(row.reference_value),
        optional(row.ratio),
        optional(row.limit),
        row.target,
        row.reference
    )?)
}

/// Writes `bench.json`.
pub fn write_json(path: &Path, rows: &[Row]) -> Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(rows)?)?;
    Ok(())
}
