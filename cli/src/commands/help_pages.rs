//! `fedroll help-pages DIR`: docs/cli, made from the clap tree. `make verify` compares.

use std::path::PathBuf;

use clap::{Command, CommandFactory as _};
use serde::Serialize;

use crate::args::{Cli, HelpPages};
use crate::error::file;
use crate::exit::ExitStatus;
use crate::files;
use crate::output::{Output, Report};
use crate::page::Page;

#[derive(Serialize)]
struct Pages {
    written: Vec<PathBuf>,
    stale: Vec<PathBuf>,
}

impl Report for Pages {
    fn text(&self, page: &mut Page) {
        for file in &self.written {
            page.line(file.display());
        }
        for file in &self.stale {
            page.line(format_args!("{} is stale: `make fix` rewrites it", file.display()));
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(self.stale.is_empty())
    }
}

/// Writes one page a command, or compares.
pub fn run(args: &HelpPages, out: &Output) -> anyhow::Result<ExitStatus> {
    let pages = pages();
    let mut report = Pages { written: Vec::new(), stale: Vec::new() };
    if !args.check {
        files::make_dir(&args.dir)?;
    }
    for (name, text) in &pages {
        let path = args.dir.join(name);
        if !args.check {
            files::write(&path, text.as_bytes())?;
            report.written.push(path);
        } else if std::fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            report.stale.push(path);
        }
    }
    for entry in std::fs::read_dir(&args.dir).map_err(file("read", &args.dir))? {
        let path = entry.map_err(file("read", &args.dir))?.path();
        let is_page =
            pages.iter().any(|(name, _)| path.file_name().is_some_and(|file| file == name.as_str()));
        if !is_page && !args.check {
            // A page of a command that is gone.
            std::fs::remove_file(&path).map_err(file("remove", &path))?;
        } else if !is_page {
            report.stale.push(path);
        }
    }
    out.answer(&report)
}

/// File names and texts.
fn pages() -> Vec<(String, String)> {
    let mut root = Cli::command().term_width(100).disable_help_subcommand(true);
    root.build();
    let mut index = page_of(&root, "fedroll", 1);
    index.push_str("\n## Pages\n\n");
    let mut pages = Vec::new();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        index.push_str(&format!(
            "- [fedroll {name}]({name}.md): {}\n",
            command.get_about().unwrap_or_default()
        ));
        let path = format!("fedroll {name}");
        let mut text = page_of(command, &path, 1);
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            text.push('\n');
            text.push_str(&page_of(inner, &format!("{path} {}", inner.get_name()), 2));
        }
        pages.push((format!("{name}.md"), text));
    }
    pages.insert(0, ("README.md".to_owned(), index));
    pages
}

fn page_of(command: &Command, path: &str, level: usize) -> String {
    let help = command.clone().term_width(100).render_long_help().to_string();
    // A line's trailing spaces would be an error in the repository's own checks.
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let note = if level == 1 {
        "<!-- Written by `fedroll help-pages`: change the words in cli/src/args. -->\n\n"
    } else {
        ""
    };
    format!("{note}{} {path}\n\n```text\n{}\n```\n", "#".repeat(level), help.join("\n").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_without_values_of_this_machine() {
        let pages = pages();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..4], ["README.md", "up.md", "demo.md", "job.md"]);
        assert!(!names.contains(&"help-pages.md"));
        let home = env!("CARGO_MANIFEST_DIR");
        for (name, text) in &pages {
            assert!(!text.contains(home) && text.contains("```text"), "{name}");
        }
        assert!(pages[3].1.contains("## fedroll job submit"));
    }
}
