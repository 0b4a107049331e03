use super::*;
use crate::kernels::fold::defined_sum;
use protocol::rng::Rng;

#[test]
fn every_instruction_set_gives_the_bits_of_the_definition() {
    let mut rng = Rng::new(9);
    let mut draw = |n: usize| (0..n).map(|_| rng.unit() as f32 - 0.3).collect::<Vec<f32>>();
    for (rows, columns, terms, stride) in [
        (1, 1, 1, 1),
        (14, 32, 700, 1),
        (13, 16, 256, 3),
        (5, 17, 257, 800),
        (6, 9, 0, 2),
        (7, 30, 300, 2),
        (1, 3, 65_536, 1),
        (2, 2, 66_000, 1),
    ] {
        let a = draw(stride * rows + 3 * terms);
        let b = draw(terms * PANEL);
        let steps = Steps::strided(terms, 3);
        let mut want = [0f32; ROWS * PANEL];
        for i in 0..rows {
            for j in 0..columns {
                let terms: Vec<f32> = (0..terms).map(|p| a[i * stride + 3 * p] * b[p * PANEL + j]).collect();
                want[i * PANEL + j] = defined_sum(&terms);
            }
        }
        for isa in Isa::available() {
            let mut got = Tile::new();
            sums(isa, &a, stride, &steps, &b, rows, columns, &mut got);
            for i in 0..rows {
                let want = &want[i * PANEL..][..columns];
                assert_eq!(&got.row(i)[..columns], want, "{isa:?} {rows}×{columns}×{terms}");
            }
        }
    }
}
