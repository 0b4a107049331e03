//! `fedroll job …`

mod approve;
mod cancel;
mod checks;
mod fetch;
mod init;
mod logs;
pub mod plan;
mod relay;
pub mod show;
pub mod submit;
pub mod watch;

use crate::args::job::Job;
use crate::exit::ExitStatus;
use crate::output::Output;

/// Runs one of the job commands.
pub async fn run(command: &Job, out: &Output) -> anyhow::Result<ExitStatus> {
    match command {
        Job::Init(args) => init::run(args, out),
        Job::Plan(args) => plan::run(args, out).await,
        Job::Ls(args) => show::list(args, out).await,
        Job::Status(args) => show::status(args, out).await,
        Job::Watch(args) => watch::run(args, out).await,
        Job::Logs(args) => logs::run(args, out).await,
        Job::Submit(args) => submit::run(args, out).await,
        Job::Approve(args) => approve::run(args, out).await,
        Job::Cancel(args) => cancel::run(args, out).await,
        Job::Relay(args) => relay::run(args, out).await,
        Job::Fetch(args) => fetch::run(args, out).await,
    }
}
