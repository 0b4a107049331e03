//! Long runs of the simulator, and replays of failed ones.
//!
//!     sim --seed 1 --runs 100000        many clusters, one seed after another; stops at the first that fails
//!     sim --seed 42                     one, with its parameters
//!     sim --replay target/sim-42.log    a failed one again, compared line by line with its log

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tests::sim::bugs::Bug;
use tests::sim::event_log::EventLog;
use tests::sim::swarm::Params;
use tests::sim::{Failure, Sim, run_params};

#[derive(Debug, Parser)]
#[command(about = "Runs simulated clusters: the real cores, everything around them made up from a seed")]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, one after another.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Where the logs of failed runs go.
    #[arg(long, default_value = "target", value_name = "DIR")]
    logs: PathBuf,
    /// Runs a logged run again and compares.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "runs"])]
    replay: Option<PathBuf>,
    /// Plants a bug, by its name in `sim::bugs`: a good simulator fails then.
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
    /// Goes on after a failed run.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.replay {
        Some(file) => replay(file),
        None => run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    if args.runs == 1 {
        say(&format!("seed {}:\n{}", args.seed, Params::from_seed(args.seed)));
    }
    let bug = args.bug.as_deref().map(planted).transpose()?;
    let (mut events, mut failed) = (0, 0);
    for (seed, number) in (args.seed..).zip(1..=args.runs) {
        match run_params(Params::from_seed(seed), bug) {
            Ok(steps) => events += steps,
            Err(failure) => {
                failed += 1;
                report(&failure, &args.logs)?;
                if !args.keep_going {
                    return Ok(false);
                }
            }
        }
        if number % 1_000 == 0 {
            say(&format!("{number} clusters, {events} events, {failed} failed"));
        }
    }
    say(&format!("{} clusters, {events} events, {failed} failed", args.runs));
    Ok(failed == 0)
}

fn planted(name: &str) -> anyhow::Result<Bug> {
    let known = || Bug::ALL.iter().map(|bug| format!("{bug:?}")).collect::<Vec<_>>().join(", ");
    let bug = Bug::ALL.iter().copied().find(|bug| format!("{bug:?}") == name);
    bug.with_context(|| format!("there is no bug '{name}' to plant; there are {}", known()))
}

fn report(failure: &Failure, logs: &Path) -> anyhow::Result<()> {
    let file = logs.join(format!("sim-{}.log", failure.params.seed));
    fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
    fs::write(&file, failure.log.join("\n")).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("{failure}\nthe same again: cargo run -p tests --bin sim -- --replay {}", file.display()));
    Ok(())
}

fn replay(file: &Path) -> anyhow::Result<bool> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let head = EventLog::head(&text)?;
    let (lines, what) = match run_params(head.params.clone(), head.bug) {
        Err(failure) => (failure.log.clone(), Some(failure.to_string())),
        Ok(_) => {
            let mut sim = Sim::logged(head.params, head.bug);
            sim.run()?;
            (sim.log().lines().to_vec(), None)
        }
    };
    let differs = lines.iter().zip(text.lines()).zip(1..).find(|((now, logged), _)| now != logged);
    match differs {
        Some(((now, logged), line)) => {
            say(&format!("line {line} differs from the log:\n  logged: {logged}\n  now:    {now}"));
        }
        None => say(&format!("{} events, as logged", lines.len() - 1)),
    }
    say(what.as_deref().unwrap_or("this run is good"));
    Ok(what.is_none())
}

#[expect(clippy::print_stdout, reason = "this program's answers are these lines")]
fn say(text: &str) {
    println!("{text}");
}
