use std::path::Path;

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
    assert!(job.uploads.is_empty());
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
        ("version = 1", "version = 2", "job.toml:1:11: spec version 2"),
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
    std::fs::write(dir.path().join("images"), b"images").unwrap();
    std::fs::write(dir.path().join("labels"), b"labels").unwrap();
    let text =
        format!("{JOB}\n[evaluation]\nby = \"coordinator\"\nimages = \"images\"\nlabels = \"labels\"\n");
    let path = dir.path().join("job.toml");
    std::fs::write(&path, text).unwrap();
    let job = Job::read(&path).unwrap();
    let digests: Vec<_> = job.uploads.iter().map(|upload| (upload.digest, upload.bytes)).collect();
    assert_eq!(digests, [(Digest::of(b"images"), 6), (Digest::of(b"labels"), 6)]);
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
