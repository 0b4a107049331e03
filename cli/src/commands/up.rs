//! `fedroll up`

use std::path::{Path, PathBuf};

use protocol::ids::Address;
use serde::Serialize;

use crate::args::local::Up;
use crate::exit::ExitStatus;
use crate::local::{Local, LocalWorker, Ports, Process};
use crate::output::{Output, Report};
use crate::page::{Column, Page, or_dash, short};
use crate::signals;

#[derive(Serialize)]
struct Running {
    dir: PathBuf,
    development_chain: bool,
    rpc: String,
    #[serde(with = "protocol::api::text")]
    rollup: Address,
    coordinator: String,
    worker_address: String,
    examples: u64,
    workers: Vec<LocalWorker>,
    processes: Vec<Process>,
}

impl Report for Running {
    fn text(&self, page: &mut Page) {
        page.heading(format_args!("A fedroll network runs in {}", self.dir.display()));
        page.facts(&[
            ("development chain", &self.rpc),
            ("rollup", &self.rollup),
            ("coordinator", &self.coordinator),
            ("workers dial", &self.worker_address),
        ]);
        page.heading("Processes");
        let rows = self.processes.iter().map(|process| {
            vec![process.name.clone(), or_dash(process.pid), process.log.display().to_string()]
        });
        page.table(&[Column::Left("name"), Column::Right("pid"), Column::Left("log")], rows, "none");
        page.heading("Workers");
        let rows = self.workers.iter().map(|worker| {
            vec![short(worker.worker), worker.payout.to_string(), worker.dir.display().to_string()]
        });
        page.table(
            &[Column::Left("worker"), Column::Left("payout"), Column::Left("directory")],
            rows,
            "none",
        );
        page.heading("From another terminal");
        let flag = self.network_flag();
        page.line(format_args!("  fedroll job submit jobs/mnist.toml{flag}"));
        page.line(format_args!("  fedroll job watch 0{flag}"));
        page.line(format_args!("  fedroll audit --rpc {} --rollup {}", self.rpc, self.rollup));
        if let Some(worker) = self.workers.first() {
            page.line(format_args!("  fedroll claim --worker {}{flag}", worker.worker));
        }
        page.gap();
        page.line("Development chain: its money is worth nothing. The contracts are unaudited.");
        page.line("Ctrl-C stops everything.");
    }
}

impl Running {
    /// What has to be added to a command so that it finds this network.
    fn network_flag(&self) -> String {
        if self.dir == Path::new(".fedroll") {
            String::new()
        } else {
            format!(" --network {}", self.dir.display())
        }
    }
}

/// Runs a network until it is asked to stop.
pub async fn run(args: &Up, out: &Output) -> anyhow::Result<ExitStatus> {
    let stop = signals::stop()?;
    tokio::pin!(stop);
    let ports = Ports { http: args.http_port, rpc: args.rpc_port };
    // Whatever had been started is killed if the signal comes first.
    let mut local = tokio::select! {
        local = Local::start(&args.dir, &args.shape, ports, out) => local?,
        () = &mut stop => return Ok(ExitStatus::Yes),
    };
    let answered = out.answer(&Running {
        dir: args.dir.clone(),
        development_chain: true,
        rpc: local.network.rpc.clone(),
        rollup: local.network.rollup,
        coordinator: local.network.coordinator.clone(),
        worker_address: local.network.worker_address.clone(),
        examples: local.examples,
        workers: local.workers.clone(),
        processes: local.processes(),
    });
    let ended = match answered {
        Ok(_) => tokio::select! {
            error = local.first_death() => Err(error.into()),
            () = &mut stop => Ok(ExitStatus::Yes),
        },
        Err(error) => Err(error),
    };
    out.note("stopping");
    local.stop().await;
    ended
}
