//! Both ledgers, Rust and Solidity, on random and mutated chunks.
//!
//!     fuzz-ledger --seed 1 --cases 1000000     many cases; stops at the first difference
//!     fuzz-ledger --seed 1 --case 4711         that one again

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use protocol::rng::Rng;
use tests::twins::{Tally, Twin, run_case};

#[derive(Debug, Parser)]
#[command(about = "Runs chunks through the ledger in Rust and in Solidity, and compares")]
struct Args {
    /// What all cases are made from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    cases: u64,
    /// Only this one.
    #[arg(long)]
    case: Option<u64>,
}

#[expect(clippy::disallowed_methods, reason = "it says how fast it is")]
fn main() -> ExitCode {
    let args = Args::parse();
    let cases = args.case.map_or(0..args.cases, |case| case..case + 1);
    let (mut twin, mut tally, started) = (Twin::new(), Tally::default(), Instant::now());
    for case in cases {
        let mut rng = Rng::derive(&[args.seed, case]);
        if let Err(why) = run_case(&mut twin, &mut rng, &mut tally) {
            say(&format!("seed {}, case {case}: {why}", args.seed));
            return ExitCode::from(1);
        }
        if tally.cases % 50_000 == 0 {
            report(args.seed, &tally, started.elapsed());
        }
    }
    report(args.seed, &tally, started.elapsed());
    ExitCode::SUCCESS
}

fn report(seed: u64, tally: &Tally, elapsed: Duration) {
    let rate = tally.cases as f64 / elapsed.as_secs_f64();
    let Tally { cases, ops, held, outcomes, refused, harmless, gas_max } = tally;
    say(&format!(
        "seed {seed}: {cases} cases ({rate:.0}/s), {ops} ops of which {held} held, \
         {refused} forged witnesses refused, {harmless} harmless, at most {gas_max} gas; {outcomes:?}"
    ));
}

#[expect(clippy::print_stdout, reason = "this program's answers are these lines")]
fn say(text: &str) {
    println!("{text}");
}
