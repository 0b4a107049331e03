//! What a fuzz target is, and a small mutation fuzzer that runs on stable Rust.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use protocol::rng::Rng;

/// One way bytes come in from outside.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name; also of the folder with its seeds.
    pub name: &'static str,
    /// Reads the bytes; panics if they break a promise.
    pub run: fn(&[u8]),
    /// Good inputs, to start mutating from.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// Longest input the stable runner makes, in bytes.
const INPUT_BYTES_MAX: usize = 4096;

/// Runs every target over its seeds (`fuzz/seeds/<name>/*`), its samples, and `cases` mutations of both.
///
/// # Panics
/// If a target does; first the input is printed, in hex, to be saved among the seeds.
#[expect(clippy::print_stdout, reason = "a failed run must tell its seed")]
pub fn run_all(targets: &[Target], seeds: &Path, seed: u64, cases: u64) {
    println!("seed {seed}, {cases} cases a target");
    for target in targets {
        let mut inputs = (target.samples)();
        for sample in &inputs {
            run_one(target, sample, "a sample");
        }
        inputs.extend(files(&seeds.join(target.name)));
        for input in &inputs {
            run_one(target, input, "a saved seed");
        }
        let mut rng = Rng::derive(&[seed, target.name.len() as u64, u64::from(target.name.as_bytes()[0])]);
        for case in 0..cases {
            let input = mutated(&mut rng, &inputs);
            run_one(target, &input, &format!("case {case} of seed {seed}"));
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failed run must tell its input")]
fn run_one(target: &Target, input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let hex = input.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes everything");
            text
        });
        eprintln!("target {} failed on {what}; input ({} bytes): {hex}", target.name, input.len());
        std::panic::resume_unwind(panic);
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("the seed can be read")).collect()
}

/// One input in eight is noise; the others are known ones with a few changes.
fn mutated(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    if inputs.is_empty() || rng.chance(1, 8) {
        return (0..rng.below(200)).map(|_| rng.next() as u8).collect();
    }
    let mut input = pick(rng, inputs).clone();
    for _ in 0..=rng.below(4) {
        mutate(rng, &mut input, inputs);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn pick<'a>(rng: &mut Rng, inputs: &'a [Vec<u8>]) -> &'a Vec<u8> {
    &inputs[rng.below(inputs.len() as u64) as usize]
}

fn mutate(rng: &mut Rng, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
    const EDGES: [u8; 9] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xc0, 0xfe, 0xff];
    let at = rng.below(input.len() as u64 + 1) as usize;
    let run = 1 + rng.below(9) as usize;
    let edge = EDGES[rng.below(EDGES.len() as u64) as usize];
    match rng.below(7) {
        0 if at < input.len() => input[at] ^= 1 << rng.below(8),
        1 if at < input.len() => input[at] = edge,
        2 if at < input.len() => input[at] = rng.next() as u8,
        3 => input.truncate(at),
        4 => drop(input.splice(at..at, std::iter::repeat_n(edge, run))),
        5 => drop(input.drain(at..(at + run).min(input.len()))),
        _ => {
            // The front of one, the back of another.
            let other = pick(rng, inputs);
            let from = rng.below(other.len() as u64 + 1) as usize;
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}
