//! Which instruction set the loops use. The bits are the same in all.

use std::sync::OnceLock;

/// An instruction set this processor has and this crate has loops for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

/// The sets there are loops for. A value outside of [`Isa`] promises nothing about the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// x86-64 with AVX-512 (f, bw, dq, vl).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// x86-64 with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor of the target has: SSE2, NEON, or simd128 where the build turns it on.
    Portable,
}

impl Isa {
    /// The widest this processor has.
    pub fn best() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| Self::available()[0])
    }

    /// All that this processor has, widest first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                found.push(Self(Kind::Avx512));
            }
            if has!("avx2") {
                found.push(Self(Kind::Avx2));
            }
        }
        found.push(Self(Kind::Portable));
        found
    }

    /// Its name, as reports print it.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2",
            Kind::Portable => "portable",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}
