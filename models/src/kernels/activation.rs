//! Functions of one value, and their slopes.

use super::math::{erf, exp, sigmoid, tanh};
use super::{Machine, vectorized};

/// One such function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x above 0, else +0.
    Relu,
    /// x · Φ(x), with Φ by the error function.
    Gelu,
    /// x / (1 + e^−x).
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^−x).
    Sigmoid,
}

/// Values that are worth a thread of their own.
const GRAIN: usize = 1 << 14;

/// Writes the function of each value of `x` to `y`.
///
/// # Panics
/// If the lengths differ.
pub fn forward(machine: &Machine, activation: Activation, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    machine.pool.rows(y, 1, GRAIN, &|first, y| {
        let x = &x[first..][..y.len()];
        let apply = match activation {
            Activation::Relu => relu,
            Activation::Gelu => gelu,
            Activation::Silu => silu,
            Activation::Tanh => tanhs,
            Activation::Sigmoid => sigmoids,
        };
        apply(machine.isa, x, y);
    });
}

/// Writes the gradient of `x` to `dx`, given that of the function's values.
///
/// # Panics
/// If the lengths differ.
pub fn backward(machine: &Machine, activation: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_eq!((x.len(), dy.len()), (dx.len(), dx.len()));
    machine.pool.rows(dx, 1, GRAIN, &|first, dx| {
        let (x, dy) = (&x[first..][..dx.len()], &dy[first..][..dx.len()]);
        let apply = match activation {
            Activation::Relu => relu_gradient,
            Activation::Gelu => gelu_gradient,
            Activation::Silu => silu_gradient,
            Activation::Tanh => tanh_gradient,
            Activation::Sigmoid => sigmoid_gradient,
        };
        apply(machine.isa, x, dy, dx);
    });
}

macro_rules! elementwise {
    ($name:ident, $gradient:ident, |$x:ident| $value:expr, $slope:expr) => {
        vectorized! {
            fn $name(x: &[f32], y: &mut [f32]) {
                for (y, &$x) in y.iter_mut().zip(x) {
                    *y = $value;
                }
            }
        }
        vectorized! {
            fn $gradient(x: &[f32], dy: &[f32], dx: &mut [f32]) {
                for ((dx, &dy), &$x) in dx.iter_mut().zip(dy).zip(x) {
                    *dx = dy * $slope;
                }
            }
        }
    };
}
elementwise!(silu, silu_gradient, |x| x * sigmoid(x), {
    let s = sigmoid(x);
    s * (1.0 + x * (1.0 - s))
});
elementwise!(tanhs, tanh_gradient, |x| tanh(x), {
    let t = tanh(x);
    1.0 - t * t
});
elementwise!(sigmoids, sigmoid_gradient, |x| sigmoid(x), {
    let s = sigmoid(x);
    s * (1.0 - s)
});
elementwise!(gelu, gelu_gradient, |x| (0.5 * x) * (1.0 + erf(x * FRAC_1_SQRT_2)), {
    let below = 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2));
    below + x * (FRAC_1_SQRT_2_PI * exp(-0.5 * (x * x)))
});
pub(super) const FRAC_1_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1 / √(2π).
pub(super) const FRAC_1_SQRT_2_PI: f32 = 0.398_942_3;

vectorized! {
    fn relu(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x > 0.0 { x } else { 0.0 };
        }
    }
}

vectorized! {
    fn relu_gradient(x: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = if x > 0.0 { dy } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::rng::Rng;

    const ALL: [Activation; 5] =
        [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Tanh, Activation::Sigmoid];

    #[test]
    fn every_machine_gives_the_bits_of_one_value_at_a_time() {
        let mut rng = Rng::new(2);
        let mut x: Vec<f32> = (0..40_000).map(|_| (rng.unit() as f32 - 0.5) * 30.0).collect();
        x.extend([0.0, -0.0, 1e-30, -1e-30, 90.0, -90.0, 1e30, -1e30]);
        let dy: Vec<f32> = x.iter().map(|x| 0.3 - x * 0.01).collect();
        for activation in ALL {
            let one = Machine::with(*crate::kernels::Isa::available().last().unwrap(), 1);
            let (mut want, mut slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            for at in 0..x.len() {
                forward(&one, activation, &x[at..=at], &mut want[at..=at]);
                backward(&one, activation, &x[at..=at], &dy[at..=at], &mut slope[at..=at]);
            }
            for machine in Machine::all(&[1, 2, 7]) {
                let (mut y, mut dx) = (vec![1.0; x.len()], vec![1.0; x.len()]);
                forward(&machine, activation, &x, &mut y);
                backward(&machine, activation, &x, &dy, &mut dx);
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&y), bits(&want), "{activation:?} {machine:?}");
                assert_eq!(bits(&dx), bits(&slope), "{activation:?} {machine:?}");
            }
        }
    }

    #[test]
    fn slopes_are_those_of_the_functions() {
        let machine = Machine::new(1);
        for activation in ALL {
            for x in [-3.0f32, -1.1, -0.2, 0.3, 0.9, 4.0] {
                let (mut y, mut dx) = ([0.0; 2], [0.0]);
                forward(&machine, activation, &[x - 1e-2, x + 1e-2], &mut y);
                backward(&machine, activation, &[x], &[1.0], &mut dx);
                assert!(((y[1] - y[0]) / 2e-2 - dx[0]).abs() < 1e-4, "{activation:?} at {x}");
            }
        }
    }
}
