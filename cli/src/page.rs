//! The text form of a report: headings, lines, facts and tables, put together in memory. `output.rs` prints
//! it.

use std::fmt::{Display, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A text being written.
#[derive(Debug)]
pub struct Page {
    text: String,
    color: bool,
}

/// How a column of a table is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

impl Page {
    /// An empty text; `color` says whether it may hold terminal escapes.
    pub fn new(color: bool) -> Self {
        Self { text: String::new(), color }
    }

    /// The finished text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// A heading, after an empty line unless it is the first.
    pub fn heading(&mut self, text: impl Display) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let text = self.painted("1", text);
        self.line(text);
    }

    /// One line.
    pub fn line(&mut self, text: impl Display) {
        writeln!(self.text, "{text}").expect("writing to a String cannot fail");
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.text.push('\n');
    }

    /// Names and values, the values aligned.
    pub fn facts(&mut self, facts: &[(&str, &dyn Display)]) {
        let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in facts {
            let name = self.painted("2", format_args!("{name:width$}"));
            self.line(format_args!("{name}  {value}"));
        }
    }

    /// A table with a line of headings; says `empty` if there are no rows.
    pub fn table(&mut self, columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>, empty: &str) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|column| match column {
            Column::Left(name) | Column::Right(name) => *name,
        }));
        let mut none = true;
        for row in rows {
            debug_assert_eq!(row.len(), columns.len());
            table.add_row(row);
            none = false;
        }
        if none {
            self.line(empty);
            return;
        }
        for (at, column) in columns.iter().enumerate() {
            let drawn = table.column_mut(at).expect("the header has this many columns");
            drawn.set_padding((0, 2));
            if matches!(column, Column::Right(_)) {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
        let drawn = table.to_string();
        for (at, line) in drawn.lines().enumerate() {
            let line = line.trim_end();
            if at == 0 {
                let line = self.painted("2", line);
                self.line(line);
            } else {
                self.line(line);
            }
        }
    }

    /// `text` in green: what is as it should be.
    pub fn good(&self, text: impl Display) -> String {
        self.painted("32", text)
    }

    /// `text` in red: what is wrong.
    pub fn bad(&self, text: impl Display) -> String {
        self.painted("31", text)
    }

    fn painted(&self, code: &str, text: impl Display) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// A number of bytes for people: `1.5 MB` (powers of 1000).
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// Wei as ether, to the millionth.
pub fn ether(wei: u128) -> String {
    let millionths = wei / 1_000_000_000_000;
    format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}

/// A share for people: `97.5 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A long hexadecimal identifier, cut so that it fits a table: `0x12345678…`.
pub fn short(id: impl Display) -> String {
    let text = id.to_string();
    if text.chars().count() > 12 { text.chars().take(10).chain(['…']).collect() } else { text }
}

/// A time for people: `2023-11-14 22:13:20 UTC`.
pub fn utc(unix_seconds: u64) -> String {
    let (mut days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // Whole cycles of the calendar first, so that a nonsensical time costs no more than a real one.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{year}-{month:02}-{:02} {hours:02}:{minutes:02}:{:02} UTC", days + 1, seconds % 60)
}

/// A number of things: `1 batch`, `2 batches`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The text of an optional value, or a dash.
pub fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_it_was_written() {
        let mut page = Page::new(false);
        page.heading("Workers");
        page.facts(&[("chain", &31337), ("rollup address", &"0x12")]);
        page.table(
            &[Column::Left("worker"), Column::Right("earned")],
            [vec!["one".to_owned(), "1.5".to_owned()], vec!["another".to_owned(), "12".to_owned()]],
            "no workers",
        );
        let want = "\
Workers
chain           31337
rollup address  0x12
worker   earned
one         1.5
another      12
";
        assert_eq!(page.into_text(), want);
    }

    #[test]
    fn an_empty_table_says_so_and_colours_come_only_when_asked() {
        let mut page = Page::new(true);
        page.table(&[Column::Left("worker")], [], "no workers");
        assert_eq!(page.good("ok"), "\x1b[32mok\x1b[0m");
        assert_eq!(page.into_text(), "no workers\n");
    }

    #[test]
    fn times_are_dates() {
        let times = [0, 951_782_399, 951_868_799, 1_700_000_000, 4_107_542_399, 13_601_087_999];
        let want = [
            "1970-01-01 00:00:00",
            "2000-02-28 23:59:59",
            "2000-02-29 23:59:59",
            "2023-11-14 22:13:20",
            "2100-02-28 23:59:59",
            "2400-12-31 23:59:59",
        ];
        assert_eq!(times.map(utc), want.map(|time| format!("{time} UTC")));
        assert!(utc(u64::MAX).ends_with("UTC"));
    }

    #[test]
    fn sizes_and_ids_are_short() {
        assert_eq!(
            [bytes(0), bytes(999), bytes(1_500), bytes(2_345_678)],
            ["0 B", "999 B", "1.5 kB", "2.3 MB"]
        );
        assert_eq!(short("0x1234567890abcdef"), "0x12345678…");
        assert_eq!(short("0x12"), "0x12");
        assert_eq!(percent(0.975), "97.50 %");
    }
}
