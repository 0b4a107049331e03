//! The crate table of the workspace, licences, and where packages come from: compared with `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::tree::{expect_none, root, sources};

/// Who may use whom of us.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("protocol", &[]),
    ("models", &["protocol"]),
    ("contracts", &["protocol"]),
    ("browser", &["protocol", "models"]),
    ("coordinator", &["protocol", "models", "contracts"]),
    ("worker", &["protocol", "models"]),
    ("cli", &["protocol", "models", "contracts"]),
    ("tests", &["protocol", "models", "contracts", "coordinator", "worker"]),
];

/// Packages that a crate must not name, with the reason. A trailing `?` allows it behind a feature.
const MAY_NOT_USE: [(&str, &[&str], &str); 5] = [
    ("protocol", &["sled", "candle-core", "alloy", "axum", "reqwest"], "it is what two programs agree on"),
    ("protocol", &["tokio?", "quinn?", "rustls?"], "only the feature `quic` may open a socket"),
    ("models", &["tokio", "quinn", "reqwest", "alloy", "axum", "sled"], "models speak to no network"),
    ("worker", &["sled", "alloy", "axum", "reqwest"], "a worker speaks to its coordinator only"),
    ("cli", &["sled", "quinn"], "the auditor does not link the audited"),
];

/// Licences that let the work be passed on under MIT or Apache-2.0.
const LICENCES: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Packages with another licence, each with the reason why that is all right.
const LICENCE_EXCEPTIONS: [(&str, &str); 1] = [(
    "fastrlp",
    "MPL-2.0 asks for changes to its own files only, and none are made; an optional codec of ruint",
)];

/// What cargo knows, with the packages that this platform needs: others need not have been fetched.
fn metadata() -> Value {
    let compiler = run("rustc", &["--version", "--verbose"]);
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let platform = format!("--filter-platform={host}");
    let text = run(env!("CARGO"), &["metadata", "--format-version", "1", "--locked", &platform]);
    serde_json::from_str(&text).expect("cargo writes JSON")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let done =
        Command::new(program).args(arguments).current_dir(root()).output().expect("the toolchain is here");
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("the toolchain writes text")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The workspace's packages by name.
fn ours(metadata: &Value) -> BTreeMap<&str, &Value> {
    let local = list(metadata, "packages").iter().filter(|package| package["source"].is_null());
    local.map(|package| (text(package, "name"), package)).collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let metadata = metadata();
    let ours = ours(&metadata);
    let names: BTreeSet<&str> = ours.keys().copied().collect();
    assert_eq!(names, MAY_USE.iter().map(|(name, _)| *name).collect(), "the table names every crate");
    let mut broken = Vec::new();
    for (name, allowed) in MAY_USE {
        for dependency in list(ours[name], "dependencies") {
            let used = text(dependency, "name");
            if names.contains(used) && !allowed.contains(&used) {
                broken.push(format!("{name} uses {used}"));
            }
        }
    }
    for (name, banned, why) in MAY_NOT_USE {
        for dependency in list(ours[name], "dependencies").iter().filter(|used| used["kind"].is_null()) {
            let (used, optional) = (text(dependency, "name"), dependency["optional"] == true);
            let hit =
                |banned: &&str| banned.trim_end_matches('?') == used && !(optional && banned.ends_with('?'));
            if banned.iter().any(hit) {
                broken.push(format!("{name} uses {used}: {why}"));
            }
        }
    }
    expect_none("the crate table of docs/ARCHITECTURE.md says who may use whom", &broken);
}

#[test]
fn every_crate_shares_the_lints_and_the_versions() {
    let mut broken = Vec::new();
    for (name, _) in MAY_USE {
        let path = root().join(name).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path).expect("every crate has a manifest");
        let manifest: toml::Value = toml::from_str(&manifest).expect("cargo has read it");
        if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&toml::Value::Boolean(true))
        {
            broken.push(format!("{name}/Cargo.toml: say [lints] workspace = true"));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten();
            for (dependency, entry) in entries {
                if entry.get("workspace").is_none() {
                    broken.push(format!("{name}/Cargo.toml: choose the version of {dependency} in the root"));
                }
            }
        }
    }
    expect_none("what crates share stands in the root Cargo.toml", &broken);
}

#[test]
fn every_dependency_may_be_passed_on() {
    let metadata = metadata();
    let mut broken = Vec::new();
    for package in list(&metadata, "packages") {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        let excepted = LICENCE_EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name);
        if !excepted && !permits(licence) {
            broken.push(format!("{name} {}: '{licence}'", text(package, "version")));
        }
    }
    expect_none("choose a package with a licence of the list", &broken);
}

/// Whether an SPDX expression can be met with licences of the list: every part of an `AND`, some part of an `OR`.
fn permits(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, sign) in expression.char_indices() {
        match sign {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && expression[at..].starts_with(" AND ") => {
                parts.push(&expression[start..at]);
                start = at + " AND ".len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    if let [one] = parts[..] {
        let one = one.trim().trim_start_matches('(').trim_end_matches(')');
        return one.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()));
    }
    parts.iter().all(|part| permits(part))
}

#[test]
fn a_licence_expression_is_read_as_spdx_means_it() {
    assert!(permits("MIT OR Apache-2.0") && permits("MIT/Apache-2.0") && permits("GPL-3.0 OR ISC"));
    assert!(permits("(MIT OR Apache-2.0) AND Unicode-3.0") && !permits("MIT AND GPL-3.0"));
    assert!(!permits("GPL-3.0-only") && !permits(""));
}

#[test]
fn packages_come_from_the_public_registry() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("the lock file is committed");
    let broken: Vec<String> = lock
        .lines()
        .filter(|line| line.starts_with("source = "))
        .filter(|line| !line.contains("registry+https://github.com/rust-lang/crates.io-index"))
        .map(String::from)
        .collect();
    expect_none("a package of Cargo.lock comes from somewhere else", &broken);
}

#[test]
fn nobody_names_a_machine() {
    // Written in two halves, or this file would name them.
    let paths = ["home", "root", "work", "Users"].map(|folder| format!("/{folder}/"));
    let mut broken = Vec::new();
    for source in sources(&["rs", "toml", "md", "sol", "sh", "json", "yml", "mjs"]) {
        for (line, number) in source.text.lines().zip(1..) {
            // A path in a URL is none on a machine.
            let words = line.split(|sign: char| sign.is_whitespace() || "\"'`(=".contains(sign));
            let mut starts = words.filter(|word| paths.iter().any(|path| word.starts_with(path.as_str())));
            if let Some(word) = starts.next() {
                broken.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    expect_none("name a path that every machine has, or none", &broken);
}
