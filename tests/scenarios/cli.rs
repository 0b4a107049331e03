//! Every command as a person runs it: what it prints on both streams, as text and as JSON, and how it ends. One
//! network on this machine, and the story of a requester, a worker's operator and an auditor on it.
//!
//! `INSTA_UPDATE=always cargo nextest run -p tests -E 'test(cli::)'` rewrites the snapshots: read the difference as a
//! user would.

mod relay;
mod up;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::real::{Ran, Shell};
use up::{Up, learn};

/// What differs from run to run, and how it is shown.
const FILTERS: [(&str, &str); 28] = [
    (r"have \d+ want \d+", "have <wei> want <wei>"),
    (r"(?m)^( +\d+){4} +[\d.]+ k?B  0x[0-9a-f]{8}…  (yes|not yet) +yes\n(( +\d+){4} .*\n)*", "<batches>\n"),
    (r"\d+ batch(es)? \([\d.]+ k?B of payload\)", "<batches>"),
    (r"evidence of \d+ batch(es)?", "evidence of <batches>"),
    (r"\d+ posted, \d+ final", "<n> posted, <n> final"),
    (r"(accepted +[\d.]+) +\d+  final", "$1      <n>  final"),
    (r"(?m)^ +\d+  \d\d:.* is (sealed|final) in batch \d+\n", ""),
    (r"(\d/\d)/\d\b", "$1/<slot>"),
    (r"blocks      \d+ to \d+", "blocks      <n> to <n>"),
    (r"block              \d+ of", "block              <n> of"),
    (r" +\d+  (\.fedroll/logs/)", "  <pid>  $1"),
    (r"name +pid  log", "name  pid  log"),
    (r"0x[0-9a-f]{64}", "<hash>"),
    (r"\d+ of (\d+ results? in \d+ settlements?, drawn by)", "<some> of $1"),
    (r"0x[0-9a-f]{8}…", "<hash…>"),
    (r"0x[0-9a-fA-F]{40}", "<address>"),
    (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:<port>"),
    (r"[\d.]+ k?B up, [\d.]+ k?B down", "<bytes> up, <bytes> down"),
    (r"\(\d+ gas\)", "(<gas>)"),
    (r", \d{6,8} gas", ", <gas>"),
    (r"up to \d+ gas at up to \d+ gwei", "up to <gas> at up to <price>"),
    (r"up to \d+ million gas at up to \d+ gwei", "up to <gas> at up to <price>"),
    (r"fraud bond: up to [\d.]+ ether", "fraud bond: up to <ether>"),
    (r" +\d+  \d\d:\d\d:\d\d\.\d{3}", "<n>  <time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<date>"),
    (r"updates · \d+\.\d s", "updates · <time>"),
    (r"loss \d\.\d{4} by", "loss <loss> by"),
    (r"( \d/\d) +\d+\.\d  <hash…>", "$1  <time>  <hash…>"),
];

macro_rules! assert_transcript {
    ($name:literal, $shell:expr) => {
        insta::with_settings!({ filters => FILTERS, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, $shell.transcript());
        });
    };
}

/// A CSV file of digits that are all black, each with another label.
fn write_digits(path: &Path, count: usize) -> Result<()> {
    let mut text: String = (0..784).map(|pixel| format!("p{pixel},")).collect();
    text += "label\n";
    for label in 0..count {
        writeln!(text, "{}{label}", "0,".repeat(784))?;
    }
    Ok(fs::write(path, text)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_answers_as_it_should() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut shell = Shell::new(dir.path());
    shell.name(&dir.path().display().to_string(), "<dir>");

    let up = Up::start(dir.path(), &[], "Ctrl-C stops everything.").await?;
    let network = fs::read_to_string(dir.path().join(".fedroll/network.toml"))?;
    let stopped = up.stop().await?;
    let up = Up::start(dir.path(), &["--format", "json"], "}").await?;
    let running = learn(&mut shell, &serde_json::from_str(&up.said)?)?;
    ensure!(network.contains(running["rollup"].as_str().context("a rollup")?), "it goes on where it stopped");
    shell.note("fedroll up --workers 2 --split iid", &stopped)?;
    let said = Ran { stdout: up.said.clone(), stderr: String::new(), code: 0 };
    shell.note("fedroll up --workers 2 --split iid --format json", &said)?;
    shell.run("fedroll up").await?;
    shell.run("fedroll up --dir .fedroll --workers 3 --format json").await?;
    assert_transcript!("up", shell);

    keys(&mut shell).await?;
    assert_transcript!("keys", shell);
    job_files(&mut shell).await?;
    assert_transcript!("job_files", shell);
    job(&mut shell).await?;
    assert_transcript!("job", shell);
    money(&mut shell, &running).await?;
    assert_transcript!("money", shell);
    json(&mut shell, &running).await?;
    assert_transcript!("json", shell);
    unreachable(&mut shell, &running).await?;
    assert_transcript!("unreachable", shell);
    programs(&mut shell, &running).await?;
    assert_transcript!("programs", shell);
    up.stop().await?;
    Ok(())
}

async fn keys(shell: &mut Shell) -> Result<()> {
    shell.run("fedroll key new my.key").await?;
    shell.run("fedroll key new my.key").await?;
    shell.run("fedroll key show my.key").await?;
    shell.run("fedroll key new node.key --kind node --format json").await?;
    shell.run("fedroll key show node.key --kind node").await?;
    shell.run("fedroll key show none.key").await?;
    fs::write(shell.path("text.key"), "not a key\n")?;
    shell.run("fedroll key show text.key").await?;
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(shell.path("text.key"), fs::Permissions::from_mode(mode))
    };
    mode(0o600)?;
    shell.run("fedroll key show text.key --format json").await?;
    Ok(())
}

/// Files that no job can be made of, and jobs that nobody here could do.
async fn job_files(shell: &mut Shell) -> Result<()> {
    shell.run("fedroll job init").await?;
    shell.run("fedroll job init").await?;
    shell.run("fedroll job init other.toml --format json").await?;
    let mnist = ("workers = 4 ", "workers = 2 ");
    shell.rewrite("job.toml", "job.toml", &[mnist, ("rounds = 5 ", "rounds = 2 ")])?;
    fs::write(shell.path("binary"), [0xff; 40])?;
    let held_out = "by = \"coordinator\"\nimages = \"binary\"\nlabels = \"binary\"\n#";
    for change in [
        ("kind = \"logistic\"", "kind = \"resnet\""),
        ("[1, 28, 28]", "[0, 28, 28]"),
        ("kind = \"logistic\"\ninput = [1, 28, 28]", "kind = \"cnn-flower\"\ninput = [1, 3, 3]"),
        ("classes = 10", "classes = 1"),
        ("data = ", "dta = "),
        ("rounds = 2 ", "rounds = \"two\" "),
        ("price = \"0.5\"", "price = \"0\""),
        ("version = 1 ", "version = 2 "),
        ("[round]", "[round"),
        ("# start = \"weights.safetensors\"", "start = \"none.safetensors\""),
        ("# start = \"weights.safetensors\"", "start = \"binary\""),
        ("by = \"workers\"", held_out),
    ] {
        let base = if change.0.starts_with("kind") { "padded.toml" } else { "job.toml" };
        // The example explains its keys on their lines; two of them are changed together here.
        let plain = fs::read_to_string(shell.path("job.toml"))?;
        let plain = plain.lines().map(|line| line.split("  ").next().unwrap_or(line).trim_end());
        fs::write(shell.path("padded.toml"), plain.collect::<Vec<_>>().join("\n"))?;
        shell.rewrite(base, "bad.toml", &[change])?;
        shell.run("fedroll job submit bad.toml --yes").await?;
    }
    shell.run("fedroll job plan none.toml").await?;
    shell.run("fedroll job plan binary").await?;
    shell.run("fedroll job plan none.toml --format json").await?;
    shell.rewrite("job.toml", "bad.toml", &[("data = \"mnist\"", "data = \"cifar\"")])?;
    shell.run("fedroll job plan bad.toml").await?;
    shell.run("fedroll job plan bad.toml --format json").await?;
    shell.rewrite("job.toml", "bad.toml", &[("workers = 2 ", "workers = 3 ")])?;
    shell.run("fedroll job plan bad.toml").await?;
    // Two thousand digits that the job brings, for workers without any.
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/data/mnist/test-");
    let file = |what: &str| format!("{what} = \"{digits}{what}.idx.gz\"");
    let brought = [
        ("data = \"mnist\" ", "# data = \"mnist\" "),
        ("# [data] ", "[data] "),
        ("# images = \"images.idx.gz\"", &file("images")),
        ("# labels = \"labels.idx.gz\"", &file("labels")),
        ("# shards = 8 ", "shards = 8 "),
        ("by = \"workers\"", "by = \"none\""),
    ];
    shell.rewrite("job.toml", "shards.toml", &brought)?;
    shell.run("fedroll job plan shards.toml").await?;
    shell.run("fedroll job plan shards.toml --format json").await?;
    shell.rewrite("shards.toml", "bad.toml", &[("shards = 8 ", "shards = 1 ")])?;
    shell.run("fedroll job plan bad.toml").await?;
    Ok(())
}

async fn job(shell: &mut Shell) -> Result<()> {
    shell.run("fedroll job ls").await?;
    shell.run("fedroll job plan job.toml").await?;
    shell.run("fedroll job submit job.toml").await?;
    shell.run("fedroll job submit job.toml --yes").await?;
    shell.until("fedroll job status 0", |status| status["result"]["phase"] == "done").await?;
    shell.run("fedroll job watch 0").await?;
    shell.run("fedroll job ls").await?;
    shell.run("fedroll job status 0").await?;
    shell.run("fedroll job logs 0").await?;
    shell.run("fedroll job fetch 0").await?;
    shell.run("fedroll job fetch 0 --round 1 --output first.safetensors").await?;
    shell.run("fedroll job fetch 0 --round 9").await?;
    shell.run("fedroll job status 7").await?;
    shell.run("fedroll job logs 7").await?;
    shell.run("fedroll job watch seven").await?;

    write_digits(&shell.path("digits.csv"), 4)?;
    shell.run("fedroll infer --model job:0 --input digits.csv --output answers.jsonl").await?;
    shell
        .run("fedroll infer --model job:0 --input digits.csv --output answers.jsonl --per-task 2 --yes")
        .await?;
    ensure!(fs::read_to_string(shell.path("answers.jsonl"))?.lines().count() == 4);
    let weights = "--model job-0.safetensors --job 0";
    shell
        .run(&format!(
            "fedroll infer {weights} --input digits.csv --output again.jsonl --per-task 2 --yes -q"
        ))
        .await?;
    ensure!(fs::read(shell.path("answers.jsonl"))? == fs::read(shell.path("again.jsonl"))?);
    for bad in [
        "--model job:0 --input binary",
        "--model job:0 --input job.toml",
        "--model job:0 --input none.csv",
        "--model job:0 --input digits.csv --label-column truth",
        "--model job:0 --input digits.csv --price 0",
        "--model job:7 --input digits.csv",
        "--model digits.csv --job 0 --input digits.csv",
        "--model job-0.safetensors --input digits.csv",
    ] {
        shell.run(&format!("fedroll infer {bad} --output answers.jsonl --yes")).await?;
    }
    Ok(())
}

async fn money(shell: &mut Shell, running: &Value) -> Result<()> {
    let worker = account_0(shell).await?;
    let jobs_done = |list: &Value| {
        let jobs = list["result"]["jobs"].as_array();
        jobs.is_some_and(|jobs| jobs.len() == 3 && jobs.iter().all(|job| job["phase"] == "done"))
    };
    shell.until("fedroll job ls", jobs_done).await?;
    shell.run(&format!("fedroll claim --worker {worker} --dry-run")).await?;
    let is_final = |now: &Value| now["result"]["latest_batch"] == now["result"]["final_batch"];
    shell.until("fedroll chain status", is_final).await?;
    shell.run(&format!("fedroll explain --worker {worker}")).await?;
    shell.run("fedroll audit").await?;
    let evidence = running["coordinator"].as_str().context("a URL")?;
    shell.run(&format!("fedroll audit --evidence {evidence} --quiet")).await?;
    shell.run("fedroll claim --account 0 --dry-run").await?;
    shell.run(&format!("fedroll claim --worker {worker} --key-file my.key")).await?;
    shell.run("fedroll claim --account 0").await?;
    shell.run("fedroll claim --account 0").await?;
    shell.run("fedroll claim --all").await?;
    shell.run("fedroll claim --account 9").await?;
    shell.run("fedroll claim --refund 0").await?;
    shell.run("fedroll claim --refund 9").await?;
    shell.run("fedroll claim").await?;
    shell.run("fedroll job submit job.toml --yes --key-file my.key").await?;
    shell.run("fedroll job submit job.toml --yes --key-file none.key").await?;
    shell.run("fedroll job cancel 0").await?;
    relay::screens(shell).await?;
    shell.run("fedroll job cancel 0 --yes").await?;
    shell.run("fedroll job cancel 0 --yes").await?;
    shell.run("fedroll job cancel 1 --yes --key-file .fedroll/operator.key").await?;
    Ok(())
}

/// The worker that joined first.
async fn account_0(shell: &Shell) -> Result<String> {
    for number in [1, 2] {
        let line = format!("fedroll-worker status --format json --dir .fedroll/workers/{number}");
        if shell.quietly(&line).await?.json()?["coordinator"]["account"] == 0 {
            let key = shell.quietly(&format!("fedroll-worker key --dir .fedroll/workers/{number}")).await?;
            return Ok(key.stdout.trim().to_owned());
        }
    }
    anyhow::bail!("nobody has account 0")
}

/// The same answers for programs.
async fn json(shell: &mut Shell, running: &Value) -> Result<()> {
    let worker = account_0(shell).await?;
    let evidence = running["coordinator"].as_str().context("a URL")?;
    shell.run("fedroll job plan job.toml --format json").await?;
    shell.run("fedroll job submit job.toml --format json").await?;
    shell.run("fedroll job submit job.toml --yes --watch --format json --quiet").await?;
    shell.until("fedroll job status 3", |status| status["result"]["phase"] == "done").await?;
    for line in [
        "fedroll job watch 3",
        "fedroll job status 3",
        "fedroll job ls",
        "fedroll job fetch 3",
        "fedroll job status 7",
        "fedroll claim --account 0 --dry-run",
        "fedroll claim --account 9",
        "fedroll job frobnicate",
    ] {
        shell.run(&format!("{line} --format json --quiet")).await?;
    }
    let is_final = |now: &Value| now["result"]["latest_batch"] == now["result"]["final_batch"];
    shell.until("fedroll chain status", is_final).await?;
    for line in [
        "fedroll job logs 3",
        "fedroll job cancel 3 --yes",
        "fedroll claim --account 0",
        "fedroll infer --model job:3 --input digits.csv --output answers.jsonl --per-task 2 --yes",
    ] {
        shell.run(&format!("{line} --format json --quiet")).await?;
    }
    shell.until("fedroll job status 4", |status| status["result"]["phase"] == "done").await?;
    shell.run(&format!("fedroll explain --worker {worker} --job 3 --format json")).await?;
    shell.run(&format!("fedroll audit --evidence {evidence} --format json --quiet")).await?;
    shell.run("fedroll-worker --format json key --dir .fedroll/workers/1").await?;
    shell.run("fedroll worker status --format json --dir nowhere").await?;
    Ok(())
}

/// Nobody there, or somebody else.
async fn unreachable(shell: &mut Shell, running: &Value) -> Result<()> {
    let rpc = running["rpc"].as_str().context("a URL")?;
    let nobody = "http://127.0.0.1:9";
    let rollup = format!("0x{}", "11".repeat(20));
    shell.run(&format!("fedroll job ls --coordinator {nobody}")).await?;
    shell.run(&format!("fedroll job ls --coordinator {nobody} --format json")).await?;
    shell.run(&format!("fedroll job ls --coordinator {rpc}")).await?;
    shell.run("fedroll job ls --coordinator ftp://example.org").await?;
    shell.run("fedroll job ls --network nowhere").await?;
    shell.run(&format!("fedroll audit --rpc {nobody}")).await?;
    shell.run(&format!("fedroll audit --rpc {nobody} --format json")).await?;
    let http = running["coordinator"].as_str().context("a URL")?;
    shell.run(&format!("fedroll audit --rpc {http}")).await?;
    shell.run(&format!("fedroll audit --rollup {rollup}")).await?;
    shell.run(&format!("fedroll job submit job.toml --yes --rpc {nobody}")).await?;
    shell.run(&format!("fedroll job submit job.toml --yes --rollup {rollup}")).await?;
    shell.run(&format!("fedroll claim --all --rpc {nobody}")).await?;
    shell.run(&format!("fedroll chain status --rpc {nobody}")).await?;
    shell.run(&format!("fedroll explain --worker 0x{}", "22".repeat(32))).await?;
    Ok(())
}

/// The chain, the coordinator and the worker as commands.
async fn programs(shell: &mut Shell, running: &Value) -> Result<()> {
    let (rpc, rollup) = (&running["rpc"], &running["rollup"]);
    let (rpc, rollup) = (rpc.as_str().context("a URL")?, rollup.as_str().context("an address")?);
    let port = rpc.rsplit_once(':').context("a port")?.1;
    let operator = shell.quietly("fedroll key show .fedroll/operator.key").await?.stdout;
    let operator = operator.trim();
    shell.name(operator, "<operator>");
    shell.run("fedroll chain status").await?;
    shell.run("fedroll chain status --format json").await?;
    shell.run("fedroll chain bond show --format json").await?;
    let bond = "--key-file .fedroll/operator.key";
    shell.run(&format!("fedroll chain bond deposit fraud 0.04 {bond}")).await?;
    shell.run(&format!("fedroll chain bond deposit service 5 {bond}")).await?;
    shell.run(&format!("fedroll chain bond exit service 1.5 {bond}")).await?;
    shell.run("fedroll chain bond exit service").await?;
    shell.run("fedroll chain bond withdraw service").await?;
    shell.run("fedroll chain leaf show --batch 1 --leaf 0").await?;
    shell.run("fedroll chain leaf ask --batch 99 --leaf 0 --key-file .fedroll/operator.key").await?;
    shell.run("fedroll chain stake show").await?;
    shell.run("fedroll chain stake show --format json").await?;
    shell.run("fedroll chain stake join 25").await?;
    shell.run("fedroll chain stake exit").await?;
    let deploy = format!("fedroll chain deploy --rpc {rpc} --operator {operator}");
    shell.run(&deploy).await?;
    shell.run(&format!("{deploy} --key-file my.key")).await?;
    shell.run(&format!("{deploy} --key-file .fedroll/operator.key")).await?;
    shell.run(&format!("{deploy} --key-file .fedroll/operator.key --format json")).await?;
    shell.run(&format!("fedroll chain dev --dir chain --listen 127.0.0.1:{port}")).await?;
    shell.run("fedroll chain dev --dir .fedroll/chain --listen 127.0.0.1:0").await?;
    shell.run("fedroll chain dev --dir chain --listen 0.0.0.0:0 --format json").await?;

    let coordinator =
        format!("fedroll coordinator --rollup {rollup} --key-file .fedroll/operator.key --open");
    shell.run("fedroll coordinator").await?;
    shell.run(&format!("{coordinator} --rpc {rpc} --data-dir .fedroll/coordinator")).await?;
    shell.run(&format!("{coordinator} --rpc {rpc} --data-dir other --http 127.0.0.1:{port}")).await?;
    let busy = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let busy = busy.local_addr()?;
    let listen = format!("--http 127.0.0.1:0 --listen {busy}");
    shell.run(&format!("{coordinator} --rpc {rpc} --data-dir other {listen}")).await?;
    shell.run(&format!("{coordinator} --rpc http://127.0.0.1:9 --data-dir other --format json")).await?;
    let other = coordinator.replace(".fedroll/operator.key", "my.key");
    shell.run(&format!("{other} --rpc {rpc} --data-dir other")).await?;

    shell.run("fedroll worker run --dir worker").await?;
    let address = running["worker_address"].as_str().context("an address")?;
    shell.name(address, "<worker address>");
    let worker = format!("fedroll worker --log off run --coordinator {address} --payout {operator}");
    shell.run(&format!("{worker} --dir .fedroll/workers/1")).await?;
    shell.run(&format!("{worker} --dir worker --data mnist=none.csv")).await?;
    shell.run(&format!("{worker} --dir worker --data mnist=binary")).await?;
    shell.run(&format!("{worker} --dir worker --data mnist=job.toml --format json")).await?;
    fs::write(shell.path("worker.toml"), "slots = 1\nslosts = 2\n")?;
    shell.run("fedroll worker run --config worker.toml").await?;
    shell.run("fedroll worker status --dir nowhere").await?;
    shell.run("fedroll worker frobnicate").await?;
    for number in [1, 2] {
        // One of the two has done the first job's first task of account 0.
        let line = format!("fedroll worker status --dir .fedroll/workers/{number}");
        if shell.quietly(&line).await?.stdout.contains("account      0") {
            shell.run(&line).await?;
            shell.run(&format!("{line} --format json")).await?;
        }
    }
    Ok(())
}
