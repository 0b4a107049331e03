//! Fuzz targets: one function for each way bytes come in from outside, shared by libFuzzer and the stable runner.

pub mod blob_target;
pub mod model_targets;
pub mod protocol_targets;
pub mod target;

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or if the target finds something.
pub fn run(name: &str, bytes: &[u8]) {
    let mut targets =
        protocol_targets::TARGETS.iter().chain(&blob_target::TARGETS).chain(&model_targets::TARGETS);
    let target = targets.find(|target| target.name == name).expect("every binary names a target");
    (target.run)(bytes);
}
