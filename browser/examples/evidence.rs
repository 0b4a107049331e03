//! Evidence to try the page with, honest and not; and the check of a file outside of a browser.
//!
//! `evidence write DIR` writes the files that the browser's test and bench open; `evidence check FILE` checks one on
//! one thread and prints `examples seconds verdict`.

use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::Path;
use std::time::Instant;

use models::data::{Dataset, shard};
use models::kernels::Machine;
use models::replay::TrainingTask;
use models::replay::check::Check;
use models::replay::evidence::{Claim, Evidence, Interval, MEMORY_BYTES_MAX, Statement, encode};
use models::replay::leaf::Leaf;
use models::train::{State, Training};
use models::weights::Weights;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{JobId, Nonce, SpecHash, TaskId};
use protocol::job::{ModelKind, ModelSpec, Receipt};
use protocol::rng::Rng;
use protocol::sign::NodeKey;

type Failed = Box<dyn Error>;

/// The spec of the job that receipts are for.
const SPEC: SpecHash = SpecHash([3; 32]);

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", directory] => write(Path::new(directory)),
        ["check", file] => check(Path::new(file)),
        _ => Err("usage: evidence write DIR | evidence check FILE".into()),
    }
}

fn write(directory: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(directory)?;
    let scene = Scene::new(ModelKind::CnnFlower, 320, 2, 16)?;
    let save = |name: &str, file: &[u8]| std::fs::write(directory.join(format!("{name}.evidence")), file);
    let (honest, states) = scene.statement(None, &[2], &[16, 32])?;
    let good = scene.file(honest.clone(), &states);
    save("honest", &good)?;

    let (lie, _) = scene.statement(Some(21), &[], &[])?;
    save("lie", &scene.file(lie, &[]))?;
    let (lie, _) = scene.statement(Some(21), &[2], &[])?;
    save("lie-opened", &scene.file(lie, &[]))?;

    let mut other = honest.clone();
    other.claim.update.0[0] ^= 1;
    let (update, examples, loss) =
        (other.claim.update, scene.task.examples, other.claim.loss.get().to_bits());
    let returned = Leaf::Returned { update, examples, loss }.digest(&scene.task.digest());
    *other.claim.leaves.last_mut().ok_or("no commitments")? = returned;
    save("update", &scene.file(Statement { receipt: None, ..other.clone() }, &[]))?;
    other.claim.leaves.clear();
    other.claim.intervals.clear();
    save("uncommitted", &scene.file(Statement { receipt: None, ..other }, &[]))?;

    let mut wrong = honest.clone();
    wrong.task.shard.0[0] ^= 1;
    save("digest", &scene.file(wrong, &states))?;
    let mut damaged = good;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    save("damaged", &damaged)?;
    let mut large = honest;
    large.task.examples = 1 << 20;
    save("large", &scene.file(large, &[]))?;

    for (name, kind, examples) in [
        ("bench-mlp", ModelKind::Mlp { hidden: vec![200, 200] }, 8_000),
        ("bench-cnn", ModelKind::CnnFedavg, 640),
    ] {
        let scene = Scene::new(kind, examples, 1, 50)?;
        save(name, &scene.file(scene.statement(None, &[], &[])?.0, &[]))?;
    }
    Ok(())
}

fn check(file: &Path) -> Result<(), Failed> {
    let file = std::fs::read(file)?;
    let evidence = Evidence::parse(&file, MEMORY_BYTES_MAX)?;
    let blobs = evidence.open()?;
    let mut check = Check::new(&evidence, &blobs, 0)?;
    #[expect(clippy::disallowed_methods, reason = "what is measured is time")]
    let start = Instant::now();
    let verdict = check.advance(u32::MAX)?.ok_or("a check ends")?;
    let seconds = start.elapsed().as_secs_f64();
    let examples = evidence.task().examples * u64::from(evidence.task().local_epochs);
    writeln!(stdout(), "{examples} {seconds:.3} {verdict:?}")?;
    Ok(())
}

/// A task with its blobs.
struct Scene {
    task: TrainingTask,
    weights: Weights,
    data: Dataset,
    shard: Vec<u8>,
}

impl Scene {
    fn new(kind: ModelKind, count: usize, local_epochs: u32, every: u32) -> Result<Self, Failed> {
        let model = ModelSpec { kind, input: [1, 28, 28], classes: 10 };
        let weights = Weights::init(&model, 5)?;
        let mut rng = Rng::new(1);
        let (mut inputs, mut labels) = (Vec::new(), Vec::new());
        for label in (0..10u32).cycle().take(count) {
            let noise = (0..784u32).map(|pixel| rng.below(128) + if pixel % 10 == label { 127 } else { 0 });
            inputs.extend(noise.map(|byte| byte as f32 / 255.0));
            labels.push(label);
        }
        let data = Dataset::new(inputs, [1, 28, 28], labels)?;
        let shard = shard::encode(&data)?;
        let task = TrainingTask {
            model,
            weights: weights.digest(),
            shard: Digest::of(&shard),
            examples: count as u64,
            local_epochs,
            minibatch: 10,
            learning_rate: 0.05f32.try_into()?,
            momentum: 0.9f32.try_into()?,
            seed: 11,
            scale_bits: 24,
            checkpoint_steps: every,
        };
        Ok(Self { task, weights, data, shard })
    }

    /// What somebody claims who turned one bit after step `flipped`, with intervals opened and states kept.
    fn statement(
        &self,
        flipped: Option<u64>,
        opened: &[u32],
        kept: &[u64],
    ) -> Result<(Statement, Vec<State>), Failed> {
        let (params, id) = (self.task.params(), self.task.digest());
        let mut training = Training::new(Machine::new(1), &self.weights, &self.data, &params)?;
        let leaf = |training: &Training<'_>| Leaf::state(training).digest(&id);
        let (mut all, mut states): (Vec<Keccak>, Vec<State>) = (vec![leaf(&training)], Vec::new());
        while training.step() < training.steps() {
            training.advance(None)?;
            if flipped == Some(training.step()) {
                let mut state = training.state();
                state.weights[7] = f32::from_bits(state.weights[7].to_bits() ^ 1);
                training = Training::resume(Machine::new(1), &self.task.model, &state, &self.data, &params)?;
            }
            all.push(leaf(&training));
            states.extend(kept.contains(&training.step()).then(|| training.state()));
        }
        let (every, steps) = (self.task.checkpoint_steps as usize, all.len() - 1);
        let (blob, returned) = Leaf::returned(&self.task, self.weights.values(), &training)?;
        let committed = (0..=steps).filter(|at| at % every == 0 || *at == steps);
        let leaves = committed.map(|at| all[at]).chain([returned.digest(&id)]).collect();
        let interval = |number: &u32| {
            let first = (*number as usize - 1) * every;
            Interval { number: *number, states: all[first..=steps.min(first + every)].to_vec() }
        };
        let intervals = opened.iter().map(interval).collect();
        let (update, loss) = (Digest::of(&blob), training.mean_loss().try_into()?);
        let receipt = Receipt {
            task: TaskId { job: JobId(3), settlement: 1, slot: 4 },
            nonce: Nonce([7; 32]),
            work: self.task.work_digest(&SPEC).ok_or("its shard is too large")?,
            result: update,
            result_bytes: blob.len() as u64,
            examples: self.task.examples,
            loss: Some(loss),
            evaluated: None,
            trace: None,
            checks: None,
            stake: None,
        };
        let receipt = Some((SPEC, NodeKey::from_seed(&[1; 32]).sign(receipt).into_wire()));
        let (task, claim) = (self.task.clone(), Claim { update, loss, leaves, intervals });
        let statement = Statement { task, claim, receipt, weights_bytes: 0, shard_bytes: 0, states: vec![] };
        Ok((statement, states))
    }

    fn file(&self, statement: Statement, states: &[State]) -> Vec<u8> {
        encode(statement, &self.weights.to_bytes(), &self.shard, states)
    }
}
