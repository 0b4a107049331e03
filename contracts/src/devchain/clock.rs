//! The only file of this crate that asks what time it is.

/// Unix seconds.
#[expect(clippy::disallowed_methods, reason = "this file is where the clock is read")]
pub(super) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the system's clock is not before 1970")
        .as_secs()
}
