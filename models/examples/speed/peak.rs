//! The most that this processor can do: sums in registers, without a load or a store.

use std::arch::asm;
use std::arch::x86_64::*;
use std::time::Instant;

const STEPS: usize = 2_000_000;
const RUNS: usize = 15;

// `$x` times `$y` sums at a time, each of a product of its own: more than the latencies need, as many as there are
// registers for.
macro_rules! chain {
    (
        $name:ident, $feature:literal, $class:ident, $set:ident, $rows:literal, $columns:literal,
        |$sum:ident, $x:ident, $y:ident| $next:expr
    ) => {
        #[target_feature(enable = $feature)]
        fn $name() -> f32 {
            let mut xs: [_; $rows] = std::array::from_fn(|at| $set(1e-3 * at as f32));
            let ys: [_; $columns] = std::array::from_fn(|at| $set(1e-3 + at as f32));
            let mut sums = [$set(0.0); $rows * $columns];
            for _ in 0..STEPS {
                for x in &mut xs {
                    // SAFETY: no instruction; it hides that the factors stay, or the products would be made once.
                    unsafe {
                        asm!("/* {0} */", inout($class) * x, options(pure, nomem, nostack, preserves_flags))
                    };
                }
                for (i, &$x) in xs.iter().enumerate() {
                    for (j, &$y) in ys.iter().enumerate() {
                        let $sum = sums[$columns * i + j];
                        sums[$columns * i + j] = $next;
                    }
                }
            }
            let mut all = $set(0.0);
            for $sum in sums {
                let ($x, $y) = (all, ys[1]);
                all = $next;
            }
            // SAFETY: a vector's first value.
            unsafe { *(&raw const all).cast::<f32>() }
        }
    };
}
chain!(separate_512, "avx512f", zmm_reg, _mm512_set1_ps, 5, 4, |sum, x, y| _mm512_add_ps(
    sum,
    _mm512_mul_ps(x, y)
));
chain!(fused_512, "avx512f", zmm_reg, _mm512_set1_ps, 5, 4, |sum, x, y| _mm512_fmadd_ps(x, y, sum));
chain!(separate_256, "avx2,fma", ymm_reg, _mm256_set1_ps, 3, 3, |sum, x, y| _mm256_add_ps(
    sum,
    _mm256_mul_ps(x, y)
));
chain!(fused_256, "avx2,fma", ymm_reg, _mm256_set1_ps, 3, 3, |sum, x, y| _mm256_fmadd_ps(x, y, sum));

/// Prints a line for each instruction set and for one and two threads.
pub fn print() {
    for threads in [1, 2] {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            let separate = rate(2 * 16 * 20, threads, || unsafe { separate_512() });
            // SAFETY: the same.
            let fused = rate(2 * 16 * 20, threads, || unsafe { fused_512() });
            println!("AVX-512 {threads} {separate:.1} {fused:.1}");
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has both.
            let separate = rate(2 * 8 * 9, threads, || unsafe { separate_256() });
            // SAFETY: the same.
            let fused = rate(2 * 8 * 9, threads, || unsafe { fused_256() });
            println!("AVX2 {threads} {separate:.1} {fused:.1}");
        }
    }
}

/// GFLOP/s of the best run, of so many operations a step: noise only ever takes.
fn rate(operations: usize, threads: usize, work: impl Fn() -> f32 + Sync) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| _ = scope.spawn(|| std::hint::black_box(work())));
            std::hint::black_box(work());
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    (operations * STEPS * threads) as f64 / best / 1e9
}
