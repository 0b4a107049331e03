//! The vector loops against the definition.

use super::weights::weigh;
use super::*;
use protocol::rng::Rng;

#[test]
fn every_instruction_set_gives_the_bits_of_the_definition() {
    let mut rng = Rng::new(3);
    for (channels, kernel) in [(1usize, 5usize), (3, 5), (6, 5), (7, 3), (32, 5), (64, 5), (40, 2)] {
        let (stride, width, height) = (channels, 11, 9);
        let run = (channels * kernel).next_multiple_of(LANES);
        let pixels: Vec<f32> = (0..height * width * stride + run).map(|_| rng.unit() as f32 - 0.5).collect();
        let last = ((height - kernel) * width + width - kernel) as u64;
        let alive: Vec<Taken> = (0..40)
            .map(|_| Taken { pixel: rng.below(last + 1) as u32, gradient: rng.unit() as f32 - 0.5 })
            .collect();
        let before: Vec<f32> = (0..kernel * run).map(|_| rng.unit() as f32).collect();
        let mut want = before.clone();
        for y in 0..kernel {
            for x in 0..run {
                let at = |taken: &Taken| pixels[taken.pixel as usize * stride + y * width * stride + x];
                want[y * run + x] += alive.iter().fold(0.0, |sum, taken| sum + taken.gradient * at(taken));
            }
        }
        for isa in Isa::available() {
            let mut got = before.clone();
            weigh(isa, &pixels, stride, width * stride, kernel, run, &alive, &mut got);
            assert_eq!(got, want, "{isa:?}, {channels} channels, kernel {kernel}");
        }
    }
}
