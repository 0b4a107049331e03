//! The floating-point environment: kernels are defined for rounding to nearest even with subnormal numbers.

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!("x87 arithmetic rounds twice: build for a processor with SSE2");
#[cfg(target_arch = "arm")]
compile_error!("the vectors of 32-bit ARM flush subnormal numbers to zero: build for aarch64");

/// What keeps this thread from computing reproducibly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this thread's floating-point control register is {register:#x}: subnormal numbers are flushed to zero or the \
     rounding is not to nearest; results would differ from other machines' (a library in this process has changed it: \
     set it back before computing)"
)]
pub struct EnvironmentError {
    /// MXCSR on x86, FPCR on aarch64, 0 where it can only be observed.
    pub register: u64,
}

/// Refuses a thread whose arithmetic is not IEEE 754's default: asked at the start of every task, on every thread.
pub fn check() -> Result<(), EnvironmentError> {
    let register = register();
    if register & FORBIDDEN == 0 && observed() { Ok(()) } else { Err(EnvironmentError { register }) }
}

/// DAZ (bit 6), rounding (13, 14) and FTZ (15) of MXCSR.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
const FORBIDDEN: u64 = 1 << 6 | 0b11 << 13 | 1 << 15;
/// FIZ (bit 0), AH (1), FZ16 (19), rounding (22, 23), FZ (24) and default NaNs (25) of FPCR.
#[cfg(target_arch = "aarch64")]
const FORBIDDEN: u64 = 0b11 | 1 << 19 | 0b11 << 22 | 1 << 24 | 1 << 25;
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
const FORBIDDEN: u64 = 0;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn register() -> u64 {
    let mut value = 0u32;
    // SAFETY: the instruction writes the four bytes it is given and changes nothing else.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value.into()
}

#[cfg(target_arch = "aarch64")]
fn register() -> u64 {
    let value: u64;
    // SAFETY: reading FPCR changes nothing.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn register() -> u64 {
    0
}

/// The same by its effects, which is all that some targets show.
fn observed() -> bool {
    use std::hint::black_box as hide;
    let subnormal = hide(f32::MIN_POSITIVE) * hide(0.5);
    let epsilon = hide(f32::EPSILON);
    // Halves go to the even neighbour, upwards and downwards.
    let down = hide(1.0f32) + epsilon * 0.5;
    let up = hide(1.0 + f32::EPSILON) + epsilon * 0.5;
    let below = hide(-1.0f32) - epsilon * 0.75;
    subnormal > 0.0
        && hide(f32::from_bits(1)) * hide(2.0) == f32::from_bits(2)
        && (down, up, below) == (1.0, 1.0 + 2.0 * f32::EPSILON, -1.0 - f32::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_environment_is_accepted() {
        assert_eq!(check(), Ok(()));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn flushing_and_other_roundings_are_refused() {
        for bit in [6, 13, 14, 15] {
            let default = 0x1f80u32;
            let changed = default | 1 << bit;
            let set = |value: &u32| {
                // SAFETY: only the control bits differ from the default, and they are set back below.
                unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const *value, options(nostack)) };
            };
            set(&changed);
            let found = check();
            set(&default);
            let error = found.unwrap_err();
            assert_eq!(error.register & u64::from(changed), u64::from(changed) & error.register);
            assert!(error.register & 1 << bit != 0 && error.to_string().contains("set it back"), "{error}");
        }
        assert_eq!(check(), Ok(()));
    }
}
