//! What `models` reads: updates and answers from workers, weights and inputs from anyone, data files.

use std::sync::Arc;

use models::data::csv::{self, CsvOptions};
use models::data::{Dataset, idx, shard as shards};
use models::infer::prompts::{self, Prompt};
use models::infer::{Answer, decode_inputs, encode_inputs, read_answers, write_answers};
use models::replay::TrainingTask;
use models::replay::check::Check;
use models::replay::checkpoints::InMemory;
use models::replay::evidence::{self, Claim, Evidence, Interval, Statement};
use models::replay::party::Party;
use models::train::Control;
use models::update::{self, Update, UpdateCheck};
use models::weights::Weights;
use protocol::dispute::shape::Trace;
use protocol::dispute::trace::Computation as _;
use protocol::hash::Digest;
use protocol::job::{ModelKind, ModelSpec, Real, ShardBlob};

use super::target::Target;

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target { name: "update", run: update, samples: update_samples },
    Target { name: "weights", run: weights, samples: weights_samples },
    Target { name: "inputs", run: inputs, samples: inputs_samples },
    Target { name: "answers", run: answers, samples: answers_samples },
    Target { name: "idx", run: idx, samples: idx_samples },
    Target { name: "csv", run: csv, samples: csv_samples },
    Target { name: "shard", run: shard, samples: shard_samples },
    Target { name: "evidence", run: evidence, samples: evidence_samples },
];

const PARAMETERS: u64 = 20;
const SCALE_BITS: u8 = 16;
const ITEMS_MAX: u64 = 8;

/// The first byte says how the rest is cut: checked whole or in pieces, the answer is the same.
fn update(bytes: &[u8]) {
    let Some((cut, blob)) = bytes.split_first() else { return };
    let whole = Update::parse(blob, PARAMETERS, SCALE_BITS);
    let mut check = UpdateCheck::new(PARAMETERS, SCALE_BITS);
    let pieces = blob.chunks(usize::from(*cut).max(1)).try_for_each(|piece| check.push(piece));
    assert_eq!(whole.is_ok(), pieces.and_then(|()| check.finish()).is_ok());
    if let Ok(update) = whole {
        assert_eq!(update.values().len() as u64, PARAMETERS);
        assert!(update.values().all(|value| value != i32::MIN));
    }
}

/// Whatever is read has one canonical file, which reads the same.
fn weights(bytes: &[u8]) {
    if let Ok(weights) = Weights::parse(&model(), bytes) {
        assert!(weights.values().iter().all(|value| value.is_finite()));
        let again = Weights::parse(&model(), &weights.to_bytes()).expect("what was written can be read");
        assert_eq!(again.to_bytes(), weights.to_bytes());
    }
}

fn inputs(bytes: &[u8]) {
    if let Ok(values) = decode_inputs(&model(), bytes, ITEMS_MAX) {
        assert!(values.len() as u64 <= ITEMS_MAX * model().input_len() as u64);
        assert!(values.iter().all(|value| value.is_finite()));
    }
    if let Ok(read) = prompts::decode(&sequential(), bytes, ITEMS_MAX) {
        assert!(read.len() as u64 <= ITEMS_MAX);
        assert!((0..).zip(&read).all(|(at, prompt)| prompt.check(&sequential(), at).is_ok()));
        let again = prompts::encode(&read).expect("what was read can be written");
        assert_eq!(prompts::decode(&sequential(), &again, ITEMS_MAX).expect("and read again"), read);
    }
}

fn answers(bytes: &[u8]) {
    if let Ok(followed) = prompts::read(&sequential(), 7, 2, bytes) {
        assert!(followed.len() == 2 && followed.iter().flatten().all(|&token| token < 9));
    }
    if let Ok(answers) = read_answers(7, 2, 3, bytes) {
        assert!(answers.len() == 2 && answers.iter().all(|answer| answer.label < 3));
    }
}

/// The first byte says where the images end and the labels begin.
fn idx(bytes: &[u8]) {
    let Some((cut, files)) = bytes.split_first() else { return };
    let (images, labels) = files.split_at(usize::from(*cut).min(files.len()));
    if let Ok(data) = idx::read(images, labels) {
        assert_eq!(data.inputs().len(), data.len() * data.input_len());
        assert!(data.labels().iter().all(|&label| label < data.classes()));
    }
}

fn csv(bytes: &[u8]) {
    if let Ok(data) = csv::read(bytes, CsvOptions::bytes([1, 2, 2])) {
        assert_eq!(data.inputs().len(), data.len() * 4);
        assert!(data.inputs().iter().all(|value| value.is_finite()));
    }
}

/// The first byte says how many examples are stated. Whatever is read has one blob, which reads the same.
fn shard(bytes: &[u8]) {
    let Some((examples, blob)) = bytes.split_first() else { return };
    let stated = ShardBlob { digest: Digest([0; 32]), examples: (*examples).into() };
    if let Ok(data) = shards::parse(&model(), &stated, blob) {
        assert_eq!(data.len(), usize::from(*examples));
        assert!(data.labels().iter().all(|&label| label < 3));
        let again = shards::encode(&data).expect("what was read can be written");
        assert_eq!(shards::parse(&model(), &stated, &again).expect("and read again"), data);
    }
    if let Ok(data) = shards::parse(&sequential(), &stated, blob) {
        assert_eq!((data.len(), data.tokens().len()), (usize::from(*examples), 5 * data.len()));
        assert!(data.tokens().iter().chain(data.labels()).all(|&token| token < 9));
        let again = shards::encode(&data).expect("what was read can be written");
        assert_eq!(shards::parse(&sequential(), &stated, &again).expect("and read again"), data);
    }
}

/// The bytes as they are, and with the checksum that they ask for. What is read can be checked, to some end.
fn evidence(bytes: &[u8]) {
    let whole = bytes.split_last_chunk::<32>().map(|(body, _)| [body, &Digest::of(body).0].concat());
    for file in [bytes, &whole.unwrap_or_default()] {
        let Ok(evidence) = Evidence::parse(file, 1 << 20) else { continue };
        let Ok(blobs) = evidence.open() else { continue };
        let from = evidence.steps().last().unwrap_or(0);
        if let Ok(mut check) = Check::new(&evidence, &blobs, from) {
            let verdict = check.advance(20);
            let ended = evidence.task().steps() < 10;
            assert!(!ended || verdict.map_or(true, |verdict| verdict.is_some()));
        }
    }
}

fn model() -> ModelSpec {
    ModelSpec { kind: ModelKind::Logistic, input: [1, 2, 2], classes: 3 }
}

fn sequential() -> ModelSpec {
    let kind = ModelKind::Gpt { layers: 1, heads: 2, width: 4, dropout: 100 };
    ModelSpec { kind, input: [1, 1, 5], classes: 9 }
}

fn update_samples() -> Vec<Vec<u8>> {
    let base = vec![0.0; PARAMETERS as usize];
    let trained: Vec<f32> = (0..PARAMETERS).map(|at| at as f32 * 0.25 - 2.0).collect();
    let blob = update::encode(&base, &trained, SCALE_BITS).expect("finite changes have an update");
    [1u8, 7, 255].map(|cut| [&[cut], blob.as_slice()].concat()).to_vec()
}

fn weights_samples() -> Vec<Vec<u8>> {
    vec![Weights::init(&model(), 1).expect("the model exists").to_bytes()]
}

fn inputs_samples() -> Vec<Vec<u8>> {
    let prompt = |tokens: &[u32], wanted| Prompt { tokens: tokens.to_vec(), wanted };
    let some = [prompt(&[1, 8, 2], 2), prompt(&[0], 1)];
    let values = encode_inputs(&[0.5; 12], [1, 2, 2]).expect("three whole examples");
    vec![values, prompts::encode(&some).expect("small")]
}

fn answers_samples() -> Vec<Vec<u8>> {
    let answer = |label| Answer { label, scores: vec![0.25, 0.5, 0.25] };
    vec![write_answers(7, &[answer(1), answer(2)]), prompts::write(7, &[vec![8, 0], vec![3]])]
}

fn data() -> Dataset {
    let inputs = (0..12).map(|at| at as f32 / 255.0).collect();
    Dataset::new(inputs, [1, 2, 2], vec![0, 2, 1]).expect("three whole examples")
}

fn idx_samples() -> Vec<Vec<u8>> {
    let (images, labels) = idx::encode(&data()).expect("its values are bytes");
    let zipped = (idx::gzip(&images), idx::gzip(&labels));
    [(images, labels), zipped]
        .map(|(images, labels)| [&[images.len() as u8][..], &images, &labels].concat())
        .to_vec()
}

fn shard_samples() -> Vec<Vec<u8>> {
    let halves = Dataset::new(vec![0.5; 12], [1, 2, 2], vec![0, 2, 1]).expect("three whole examples");
    let blob = |data: &Dataset| shards::encode(data).expect("small");
    let sequences = Dataset::sequences(&[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0], 5);
    let sequences = sequences.expect("three whole rows");
    [blob(&data()), blob(&halves), blob(&sequences)].map(|blob| [&[3][..], &blob].concat()).to_vec()
}

fn evidence_samples() -> Vec<Vec<u8>> {
    let weights = Weights::init(&model(), 1).expect("a small model");
    let halves = Dataset::new(vec![0.5; 12], [1, 2, 2], vec![0, 2, 1]).expect("three whole examples");
    let shard = shards::encode(&halves).expect("small");
    let real = |value: f32| Real::try_from(value).expect("finite");
    let task = TrainingTask {
        model: model(),
        weights: weights.digest(),
        shard: Digest::of(&shard),
        examples: 3,
        local_epochs: 2,
        minibatch: 2,
        learning_rate: real(0.5),
        momentum: real(0.5),
        seed: 1,
        scale_bits: 16,
        checkpoint_steps: 2,
    };
    let mut party =
        Party::new(task.clone(), Arc::new(weights.clone()), Arc::new(halves.clone()), 1, InMemory::default())
            .expect("its own weights and examples");
    let committed = party.train(&mut |_| Control::Continue).expect("it trains");
    let states = party.leaves(Trace::Interval(2)).expect("it has trained");
    let kept: Vec<_> = party.kept(2).into_iter().collect();
    let (update, loss) = (Digest::of(&committed.update), real(committed.loss));
    let claim =
        Claim { update, loss, leaves: committed.leaves, intervals: vec![Interval { number: 2, states }] };
    let statement =
        Statement { task, claim, receipt: None, weights_bytes: 0, shard_bytes: 0, states: Vec::new() };
    let full = evidence::encode(statement.clone(), &weights.to_bytes(), &shard, &kept);
    let mut bare = statement;
    (bare.claim.leaves, bare.claim.intervals) = (Vec::new(), Vec::new());
    vec![full, evidence::encode(bare, &weights.to_bytes(), &shard, &[])]
}

fn csv_samples() -> Vec<Vec<u8>> {
    vec![b"label,a,b,c,d\n1,0,255,3,4\n0,9,8,7,6\n".to_vec(), b"2,1,2,3,4\n".to_vec()]
}
