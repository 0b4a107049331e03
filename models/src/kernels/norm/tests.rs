//! Normalisations against their definition, value by value.

use super::*;
use crate::kernels::fold::defined_sum;
use crate::kernels::rows::defined_row_sum;
use protocol::rng::Rng;

const EPSILON: f32 = 1e-5;

fn kinds() -> [NormKind; 6] {
    [
        NormKind::Layer { width: 5 },
        NormKind::Layer { width: 130 },
        NormKind::Rms { width: 96 },
        NormKind::Group { channels: 6, pixels: 35, groups: 3 },
        NormKind::Group { channels: 4, pixels: 9, groups: 1 },
        NormKind::Group { channels: 4, pixels: 70, groups: 4 },
    ]
}

/// The values of one tensor after another: y, dx, dgain, dshift.
fn defined(norm: Norm, x: &[f32], gain: &[f32], shift: &[f32], dy: &[f32]) -> [Vec<f32>; 4] {
    let row = norm.row();
    let centred = norm.shifts();
    let owner = |at: usize| match norm.kind {
        NormKind::Layer { width } | NormKind::Rms { width } => at % width,
        NormKind::Group { channels, pixels, .. } => at / pixels % channels,
    };
    let (mut y, mut dx, mut hats) = (Vec::new(), Vec::new(), Vec::new());
    for (start, x) in (0..).step_by(row).zip(x.chunks(row)) {
        let width = row as f32;
        let mean = if centred { defined_row_sum(x) / width } else { 0.0 };
        let squares: Vec<f32> = x.iter().map(|x| (x - mean) * (x - mean)).collect();
        let inverse = 1.0 / (defined_row_sum(&squares) / width + norm.epsilon).sqrt();
        let hat: Vec<f32> = x.iter().map(|x| (x - mean) * inverse).collect();
        let g: Vec<f32> = (start..start + row).map(|at| dy[at] * gain[owner(at)]).collect();
        let slopes: Vec<f32> = g.iter().zip(&hat).map(|(g, hat)| g * hat).collect();
        let first = if centred { defined_row_sum(&g) / width } else { 0.0 };
        let second = defined_row_sum(&slopes) / width;
        for (at, hat) in (start..).zip(&hat) {
            let value = hat * gain[owner(at)];
            y.push(if centred { value + shift[owner(at)] } else { value });
            dx.push(((g[at - start] - first) - hat * second) * inverse);
        }
        hats.extend(hat);
    }
    let pixels = if let NormKind::Group { pixels, .. } = norm.kind { pixels } else { 1 };
    let over_rows = |own: usize, factor: &dyn Fn(usize) -> f32| {
        let parts: Vec<f32> = (0..x.len() / pixels)
            .filter(|part| owner(part * pixels) == own)
            .map(|part| {
                let terms: Vec<f32> =
                    (part * pixels..(part + 1) * pixels).map(|at| dy[at] * factor(at)).collect();
                defined_row_sum(&terms)
            })
            .collect();
        defined_sum(&parts)
    };
    let dgain = (0..norm.gains()).map(|own| over_rows(own, &|at| hats[at])).collect();
    let dshift = (0..if centred { norm.gains() } else { 0 }).map(|own| over_rows(own, &|_| 1.0)).collect();
    [y, dx, dgain, dshift]
}

#[test]
fn every_machine_gives_the_defined_bits() {
    let mut rng = Rng::new(6);
    for (kind, examples) in kinds().into_iter().flat_map(|kind| [(kind, 1), (kind, 3), (kind, 300)]) {
        let norm = Norm { kind, epsilon: EPSILON };
        let rows = if let NormKind::Group { groups, .. } = kind { groups } else { 1 };
        let mut draw = |count: usize| (0..count).map(|_| rng.unit() as f32 - 0.3).collect::<Vec<f32>>();
        let len = examples * rows * norm.row();
        let (x, gain, dy) = (draw(len), draw(norm.gains()), draw(len));
        let shift = draw(if norm.shifts() { norm.gains() } else { 0 });
        let want = defined(norm, &x, &gain, &shift, &dy);
        for machine in Machine::all(&[1, 2, 7]) {
            let mut got = want.each_ref().map(|values| vec![f32::NAN; values.len()]);
            let mut stats = vec![0.0; 2 * examples * rows];
            let [y, dx, dgain, dshift] = &mut got;
            forward(&machine, norm, &x, &gain, &shift, y, &mut stats);
            backward(&machine, norm, &x, &gain, &stats, &dy, dx, dgain, dshift);
            assert_eq!(got, want, "{kind:?} × {examples}, {machine:?}");
        }
    }
}

#[test]
fn gradients_are_the_slopes() {
    let machine = Machine::new(1);
    for kind in [
        NormKind::Layer { width: 6 },
        NormKind::Rms { width: 6 },
        NormKind::Group { channels: 2, pixels: 3, groups: 1 },
    ] {
        let norm = Norm { kind, epsilon: EPSILON };
        let x = [0.5, -1.0, 2.0, 0.25, 0.0, 1.5];
        let dy = [1.0, 0.5, -0.5, 0.25, 2.0, -1.0];
        let gain: Vec<f32> = (0..norm.gains()).map(|at| 1.0 + at as f32 * 0.1).collect();
        let shift = vec![0.1; if norm.shifts() { norm.gains() } else { 0 }];
        let value = |x: &[f32; 6]| {
            let (mut y, mut stats) = ([0.0; 6], [0.0; 2]);
            forward(&machine, norm, x, &gain, &shift, &mut y, &mut stats);
            (y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f32>(), stats)
        };
        let (mut dx, mut dgain, mut dshift) = ([0.0; 6], vec![0.0; gain.len()], vec![0.0; shift.len()]);
        backward(&machine, norm, &x, &gain, &value(&x).1, &dy, &mut dx, &mut dgain, &mut dshift);
        for at in 0..6 {
            let (mut up, mut down) = (x, x);
            up[at] += 1e-2;
            down[at] -= 1e-2;
            let slope = (value(&up).0 - value(&down).0) / 2e-2;
            assert!((slope - dx[at]).abs() < 2e-3, "{kind:?} at {at}: {slope}, not {}", dx[at]);
        }
    }
}
