//! What `make bench-peers` times on our side, and what bounds it. `cargo run --release -p models --example speed -- …`:
//! - `peak`: lines of `instruction set, threads, GFLOP/s of multiplications and additions, of fused ones`;
//! - `serve CASE THREADS`: makes everything ready, says `ready`, then for each line on standard input measures once and
//!   answers with seconds; at the input's end it says how many bytes of memory it took at most beside the program.
//!
//! `tests/peers/peer.py` does the same with PyTorch.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench prints, and measures time")]

mod cases;
#[cfg(target_arch = "x86_64")]
mod peak;

use std::error::Error;
use std::io::{Write as _, stdin, stdout};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let before = memory("VmRSS:")?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(target_arch = "x86_64")]
        ["peak"] => peak::print(),
        ["serve", case, threads] => serve(case, threads.parse()?, before)?,
        _ => return Err("usage: speed peak | speed serve CASE THREADS".into()),
    }
    Ok(())
}

fn serve(case: &str, threads: usize, before: u64) -> Result<(), Box<dyn Error>> {
    let mut work = cases::ready(case, threads)?;
    work()?;
    println!("ready");
    for line in stdin().lines() {
        line?;
        let start = Instant::now();
        work()?;
        println!("{}", start.elapsed().as_secs_f64());
        stdout().flush()?;
    }
    println!("{}", memory("VmHWM:")?.saturating_sub(before));
    Ok(())
}

/// Bytes that this process holds now (`VmRSS:`) or held at most (`VmHWM:`); Linux says it.
fn memory(what: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no such line")?;
    Ok(1024 * line.trim().trim_end_matches(" kB").parse::<u64>()?)
}
