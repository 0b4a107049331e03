use super::super::{
    Evaluation, Infer, InputBlob, ModelKind, RoundPolicy, ShardBlob, TaskData, Train, TrainData,
};
use super::*;
use crate::hash::Digest;

fn training() -> SpecFields {
    SpecFields {
        version: SPEC_VERSION,
        name: "digits".parse().unwrap(),
        work: Work::Train(Train {
            model: ModelSpec { kind: ModelKind::Logistic, input: [1, 28, 28], classes: 10 },
            start: None,
            data: TrainData::Local("mnist".parse().unwrap()),
            rounds: 5,
            local_epochs: 1,
            minibatch: 32,
            learning_rate: 0.1.try_into().unwrap(),
            momentum: 0.9.try_into().unwrap(),
            seed: 1,
            scale_bits: 24,
            checkpoint_steps: 100,
            round: RoundPolicy {
                workers: 4,
                quorum: 3,
                over_select: 1,
                deadline_ms: 60_000,
                examples_cap: 10_000,
            },
            evaluation: Evaluation::None,
        }),
        settlement_rounds: 1,
        price: 1_000_000,
        fee_bps: 250,
        approve: false,
        burst: None,
        rate: 0,
        stake: None,
        checks: CheckTerms::default(),
    }
}

fn with(change: impl FnOnce(&mut SpecFields, &mut Train)) -> Result<JobSpec, SpecError> {
    let mut fields = training();
    let Work::Train(mut train) = fields.work.clone() else { unreachable!("training() trains") };
    change(&mut fields, &mut train);
    fields.work = Work::Train(train);
    JobSpec::new(fields)
}

#[test]
fn a_sane_spec_passes_and_its_budget_adds_up() {
    let spec = with(|_, _| ()).unwrap();
    assert_eq!((spec.full_settlements(), spec.settlements()), (5, 7));
    assert_eq!((spec.task_cap(), spec.price_cap()), (5, 1_000_000));
    assert_eq!(spec.budget(), 5 * (5_000_000 + 125_000));
}

#[test]
fn nonsense_is_refused_with_the_key_that_holds_it() {
    let no_stake = StakeTerms { registry: crate::ids::Address([1; 20]), least: 0 };
    let cases: [(&str, Result<JobSpec, SpecError>); 12] = [
        ("settlement.rounds", with(|fields, _| fields.settlement_rounds = 0)),
        ("settlement.rounds", with(|fields, _| fields.settlement_rounds = 2_001)),
        ("pay.price", with(|fields, _| fields.price = 0)),
        ("workers.stake", with(|fields, _| fields.stake = Some(no_stake))),
        ("checks.rate_bps", with(|fields, _| fields.checks.rate_bps = 1)),
        ("training.rounds", with(|_, train| train.rounds = 0)),
        ("training.momentum", with(|_, train| train.momentum = 1.0.try_into().unwrap())),
        ("training.learning_rate", with(|_, train| train.learning_rate = 0.0.try_into().unwrap())),
        ("round.quorum", with(|_, train| train.round.quorum = 5)),
        ("round.examples_cap", with(|_, train| train.round.examples_cap = ROUND_WEIGHT_MAX)),
        ("model.input", with(|_, train| train.model.input = [0, 28, 28])),
        ("model.classes", with(|_, train| train.model.classes = 1)),
    ];
    for (key, result) in cases {
        let message = result.expect_err(key).to_string();
        assert!(message.contains(key), "{key}: {message}");
    }
    assert_eq!(with(|fields, _| fields.version = 1), Err(SpecError::Version { got: 1 }));
    assert_eq!(with(|fields, _| fields.price = u64::MAX), Err(SpecError::Price));
}

#[test]
fn a_spec_off_the_wire_is_looked_at_too() {
    let mut fields = training();
    fields.price = 0;
    assert!(postcard::from_bytes::<JobSpec>(&postcard::to_allocvec(&fields).unwrap()).is_err());
}

#[test]
fn the_hash_covers_every_field() {
    let base = with(|_, _| ()).unwrap().hash();
    assert_ne!(with(|fields, _| fields.price += 1).unwrap().hash(), base);
    assert_ne!(with(|_, train| train.seed += 1).unwrap().hash(), base);
    let stake = |least| Some(StakeTerms { registry: crate::ids::Address([1; 20]), least });
    let staked = with(|fields, _| fields.stake = stake(5)).unwrap().hash();
    assert_ne!(staked, base);
    assert_ne!(with(|fields, _| fields.stake = stake(6)).unwrap().hash(), staked);
    assert_eq!(with(|_, train| train.momentum = 0.9.try_into().unwrap()).unwrap().hash(), base);
}

#[test]
fn an_inference_budget_counts_items_and_the_last_group_may_be_short() {
    let blob = |items| InputBlob { digest: Digest([1; 32]), items };
    let mut fields = training();
    fields.work = Work::Infer(Infer {
        model: ModelSpec { kind: ModelKind::Logistic, input: [1, 28, 28], classes: 10 },
        weights: Digest([2; 32]),
        inputs: vec![blob(100), blob(100), blob(50)],
        group_tasks: 2,
        deadline_ms: 1_000,
    });
    let spec = JobSpec::new(fields).unwrap();
    let Work::Infer(infer) = &spec.work else { panic!("it infers") };
    assert_eq!((spec.full_settlements(), spec.settlements(), infer.groups()), (2, 4, 2));
    assert_eq!((infer.blobs_of(0), infer.blobs_of(1), infer.blobs_of(2)), (0..2, 2..3, 3..3));
    assert_eq!(spec.price_cap(), 100_000_000);
    assert_eq!(spec.budget(), 250_000_000 + 250_000_000 / 40);
}

#[test]
fn a_settlement_spans_rounds_and_its_cap_and_number_follow() {
    let spec = with(|fields, _| fields.settlement_rounds = 2).unwrap();
    assert_eq!((spec.settlements(), spec.task_cap()), (3 + 2, 10));
    assert_eq!(spec.budget(), 5 * (5_000_000 + 125_000));
    let short = with(|fields, _| fields.settlement_rounds = 9).unwrap();
    assert_eq!((short.settlements(), short.task_cap()), (1 + 2, 25));
    assert_eq!((spec.bond(), short.bond()), (20_000_000, short.budget()));
}

#[test]
fn a_usual_job_has_about_a_dozen_settlements_and_none_waits_for_days() {
    let usual = |rounds, deadline_ms| {
        let Work::Train(mut train) = training().work else { unreachable!("training() trains") };
        (train.rounds, train.round.deadline_ms) = (rounds, deadline_ms);
        Work::Train(train).usual_settlement_rounds()
    };
    assert_eq!((usual(5, 60_000), usual(24, 60_000), usual(100, 60_000)), (1, 2, 9));
    assert_eq!((usual(100, 6 * 3_600_000), usual(100, TASK_MS_MAX)), (4, 1));
}

fn shard(at: u8) -> ShardBlob {
    ShardBlob { digest: Digest([at; 32]), examples: 100 + u32::from(at) }
}

fn bringing(shards: u8, workers: u32) -> Train {
    let Work::Train(mut train) = training().work else { unreachable!("training() trains") };
    train.data = TrainData::Job((0..shards).map(shard).collect());
    (train.round.workers, train.round.quorum) = (workers, 1);
    train
}

#[test]
fn shards_that_no_round_could_use_are_refused() {
    let change = |change: &dyn Fn(&mut Train)| {
        with(|fields, train| {
            *train = bringing(4, 3);
            change(train);
            fields.name = "shards".parse().unwrap();
        })
    };
    assert!(change(&|_| ()).is_ok());
    assert_eq!(change(&|train| train.round.workers = 5), Err(SpecError::FewShards { workers: 5, shards: 4 }));
    assert_eq!(change(&|train| train.evaluation = Evaluation::Workers), Err(SpecError::JudgedByWorkers));
    assert_eq!(
        change(&|train| train.data = bringing(0, 1).data).unwrap_err().to_string(),
        "data.shards is 0; it must lie between 1 and 4096"
    );
    let twice = change(&|train| train.data = TrainData::Job(vec![shard(1), shard(2), shard(3), shard(1)]));
    assert_eq!(twice, Err(SpecError::ShardTwice { at: 3 }));
    let empty = change(&|train| train.data = TrainData::Job(vec![ShardBlob { examples: 0, ..shard(1) }]));
    assert!(empty.unwrap_err().to_string().starts_with("data.shards (examples) is 0"));
    let rare = change(&|train| train.checkpoint_steps = 0).unwrap_err().to_string();
    assert!(rare.starts_with("training.checkpoint_steps is 0"), "{rare}");
}

#[test]
fn every_shard_is_dealt_equally_often_and_none_twice_in_a_round() {
    for (shards, workers) in [(1, 1), (7, 3), (8, 4), (5, 5), (9, 2)] {
        let train = bringing(shards, workers);
        let mut dealt = std::collections::BTreeMap::<_, u32>::new();
        for round in 0..20 {
            let tasks: Vec<TaskData> = (0..workers).map(|place| train.task_data(round, place)).collect();
            for (at, data) in tasks.iter().enumerate() {
                let TaskData::Shard(shard) = data else { panic!("the job brings its data") };
                assert!(!tasks[..at].contains(data), "round {round}: {data:?} twice");
                *dealt.entry(shard.digest.0).or_default() += 1;
                // Whoever is asked beyond the number wanted does the work of one that is wanted.
                assert_eq!(train.task_data(round, workers + at as u32), *data);
            }
            let (least, most) = (dealt.values().min(), dealt.values().max());
            let unused = dealt.len() < usize::from(shards);
            assert!(if unused { most == Some(&1) } else { most.unwrap() - least.unwrap() <= 1 });
        }
    }
    let order = |seed| {
        let train = Train { seed, ..bringing(9, 9) };
        (0..9).map(|place| train.task_data(0, place)).collect::<Vec<_>>()
    };
    assert_ne!(order(1), order(2));
}

#[test]
fn a_tasks_seed_is_that_of_its_shard_and_its_round() {
    let train = bringing(4, 4);
    let mut seeds: Vec<u64> = (0..3)
        .flat_map(|round| (0..4).map(move |place| (round, place)))
        .map(|(round, place)| train.task(round, place, Digest([9; 32])).seed)
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 12);
    assert_eq!(train.task(1, 2, Digest([9; 32])).seed, train.task(1, 6, Digest([9; 32])).seed);
}

#[test]
fn a_piece_of_work_has_one_name_and_every_part_of_it_counts() {
    let Work::Train(mut train) = training().work else { unreachable!("training() trains") };
    let shard = |number| ShardBlob { digest: Digest([number; 32]), examples: 10 };
    train.data = TrainData::Job((0..6).map(shard).collect());
    let (spec, other) = (crate::ids::SpecHash([1; 32]), crate::ids::SpecHash([2; 32]));
    let workers = train.round.workers;
    let work = Work::Train(train);
    let of = |round, place, weights| work.task(round, place, Digest([weights; 32])).unwrap();
    let name = of(0, 0, 7).digest(&spec);
    assert_eq!(name.to_string(), "0xde59ab1385e1df8f0117cbe105be9ecfde8a217a97f982120f8f26f3e2b708db");
    for another in [of(0, 1, 7), of(1, 0, 7), of(0, 0, 8)] {
        assert_ne!(another.digest(&spec), name);
    }
    assert_ne!(of(0, 0, 7).digest(&other), name);
    // Who stands in for another does the same work, and no piece is two.
    assert_eq!(of(0, workers, 7).digest(&spec), name);
    assert_eq!((work.piece(0, workers), work.piece(0, 1)), (Some((0, 0)), Some((0, 1))));
    assert_eq!(training().work.piece(0, 0), None, "examples that stay on workers are each worker's own");
}
