//! The files of this repository, and what is true of each.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 8] =
    [".git", "target", "node_modules", "cache", "out", "corpus", ".fedroll", ".mirror"];

/// Bytes of one file. What is larger belongs in a package that is fetched, not in git.
const FILE_BYTES_MAX: u64 = 2_000_000;

/// One text file.
pub(super) struct Source {
    /// From the root, with forward slashes.
    pub(super) path: String,
    pub(super) text: String,
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace is where it was built")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("folders can be read")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_symlink() || FOREIGN.contains(&name) {
            continue;
        }
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found
}

fn relative(path: &Path) -> String {
    let root = root();
    path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/")
}

/// Every file with one of these endings.
pub(super) fn sources(endings: &[&str]) -> Vec<Source> {
    let wanted = |path: &PathBuf| {
        path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| endings.contains(&ending))
    };
    files()
        .iter()
        .filter(|path| wanted(path))
        .map(|path| Source {
            path: relative(path),
            text: fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        })
        .collect()
}

impl Source {
    /// Whether the whole file is test code.
    pub(super) fn is_test(&self) -> bool {
        let path = &self.path;
        ["tests/", "fuzz/"].iter().any(|crate_| path.starts_with(crate_))
            || ["/tests/", "/benches/", "/examples/", "/vectors/"].iter().any(|folder| path.contains(folder))
            || ["tests.rs", "vectors.rs"].iter().any(|name| path.ends_with(&format!("/{name}")))
    }

    /// The lines before the tests at the bottom, with their numbers from 1.
    pub(super) fn program(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        // `#[cfg(test)]`, or with a platform, and the module that it is on.
        let tests = lines.windows(3).position(|window| {
            let gated = window[0].starts_with("#[cfg(") && window[0].contains("test");
            gated && window[1..].iter().any(|line| line.starts_with("mod ") && line.ends_with('{'))
        });
        let end = if self.is_test() { 0 } else { tests.unwrap_or(lines.len()) };
        (1..).zip(lines).take(end)
    }
}

/// Fails with every place at once.
pub(super) fn expect_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n{} places:\n  {}", broken.len(), broken.join("\n  "));
}

#[test]
fn large_files_are_not_kept_in_git() {
    let broken: Vec<String> = files()
        .iter()
        .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > FILE_BYTES_MAX))
        .map(|path| relative(path))
        .collect();
    expect_none("fetch large files from a package instead of committing them", &broken);
}

#[test]
fn the_documents_that_others_point_at_exist() {
    let wanted = ["ARCHITECTURE", "GLOSSARY", "PROTOCOL", "LEDGER", "SIMULATION", "OPERATIONS"];
    let missing: Vec<String> = wanted
        .iter()
        .map(|name| format!("docs/{name}.md"))
        .chain(["README.md", "CONTRIBUTING.md", "LICENSE-MIT", "LICENSE-APACHE"].map(String::from))
        .filter(|path| !root().join(path).is_file())
        .collect();
    expect_none("write the document", &missing);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for source in sources(&["md"]) {
        let folder = Path::new(&source.path).parent().map_or_else(root, |folder| root().join(folder));
        for target in source.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let elsewhere = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
            if !elsewhere && !folder.join(file).exists() {
                broken.push(format!("{}: {target}", source.path));
            }
        }
    }
    expect_none("a link names a file that is not there", &broken);
}
