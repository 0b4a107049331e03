//! Runs the fixed computations of `models::proof` on everything this machine has and compares them with the committed
//! digests: `reproduce`, or `reproduce print` for the digests alone.
//!
//! Exit code 0: all are the same; 1: some are not.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use models::kernels::{Isa, Machine};
use models::proof;

/// One thread is no sharing, two an even split, seven an uneven one with more threads than cores.
const THREADS: [usize; 3] = [1, 2, 7];

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("print") {
        write!(stdout(), "{}", proof::lines(&|| Machine::new(1))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut differs = false;
    for isa in Isa::available() {
        for threads in THREADS {
            let name = format!("{} {}, {threads} threads", std::env::consts::ARCH, isa.name());
            // Where there are no threads, a pool of several is a pool of one, which was run already.
            if Machine::with(isa, threads).pool.threads() < threads {
                writeln!(stdout(), "{name}: as 1 thread, the system gives no more")?;
                continue;
            }
            let got = proof::lines(&|| Machine::with(isa, threads))?;
            for (got, want) in got.lines().zip(proof::VECTORS.lines()).filter(|(got, want)| got != want) {
                differs = true;
                writeln!(stdout(), "{name}: {got}, expected {want}")?;
            }
            let same = got == proof::VECTORS;
            differs |= !same;
            writeln!(stdout(), "{name}: {}", if same { "same bits" } else { "OTHER BITS" })?;
        }
    }
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
