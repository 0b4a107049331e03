//! The fuzz targets of `fuzz/` for what this crate reads, run on stable Rust with seeded mutations: the same cases in
//! every run, so a failure repeats. Longer hunts: `cargo +nightly fuzz run <target>`.

use std::path::Path;

#[path = "../../fuzz/src/model_targets.rs"]
mod model_targets;
#[path = "../../fuzz/src/target.rs"]
mod target;

#[test]
fn no_input_breaks_a_promise() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    target::run_all(&model_targets::TARGETS, &seeds, 1, 10_000);
}
