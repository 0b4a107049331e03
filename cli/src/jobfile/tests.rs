use std::path::Path;

use models::data::Dataset;
use protocol::job::{ModelKind, Work};

use super::*;

const JOB: &str = r#"version = 1
name = "digits"

[model]
kind = "logistic"
input = [1, 28, 28]
classes = 10

[training]
data = "mnist"
rounds = 5

[round]
workers = 4

[pay]
price = "1.5"
"#;

fn error(from: &str, to: &str) -> String {
    assert!(JOB.contains(from), "{from}");
    Job::parse(Path::new("job.toml"), &JOB.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn a_short_job_file_gets_sane_defaults() {
    let job = Job::parse(Path::new("job.toml"), JOB).unwrap();
    let Work::Train(train) = &job.spec.work else { panic!("a training job") };
    assert_eq!((train.round.quorum, train.round.over_select, train.round.deadline_ms), (4, 0, 600_000));
    assert_eq!((train.round.examples_cap, train.local_epochs, train.scale_bits), (100_000, 1, 24));
    assert_eq!((job.spec.price, job.spec.fee_bps, job.spec.burst), (1_500_000, 0, None));
    assert_eq!((job.spec.settlement_rounds, job.spec.settlements()), (1, 7));
    assert!(job.uploads.is_empty());
}

#[test]
fn rounds_are_paid_together_as_the_file_says_or_about_a_dozen_times_in_all() {
    let spanning = |text: &str| Job::parse(Path::new("job.toml"), text).unwrap().spec.settlement_rounds;
    let long = JOB.replace("rounds = 5", "rounds = 100");
    assert_eq!(spanning(&long), 9);
    assert_eq!(spanning(&format!("{long}\n[settlement]\nrounds = 25")), 25);
    // What is released over time is paid round by round.
    assert_eq!(spanning(&format!("{long}burst = \"10\"\nrate = \"1\"")), 1);
    let error = error("[pay]", "[settlement]\nrounds = 0\n\n[pay]");
    assert!(error.contains("settlement.rounds is 0; it must lie between 1 and"), "{error}");
}

#[test]
fn a_wrong_value_is_shown_in_its_line() {
    let want = "\
job.toml:11:10: training.rounds is 0; it must lie between 1 and 1000000
   |
11 | rounds = 0
   |          ^";
    assert_eq!(error("rounds = 5", "rounds = 0"), want);
    let many = error("workers = 4", "workers = 4\nquorum = 5");
    assert!(many.starts_with("job.toml:15:10: round.quorum is 5, more than round.workers (4)"), "{many}");
    assert!(many.ends_with("15 | quorum = 5\n   |          ^"), "{many}");
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let message = error("workers = 4", "workers = 4\nquorm = 3");
    assert!(message.starts_with("job.toml:15:1: unknown field `quorm`"), "{message}");
    assert!(message.contains("15 | quorm = 3\n   | ^^^^^"), "{message}");
}

#[test]
fn every_kind_of_mistake_names_its_line() {
    let cases = [
        ("version = 1", "version = 2", "job.toml:1:11: job file version 2"),
        ("name = \"digits\"", "name = \"two words\"", "job.toml:2:8: 'two words' is not a name"),
        ("\"logistic\"", "\"resnet\"", "job.toml:5:8: unknown variant `resnet`"),
        ("\"logistic\"", "\"mlp\"", "job.toml:5:8: an mlp needs its layers"),
        ("classes = 10", "classes = 10\nhidden = [3]", "job.toml:8:10: only kind = \"mlp\""),
        ("[1, 28, 28]", "[28, 28]", "job.toml:6:9: invalid length 2"),
        ("[1, 28, 28]", "[0, 28, 28]", "job.toml:6:9: model.input is 0"),
        ("rounds = 5", "rounds = -5", "job.toml:11:10: "),
        ("rounds = 5", "rounds = 5\nmomentum = nan", "job.toml:12:12: the number must be finite"),
        ("rounds = 5", "rounds = 5\nmomentum = 1.0", "job.toml:12:12: training.momentum is 1"),
        ("rounds = 5", "", "job.toml:9:1: missing field `rounds`"),
        ("workers = 4", "workers = 4\ndeadline = 60", "job.toml:15:12: invalid type: integer `60`"),
        ("workers = 4", "workers = 4\ndeadline = \"60\"", "job.toml:15:12: a time is a whole number"),
        ("workers = 4", "workers = 10000\nexamples_cap = 300000", "job.toml:15:16: round.examples_cap"),
        ("\"1.5\"", "1.5", "job.toml:17:9: invalid type: floating point `1.5`"),
        ("\"1.5\"", "\"0\"", "job.toml:17:9: pay.price is 0"),
        ("\"1.5\"", "\"1.0000001\"", "job.toml:17:9: not an amount of tokens"),
        ("\"1.5\"", "\"99999999999999999\"", "job.toml:17:9: pay.price is 99999999999999999 tokens"),
        ("[pay]", "[pay", "job.toml:16:5: "),
        ("[round]", "start = \"none.safetensors\"\n[round]", "job.toml:13:9: cannot read none.safetensors"),
        ("[pay]", "[evaluation]\nby = \"coordinator\"\n[pay]", "job.toml:17:6: the coordinator judges on"),
        ("[pay]", "[evaluation]\nimages = \"x\"\n[pay]", "job.toml:17:10: only by = \"coordinator\""),
    ];
    for (from, to, want) in cases {
        let message = error(from, to);
        assert!(message.starts_with(want), "want {want}\n got {message}");
        assert!(message.contains('^'), "{message}");
    }
}

#[test]
fn the_files_a_job_names_are_found_beside_it_and_digested() {
    let dir = tempfile::tempdir().unwrap();
    let set = Dataset::new(vec![0.0; 2 * 784], [1, 28, 28], vec![3, 9]).unwrap();
    let (images, labels) = idx::encode(&set).unwrap();
    std::fs::write(dir.path().join("images"), &images).unwrap();
    std::fs::write(dir.path().join("labels"), &labels).unwrap();
    let text =
        format!("{JOB}\n[evaluation]\nby = \"coordinator\"\nimages = \"images\"\nlabels = \"labels\"\n");
    let path = dir.path().join("job.toml");
    std::fs::write(&path, text).unwrap();
    let job = Job::read(&path).unwrap();
    let digests: Vec<_> = job.uploads.iter().map(|upload| (upload.digest, upload.bytes)).collect();
    let want = [&images, &labels].map(|bytes| (Digest::of(bytes), bytes.len() as u64));
    assert_eq!(digests, want);

    let wrong = |images: &[u8], labels: &[u8]| {
        std::fs::write(dir.path().join("images"), images).unwrap();
        std::fs::write(dir.path().join("labels"), labels).unwrap();
        Job::read(&path).unwrap_err().to_string()
    };
    let small = idx::encode(&Dataset::new(vec![0.0; 8], [1, 2, 2], vec![0, 1]).unwrap()).unwrap().0;
    for (images, labels, want) in [
        (&images[..100], &labels[..], "21:10: images: images: cut off"),
        (&small[..], &labels[..], "21:10: images: the examples are [1, 2, 2]"),
        (&images[..], &images[..], "22:10: labels: "),
        (&images[..], &[&labels[..9], &[10]].concat(), "22:10: labels: example 1 has label 10"),
    ] {
        let message = wrong(images, labels);
        assert!(message.contains(&format!("job.toml:{want}")), "want {want}\n got {message}");
    }
}

#[test]
fn a_model_that_cannot_be_and_weights_of_another_one_are_refused_in_their_line() {
    let small = error("kind = \"logistic\"\ninput = [1, 28, 28]", "kind = \"cnn-flower\"\ninput = [1, 3, 3]");
    assert!(small.starts_with("job.toml:6:9: the input of 3×3 is too small"), "{small}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("start"), b"no weights").unwrap();
    let text = JOB.replace("rounds = 5", "rounds = 5\nstart = \"start\"");
    let message = Job::parse(&dir.path().join("job.toml"), &text).unwrap_err().to_string();
    assert!(message.contains("job.toml:12:9: start: the weights are not a valid safetensors"), "{message}");
}

#[test]
fn of_a_long_line_the_part_around_the_mistake_is_shown() {
    let long = format!("{}x", "a".repeat(5000));
    let message = error("name = \"digits\"", &format!("name = \"digits\" {long} = 1"));
    assert!(message.lines().all(|line| line.chars().count() < 200), "{message}");
    let (line, mark) = (message.lines().nth(2).unwrap(), message.lines().nth(3).unwrap());
    let at = mark.chars().position(|c| c == '^').unwrap();
    assert_eq!(line.chars().nth(at), Some('a'), "{message}");
}

#[test]
fn a_stake_counts_in_the_registry_that_is_named_or_given() {
    let stake = |lines: &str| Job::parse(Path::new("job.toml"), &format!("{JOB}\n[workers]\n{lines}"));
    let job = stake("stake = \"25\"").unwrap();
    assert_eq!((job.spec.stake, job.stake), (None, Some(25_000_000)));
    let here = Address([4; 20]);
    let terms = StakeTerms { registry: here, least: 25_000_000 };
    assert_eq!(job.with_registry(here).unwrap().spec.stake, Some(terms));
    let named = format!("stake = 25\nregistry = \"{here}\"");
    let job = stake(&named).unwrap().with_registry(Address([5; 20])).unwrap();
    assert_eq!((job.spec.stake, job.stake), (Some(terms), None));
    for (lines, want) in [
        ("stake = \"0\"", "job.toml:20:9: a stake of nothing"),
        (&format!("registry = \"{here}\""), "a registry says nothing without a stake"),
        ("stake = \"1\"\nregistry = \"0x12\"", "job.toml:21:12"),
        ("steak = \"1\"", "unknown field `steak`"),
    ] {
        let message = stake(lines).unwrap_err().to_string();
        assert!(message.contains(want), "want {want}\n got {message}");
    }
}

#[test]
fn a_jobs_own_data_is_cut_into_shards_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = (0..60 * 4).map(|value| (value % 256) as f32 / 255.0).collect();
    let set = Dataset::new(inputs, [1, 2, 2], (0..60).map(|at| at % 3).collect()).unwrap();
    let (images, labels) = idx::encode(&set).unwrap();
    std::fs::write(dir.path().join("images"), &images).unwrap();
    std::fs::write(dir.path().join("labels"), &labels).unwrap();
    let row = |at: usize| {
        format!(
            "{},{}",
            at % 3,
            [0, 1, 2, 3].map(|next| (4 * at + next) % 256).map(|value| value.to_string()).join(",")
        )
    };
    std::fs::write(dir.path().join("table.csv"), (0..60).map(row).collect::<Vec<_>>().join("\n")).unwrap();
    let short = JOB.replace("[1, 28, 28]", "[1, 2, 2]").replace("data = \"mnist\"", "minibatch = 4");
    let path = dir.path().join("job.toml");
    let read = |data: &str| Job::parse(&path, &format!("{short}\n[data]\n{data}"));
    let shards = |job: &Job| {
        let Work::Train(train) = &job.spec.work else { panic!("a training job") };
        train.data.shards().to_vec()
    };
    let idx = "images = \"images\"\nlabels = \"labels\"";
    let job = read(&format!("{idx}\nshards = 8")).unwrap();
    assert_eq!(shards(&job).iter().map(|shard| shard.examples).collect::<Vec<_>>(), [8, 8, 8, 8, 7, 7, 7, 7]);
    assert_eq!(job.uploads.len(), 8);
    for (upload, stated) in job.uploads.iter().zip(shards(&job)) {
        let Source::Memory(blob) = &upload.source else { panic!("shards are cut in memory") };
        assert_eq!((Digest::of(blob), upload.bytes), (stated.digest, blob.len() as u64));
        assert!(models::data::shard::parse(job.spec.model(), &stated, blob).is_ok());
    }
    // The same examples from another format, cut again: the same shards.
    assert_eq!(shards(&read("csv = \"table.csv\"\nshards = 8").unwrap()), shards(&job));
    let unlike = read(&format!("{idx}\nshards = 4\nsplit = \"dirichlet\"\nalpha = 0.5")).unwrap();
    assert_eq!(shards(&unlike).iter().map(|shard| shard.examples).sum::<u32>(), 60);
    let three = format!("{idx}\nshards = 3");
    for (data, want) in [
        (three.as_str(), "job.toml:14:11: round.workers is 4, more than the job's 3 shards"),
        ("shards = 4", "name images"),
        (&format!("{idx}\nshards = 40"), "cannot split 60 examples over 40 workers with at least 4 each"),
        (&format!("{idx}\nshards = 4\nsplit = \"dirichlet\""), "needs a concentration"),
        (&format!("{idx}\nshards = 4\nalpha = 1.0"), "only split = \"dirichlet\" takes alpha"),
        (&format!("{idx}\nshards = 4\ndivisor = 1"), "only csv"),
        (&format!("{idx}\nshards = 0"), "data.shards is 0"),
        ("images = \"none\"\nlabels = \"labels\"\nshards = 4", "cannot read"),
    ] {
        let message = read(data).unwrap_err().to_string();
        assert!(message.contains(want), "want {want}\n got {message}");
        assert!(message.contains('^'), "{message}");
    }
    let both = Job::parse(&path, &format!("{JOB}\n[data]\n{idx}\nshards = 8")).unwrap_err().to_string();
    assert!(both.contains("job.toml:10:8: the job brings its data"), "{both}");
    let neither = Job::parse(&path, &short).unwrap_err().to_string();
    assert!(neither.contains("data = \"tag\" is missing"), "{neither}");
}

#[test]
fn text_is_cut_into_shards_of_sequences() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("book"), "what follows from what is to be told. ".repeat(8)).unwrap();
    let sizes = "kind = \"gpt\"\nlayers = 1\nheads = 2\nwidth = 8";
    let gpt = JOB
        .replace("[1, 28, 28]", "[1, 1, 16]")
        .replace("classes = 10", "classes = 256")
        .replace("kind = \"logistic\"", sizes)
        .replace("data = \"mnist\"", "minibatch = 4")
        .replace("workers = 4", "workers = 2");
    let path = dir.path().join("job.toml");
    let read = |text: &str, data: &str| Job::parse(&path, &format!("{text}\n[data]\n{data}"));
    let data = "text = \"book\"\nshards = 2";
    let job = read(&gpt, data).unwrap();
    assert_eq!(job.spec.model().kind, ModelKind::Gpt { layers: 1, heads: 2, width: 8, dropout: 0 });
    let Work::Train(train) = &job.spec.work else { panic!("a training job") };
    assert_eq!(train.data.shards().iter().map(|shard| shard.examples).collect::<Vec<_>>(), [9, 9]);
    let Source::Memory(blob) = &job.uploads[0].source else { panic!("shards are cut in memory") };
    assert!(models::data::shard::parse(job.spec.model(), &train.data.shards()[0], blob).is_ok());
    for (text, data, want) in [
        (gpt.replace("layers = 1\n", ""), data, "a gpt needs its sizes"),
        (gpt.replace("heads = 2", "heads = 3"), data, "model.width (beyond whole heads) is 2"),
        (gpt.replace("[1, 1, 16]", "[1, 2, 8]"), data, "model.input (rows of sequences) is 2"),
        (gpt.replace("[1, 1, 16]", "[1, 1, 2049]"), data, "book: 304 values"),
        (gpt.replace("classes = 256", "classes = 255"), data, "with classes = 256"),
        (gpt.clone(), "csv = \"book\"\nshards = 2", "a gpt takes text"),
        (
            gpt.clone(),
            "text = \"book\"\nshards = 2\nsplit = \"labels\"\nlabels_each = 2",
            "no labels to split by",
        ),
        (JOB.replace("data = \"mnist\"", "minibatch = 4"), data, "text is for kind"),
        (JOB.replace("classes = 10", "classes = 10\nheads = 3"), data, "only kind = \"gpt\""),
        (gpt.clone() + "\n[evaluation]\nby = \"workers\"", data, "evaluation.by = \"none\""),
    ] {
        let message = read(&text, data).unwrap_err().to_string();
        assert!(message.contains(want), "want {want}\n got {message}");
    }
}

#[test]
fn commitments_are_as_far_apart_as_the_model_wants_unless_the_file_says_otherwise() {
    let steps = |text: &str| match Job::parse(Path::new("job.toml"), text).unwrap().spec.work.clone() {
        Work::Train(train) => train.checkpoint_steps,
        Work::Infer(_) => panic!("a training job"),
    };
    // Logistic regression on 784 values, 32 examples a step.
    assert_eq!(steps(JOB), 167);
    assert_eq!(steps(&JOB.replace("rounds = 5", "rounds = 5\ncheckpoint_steps = 7")), 7);
    let none = error("rounds = 5", "rounds = 5\ncheckpoint_steps = 0");
    assert!(none.starts_with("job.toml:12:20: training.checkpoint_steps is 0"), "{none}");
}

#[test]
fn the_commented_examples_hold() {
    let jobs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../jobs"));
    let example = Job::parse(&jobs.join("example.toml"), EXAMPLE).unwrap();
    assert_eq!(example.spec.model().kind, ModelKind::Logistic);
    for entry in std::fs::read_dir(jobs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml")
            && let Err(error) = Job::read(&path)
        {
            panic!("{error}");
        }
    }
}
