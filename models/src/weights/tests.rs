//! Bytes out and in, and everything that is refused.

use proptest::prelude::*;
use protocol::job::ModelKind;
use safetensors::tensor::TensorView;

use super::*;

fn spec() -> ModelSpec {
    ModelSpec { kind: ModelKind::Mlp { hidden: vec![5] }, input: [1, 2, 3], classes: 3 }
}

type Part = (&'static str, Dtype, Vec<usize>, Vec<u8>);

fn file(tensors: &[Part]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn parts() -> Vec<Part> {
    vec![
        ("fc2.weight", Dtype::F32, vec![3, 5], vec![1; 60]),
        ("fc1.weight", Dtype::F32, vec![5, 6], vec![2; 120]),
        ("fc2.bias", Dtype::F32, vec![3], vec![3; 12]),
        ("fc1.bias", Dtype::F32, vec![5], vec![4; 20]),
    ]
}

#[test]
fn the_canonical_file_is_what_the_reference_reader_reads() {
    let weights = Weights::init(&spec(), 1).unwrap();
    let bytes = weights.to_bytes();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!((metadata.len(), metadata.get("format").map(String::as_str)), (1, Some("pt")));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut start = 0;
    for parameter in zoo::parameters(&spec()).unwrap() {
        let view = file.tensor(&parameter.name).unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::F32, parameter.shape.as_slice()));
        let values: Vec<u8> =
            weights.values()[start..start + parameter.len()].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(view.data(), values);
        start += parameter.len();
    }
    assert_eq!(Weights::parse(&spec(), &bytes).unwrap(), weights);
    assert_eq!(Digest::of(&bytes), weights.digest());
}

#[test]
fn initial_weights_follow_the_seed_and_keep_their_bounds() {
    let (one, two) = (Weights::init(&spec(), 1).unwrap(), Weights::init(&spec(), 2).unwrap());
    assert_ne!(one, two);
    assert_eq!(one, Weights::init(&spec(), 1).unwrap());
    assert!(one.values().iter().all(|value| value.abs() <= 1.0 / 5f32.sqrt()));
    assert_eq!(
        one.digest().to_string(),
        "0xee97dc1baaab4b9214b471fe9c92da1645d91fcaa78de8bd282b128d007f996f",
        "a change here changes every job's first model"
    );
}

#[test]
fn order_and_metadata_of_a_file_do_not_matter() {
    let weights = Weights::parse(&spec(), &file(&parts())).unwrap();
    assert_eq!(weights.values()[0].to_le_bytes(), [4; 4]);
    assert_eq!(Weights::parse(&spec(), &weights.to_bytes()).unwrap(), weights);
}

#[test]
fn what_is_not_the_model_is_refused() {
    let refused = |change: &dyn Fn(&mut Vec<Part>)| {
        let mut parts = parts();
        change(&mut parts);
        Weights::parse(&spec(), &file(&parts)).unwrap_err().to_string()
    };
    assert_eq!(refused(&|p| drop(p.pop())), "the weights have no tensor named 'fc1.bias'");
    assert_eq!(
        refused(&|p| p[0].0 = "fc3.weight"),
        "the weights have a tensor 'fc3.weight' that this model does not know"
    );
    assert_eq!(
        refused(&|p| p[0].2 = vec![5, 3]),
        "tensor 'fc2.weight' is F32 [5, 3], the model has F32 [3, 5]"
    );
    assert_eq!(refused(&|p| p[2].1 = Dtype::I32), "tensor 'fc2.bias' is I32 [3], the model has F32 [3]");
    assert_eq!(
        refused(&|p| p[3].3[16..].copy_from_slice(&f32::NAN.to_le_bytes())),
        "tensor 'fc1.bias' has a value that is not finite, at 4"
    );
    assert!(matches!(Weights::parse(&spec(), b"not safetensors"), Err(ModelError::Format(_))));
    let big = vec![0; (HEADER_BYTES_MAX + 1000) as usize];
    assert!(matches!(Weights::parse(&spec(), &big), Err(ModelError::Range { .. })));
    assert!(matches!(
        Weights::new(&spec(), vec![0.0; 3]),
        Err(ModelError::ParameterCount { got: 3, want: 53 })
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, flip in 0usize..600, with: u8) {
        let _ = Weights::parse(&spec(), &bytes);
        let mut good = Weights::init(&spec(), 1).unwrap().to_bytes();
        let at = flip % good.len();
        good[at] ^= with;
        let _ = Weights::parse(&spec(), &good);
    }
}
