//! Each model against candle's own layers: values and gradients.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};
use protocol::rng::Rng;

use super::*;
use crate::data::Dataset;
use crate::engine::{Batch, Session};
use crate::kernels::Machine;
use crate::kernels::optimiser::Optimiser;
use crate::train::{Control, TrainParams, train};
use crate::weights::Weights;

fn spec(kind: ModelKind, input: [u32; 3]) -> ModelSpec {
    ModelSpec { kind, input, classes: 10 }
}

fn kinds() -> Vec<ModelKind> {
    let mlp = ModelKind::Mlp { hidden: vec![33, 20] };
    vec![ModelKind::Logistic, mlp, ModelKind::CnnFlower, ModelKind::CnnFedavg, ModelKind::Resnet20]
}

/// Odd sides: pooling drops a row and a column. (Candle cannot take the gradient of a strided convolution of odd
/// sides.)
fn shapes() -> Vec<(ModelKind, [u32; 3])> {
    let other = |kind: &ModelKind| if *kind == ModelKind::Resnet20 { [3, 20, 24] } else { [3, 18, 21] };
    kinds().into_iter().flat_map(|kind| [(kind.clone(), [1, 28, 28]), (kind.clone(), other(&kind))]).collect()
}

#[test]
fn the_sizes_are_the_published_ones() {
    let count = |kind| parameter_count(&spec(kind, [1, 28, 28])).unwrap();
    assert_eq!(count(ModelKind::CnnFedavg), 1_663_370);
    assert_eq!(count(ModelKind::CnnFlower), 44_426);
    assert_eq!(count(ModelKind::Mlp { hidden: vec![200, 200] }), 199_210);
    assert_eq!(count(ModelKind::Logistic), 7_850);
    // The paper's 0.27 M, two 1×1 convolutions with their normalisations among them.
    assert_eq!(parameter_count(&spec(ModelKind::Resnet20, [3, 32, 32])).unwrap(), 272_474);
}

#[test]
fn tensors_are_named_and_shaped_as_in_a_state_dict_and_sorted() {
    let names: Vec<_> = parameters(&spec(ModelKind::CnnFlower, [3, 32, 32])).unwrap();
    let names: Vec<_> = names.iter().map(|p| (p.name.as_str(), p.shape.as_slice())).collect();
    let want: [(&str, &[usize]); 10] = [
        ("conv1.bias", &[6]),
        ("conv1.weight", &[6, 3, 5, 5]),
        ("conv2.bias", &[16]),
        ("conv2.weight", &[16, 6, 5, 5]),
        ("fc1.bias", &[120]),
        ("fc1.weight", &[120, 400]),
        ("fc2.bias", &[84]),
        ("fc2.weight", &[84, 120]),
        ("fc3.bias", &[10]),
        ("fc3.weight", &[10, 84]),
    ];
    assert_eq!(names, want);
}

#[test]
fn impossible_shapes_are_refused_with_the_layer_that_does_not_fit() {
    let refused = |kind, input| parameters(&spec(kind, input)).unwrap_err().to_string();
    assert_eq!(
        refused(ModelKind::CnnFlower, [1, 3, 3]),
        "the input of 3×3 is too small for the first convolution and its pooling: it needs at least 6×6"
    );
    assert_eq!(
        refused(ModelKind::CnnFlower, [1, 15, 28]),
        "the input of 5×12 is too small for the second convolution and its pooling: it needs at least 6×6"
    );
    assert!(parameters(&spec(ModelKind::CnnFlower, [1, 16, 16])).is_ok());
    assert!(refused(ModelKind::CnnFedavg, [1, 3, 3]).contains("too small"));
    assert!(parameters(&spec(ModelKind::CnnFedavg, [1, 4, 4])).is_ok());
    assert!(refused(ModelKind::Logistic, [0, 1, 1]).contains("between 1 and"));
    assert!(refused(ModelKind::Logistic, [65_536, 65_536, 65_536]).contains("values"));
    let wide = ModelKind::Mlp { hidden: vec![65_536; 16] };
    assert!(refused(wide, [1, 1, 1]).contains("parameters"));
    assert!(refused(ModelKind::Mlp { hidden: vec![0] }, [1, 1, 1]).contains("width"));
    let one_class = ModelSpec { kind: ModelKind::Logistic, input: [1, 1, 1], classes: 1 };
    assert!(parameters(&one_class).unwrap_err().to_string().contains("classes"));
}

/// 2×2 max pooling by reductions: candle 0.11's `max_pool2d` passes on a quarter of the gradient (it multiplies by
/// the share of maxima in a window where it should divide by their number).
fn pool(x: &Tensor) -> Result<Tensor> {
    let (n, channels, height, width) = x.dims4()?;
    let even = x.narrow(2, 0, height / 2 * 2)?.narrow(3, 0, width / 2 * 2)?.contiguous()?;
    even.reshape((n * channels, height / 2, 2, width / 2, 2))?.max(4)?.max(2)?.reshape((
        n,
        channels,
        height / 2,
        width / 2,
    ))
}

/// The same model out of candle's layers.
fn reference(kind: &ModelKind, vars: &BTreeMap<String, Tensor>, x: &Tensor) -> Result<Tensor> {
    let dense = |x: &Tensor, name: &str| {
        x.matmul(&vars[&format!("{name}.weight")].t()?)?.broadcast_add(&vars[&format!("{name}.bias")])
    };
    let conv = |x: &Tensor, name: &str, padding| {
        let bias = vars[&format!("{name}.bias")].reshape((1, (), 1, 1))?;
        let y = x.conv2d(&vars[&format!("{name}.weight")], padding, 1, 1, 1)?;
        pool(&y.broadcast_add(&bias)?.relu()?)
    };
    match kind {
        ModelKind::Logistic => dense(&x.flatten_from(1)?, "fc"),
        ModelKind::Mlp { hidden } => {
            let mut x = x.flatten_from(1)?;
            for layer in 1..=hidden.len() {
                x = dense(&x, &format!("fc{layer}"))?.relu()?;
            }
            dense(&x, &format!("fc{}", hidden.len() + 1))
        }
        ModelKind::CnnFedavg => {
            let x = conv(&conv(x, "conv1", 2)?, "conv2", 2)?.flatten_from(1)?;
            dense(&dense(&x, "fc1")?.relu()?, "fc2")
        }
        ModelKind::Resnet20 => resnet(vars, x),
        ModelKind::Gpt { .. } => unreachable!("it takes no values; its own tests compare it"),
        ModelKind::CnnFlower => {
            let x = conv(&conv(x, "conv1", 0)?, "conv2", 0)?.flatten_from(1)?;
            dense(&dense(&dense(&x, "fc1")?.relu()?, "fc2")?.relu()?, "fc3")
        }
    }
}

fn resnet(vars: &BTreeMap<String, Tensor>, x: &Tensor) -> Result<Tensor> {
    let normalised = |x: &Tensor, names: [String; 2], stride: usize| {
        let weight = &vars[&format!("{}.weight", names[0])];
        let x = x.conv2d(weight, weight.dim(3)? / 2, stride, 1, 1)?;
        let (n, channels, height, width) = x.dims4()?;
        let rows = x.reshape((n, 8, channels / 8 * height * width))?;
        let centred = rows.broadcast_sub(&rows.mean_keepdim(2)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
        let x = centred.broadcast_div(&deviation)?.reshape((n, channels, height, width))?;
        let own = |part: &str| vars[&format!("{}.{part}", names[1])].reshape((1, (), 1, 1));
        x.broadcast_mul(&own("weight")?)?.broadcast_add(&own("bias")?)
    };
    let mut x = normalised(x, ["conv1".into(), "norm1".into()], 1)?.relu()?;
    for (stage, block) in (1..=3).flat_map(|stage| (0..3).map(move |block| (stage, block))) {
        let name = |part: &str| format!("layer{stage}.{block}.{part}");
        let stride = if stage > 1 && block == 0 { 2 } else { 1 };
        let y = normalised(&x, [name("conv1"), name("norm1")], stride)?.relu()?;
        let y = normalised(&y, [name("conv2"), name("norm2")], 1)?;
        let past =
            if stride == 2 { normalised(&x, [name("downsample.0"), name("downsample.1")], 2)? } else { x };
        x = (y + past)?.relu()?;
    }
    x.mean(3)?.mean(2)?.matmul(&vars["fc.weight"].t()?)?.broadcast_add(&vars["fc.bias"])
}

fn close(what: &str, got: &Tensor, want: &Tensor) {
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (got, want) = (flat(got), flat(want));
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
    for (at, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= 5e-5 * size, "{what} at {at}: {got}, candle has {want}");
    }
}

#[test]
fn logits_agree_with_candle() {
    for (kind, input) in shapes() {
        let spec = spec(kind.clone(), input);
        let weights = Weights::init(&spec, 8).unwrap();
        let x = examples(&spec, 5);
        let none = Optimiser::Sgd { rate: 0.0, momentum: 0.0 };
        let mut session =
            Session::new(program(&spec, 0).unwrap(), weights.values(), none, Machine::new(1)).unwrap();
        let inputs: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        let got = session.infer(&[Batch::Floats(&inputs)], None).unwrap();
        let got = Tensor::new(got, &Device::Cpu).unwrap();
        let tensors = tensors(&weights);
        close(&format!("{kind:?} logits"), &got, &reference(&kind, &tensors, &x).unwrap());
    }
}

#[test]
fn a_training_step_agrees_with_candle() {
    for (kind, input) in shapes() {
        let spec = spec(kind.clone(), input);
        let weights = Weights::init(&spec, 8).unwrap();
        let x = examples(&spec, 5);
        let labels = [3u32, 0, 9, 9, 1];
        let vars: BTreeMap<String, Var> = tensors(&weights)
            .into_iter()
            .map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap()))
            .collect();
        let before = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let logits = reference(&kind, &before, &x).unwrap();
        let target = Tensor::new(&labels, &Device::Cpu).unwrap();
        let loss = candle_nn::loss::cross_entropy(&logits, &target).unwrap();
        let gradients = loss.backward().unwrap();

        let data = Dataset::new(x.flatten_all().unwrap().to_vec1().unwrap(), input, labels.into()).unwrap();
        let params =
            TrainParams { local_epochs: 1, minibatch: 5, learning_rate: 1.0, momentum: 0.0, seed: 0 };
        let trained = train(&weights, &data, &params, &mut |_| Control::Continue).unwrap();
        assert!((trained.loss - loss.to_scalar::<f32>().unwrap()).abs() < 1e-4);
        let after = tensors(&trained.weights);
        for (name, var) in &vars {
            let got = (var.as_tensor() - &after[name]).unwrap();
            close(&format!("{kind:?} {name}"), &got, gradients.get(var).unwrap());
        }
    }
}

fn tensors(weights: &Weights) -> BTreeMap<String, Tensor> {
    let tensor = |shape, values| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    weights.tensors().map(|(name, shape, values)| (name, tensor(shape, values))).collect()
}

fn examples(spec: &ModelSpec, count: usize) -> Tensor {
    let mut rng = Rng::new(5);
    let inputs: Vec<f32> = (0..count * spec.input_len()).map(|_| rng.unit() as f32 - 0.2).collect();
    let [channels, height, width] = spec.input.map(|side| side as usize);
    Tensor::from_vec(inputs, (count, channels, height, width), &Device::Cpu).unwrap()
}
