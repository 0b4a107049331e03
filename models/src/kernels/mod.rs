//! Reproducible kernels: the same bits on every machine, whatever its vectors, caches and threads.
//!
//! The definition, for everything that is a sum of products (matrix product, convolution and their gradients):
//! - one rounding for each multiplication and one for each addition: never a fused multiply-add;
//! - terms in ascending order, in blocks of [`BLOCK`]: each block is a chain of additions that starts at +0, and the
//!   blocks' sums are the terms of a sum of the same kind. What a block spans never depends on the machine.
//!
//! Within that, tile sizes, vector width and the order of independent results are free: they cannot change a bit.
//! Terms that are zero may be left out: an accumulator that starts at +0 never becomes −0, so adding ±0 changes
//! nothing. Inputs must be finite.
//!
//! `exp` and `ln` are in [`real`]; no kernel calls the C library.

pub mod activation;
mod aligned;
pub mod attention;
pub mod conv;
pub mod conv2d;
pub mod conv_gradient;
pub mod dense;
pub mod embedding;
pub mod environment;
mod fold;
mod isa;
mod math;
pub mod matmul;
pub mod norm;
pub mod optimiser;
pub mod pool;
pub mod pooling;
pub mod quantised;
pub mod random;
pub mod real;
mod rows;
pub mod softmax;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(test)]
mod wild;

pub use isa::Isa;
pub(crate) use isa::Kind;
pub use pool::Pool;

/// Terms of one chain of additions.
pub const BLOCK: usize = 256;

/// What kernels run on: it decides how long they take and nothing else.
#[derive(Debug)]
pub struct Machine {
    /// Instruction set of the loops.
    pub isa: Isa,
    /// Threads they share work among.
    pub pool: Pool,
}

impl Machine {
    /// The widest instruction set there is and this many threads, the caller's among them.
    pub fn new(threads: usize) -> Self {
        Self::with(Isa::best(), threads)
    }

    /// This instruction set and this many threads.
    pub fn with(isa: Isa, threads: usize) -> Self {
        Self { isa, pool: Pool::new(threads) }
    }

    /// Every instruction set that this processor has with each of these numbers of threads.
    pub fn all(threads: &[usize]) -> Vec<Self> {
        let isas = Isa::available();
        isas.iter().flat_map(|&isa| threads.iter().map(move |&count| Self::with(isa, count))).collect()
    }
}

/// Gives a function whose body is compiled once for each instruction set; the one to use is its first argument.
///
/// Only for elementwise work: no reassociation is allowed by the language, so the bits are the same in all.
macro_rules! vectorized {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        $vis fn $name(isa: $crate::kernels::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                match isa.kind() {
                    // SAFETY: an `Isa` is AVX-512 only where the processor has f, bw, dq and vl.
                    $crate::kernels::Kind::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: an `Isa` is AVX2 only where the processor has it.
                    $crate::kernels::Kind::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::kernels::Kind::Portable => {}
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = isa;
            plain($($arg),*)
        }
    };
}
pub(crate) use vectorized;
