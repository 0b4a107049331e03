//! Job specs, in both forms.

use protocol::hash::Digest;
use protocol::ids::Address;
use protocol::job::{
    CheckTerms, Evaluation, JobSpec, RoundPolicy, ShardBlob, SpecFields, StakeTerms, Train, TrainData, Work,
};
use protocol::limits::SPEC_BYTES_MAX;
use protocol::wire::codec::decode_within;

use super::{model, name, real};

pub(super) fn spec(bytes: &[u8]) {
    if let Ok(spec) = decode_within::<JobSpec>(bytes, SPEC_BYTES_MAX) {
        assert_eq!(spec.canonical_bytes(), bytes);
        examine(&spec);
    }
}

pub(super) fn spec_json(bytes: &[u8]) {
    if let Ok(spec) = serde_json::from_slice::<JobSpec>(bytes) {
        examine(&spec);
        assert_eq!(decode_within::<JobSpec>(&spec.canonical_bytes(), SPEC_BYTES_MAX), Ok(spec));
    }
}

/// A spec that was parsed is sane: nothing derived from it overflows.
fn examine(spec: &JobSpec) {
    let _ = (spec.hash(), spec.terms(), spec.price_cap(), spec.model().input_len());
    let last = spec.work.rounds() - 1;
    assert!(last / spec.settlement_rounds < spec.full_settlements() && spec.round_pay(last) <= spec.budget());
}

fn train_spec(data: TrainData) -> JobSpec {
    let train = Train {
        model: model(),
        start: None,
        data,
        rounds: 12,
        local_epochs: 1,
        minibatch: 32,
        learning_rate: real(0.05),
        momentum: real(0.9),
        seed: 7,
        scale_bits: 16,
        checkpoint_steps: 300,
        round: RoundPolicy {
            workers: 4,
            quorum: 3,
            over_select: 1,
            deadline_ms: 60_000,
            examples_cap: 5_000,
        },
        evaluation: Evaluation::Coordinator { images: Digest([1; 32]), labels: Digest([2; 32]) },
    };
    let (version, name, work) = (protocol::job::spec::SPEC_VERSION, name("digits"), Work::Train(train));
    let (settlement_rounds, price, fee_bps, approve, burst, rate) = (1, 1_000, 100, false, None, 0);
    let stake = Some(StakeTerms { registry: Address([7; 20]), least: 25_000_000 });
    let checks = CheckTerms { rate_bps: if work.can_be_run_again() { 300 } else { 0 } };
    let fields = SpecFields {
        version,
        name,
        work,
        settlement_rounds,
        price,
        fee_bps,
        approve,
        burst,
        rate,
        stake,
        checks,
    };
    JobSpec::new(fields).expect("it is a sane spec")
}

fn train_specs() -> [JobSpec; 2] {
    let shard = |at| ShardBlob { digest: Digest([at; 32]), examples: 5_000 };
    [TrainData::Local(name("mnist")), TrainData::Job((1..=5).map(shard).collect())].map(train_spec)
}

pub(super) fn spec_samples() -> Vec<Vec<u8>> {
    train_specs().map(|spec| spec.canonical_bytes()).to_vec()
}

pub(super) fn spec_json_samples() -> Vec<Vec<u8>> {
    train_specs().map(|spec| serde_json::to_vec(&spec).expect("a spec has a JSON form")).to_vec()
}
