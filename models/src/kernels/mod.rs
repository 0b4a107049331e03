//! Reproducible kernels: the same bits on every machine, whatever its vectors, caches and threads.
//!
//! The definition, for everything that is a sum of products (matrix product, convolution and their gradients):
//! - one rounding for each multiplication and one for each addition: never a fused multiply-add;
//! - terms in ascending order, in blocks of [`BLOCK`]: each block is a chain of additions that starts at +0, and the
//!   blocks' sums are added in ascending order. What a block spans never depends on the machine.
//!
//! Within that, tile sizes, vector width and the order of independent results are free: they cannot change a bit.
//! Terms that are zero may be left out: an accumulator that starts at +0 never becomes −0, so adding ±0 changes
//! nothing. Inputs must be finite.
//!
//! `exp` and `ln` are in [`real`]; no kernel calls the C library.

pub mod conv;
pub mod conv_gradient;
pub mod dense;
pub mod matmul;
pub mod real;
pub mod sgd;
pub mod softmax;
mod tile;

pub use tile::{Isa, isa};

/// Terms of one chain of additions.
pub const BLOCK: usize = 256;

/// Gives a function whose body is compiled once for each instruction set, and picks at run time.
///
/// Only for elementwise work: no reassociation is allowed by the language, so the bits are the same in all.
macro_rules! vectorized {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                match $crate::kernels::isa() {
                    // SAFETY: `isa` answers Avx512 only where the processor has f, bw, dq and vl.
                    $crate::kernels::Isa::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: `isa` answers Avx2 only where the processor has it.
                    $crate::kernels::Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::kernels::Isa::Portable => {}
                }
            }
            plain($($arg),*)
        }
    };
}
pub(crate) use vectorized;
