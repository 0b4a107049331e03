//! The fuzz targets of `fuzz/`, run on stable Rust with seeded mutations: the same cases in every run, so a failure
//! repeats. Longer hunts: `cargo +nightly fuzz run <target>`.

use std::path::Path;

#[path = "../../fuzz/src/blob_target.rs"]
mod blob_target;
#[path = "../../fuzz/src/protocol_targets.rs"]
mod protocol_targets;
#[path = "../../fuzz/src/target.rs"]
mod target;

#[test]
fn no_input_breaks_a_promise() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    target::run_all(&protocol_targets::TARGETS, &seeds, 1, 10_000);
    target::run_all(&blob_target::TARGETS, &seeds, 1, 1_000);
}
