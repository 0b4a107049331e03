//! One command group a file: arguments in, a report out.

mod audit;
mod chain;
mod claim;
mod demo;
mod escape;
mod explain;
mod help_pages;
mod infer;
mod job;
mod key;
pub mod program;
mod up;
mod verify;

use crate::args::{Cli, Command};
use crate::exit::ExitStatus;
use crate::output::Output;

/// Runs the command.
pub async fn run(cli: &Cli, out: &Output) -> anyhow::Result<ExitStatus> {
    match &cli.command {
        Command::Up(args) => up::run(args, out).await,
        Command::Demo(args) => demo::run(args, out).await,
        Command::Job(command) => job::run(command, out).await,
        Command::Infer(args) => infer::run(args, out).await,
        Command::Audit(args) => audit::run(args, out).await,
        Command::Verify(command) => verify::run(command, out).await,
        Command::Claim(args) => claim::run(args, out).await,
        Command::Escape(args) => escape::run(args, out).await,
        Command::Explain(args) => explain::run(args, out).await,
        Command::Key(command) => key::run(command, out),
        Command::Chain(command) => chain::run(command, out).await,
        Command::Worker(passed) => program::run(program::Program::Worker, passed),
        Command::Coordinator(passed) => program::run(program::Program::Coordinator, passed),
        Command::HelpPages(args) => help_pages::run(args, out),
    }
}

/// The command's name, as the JSON documents give it: `job submit`.
pub fn name(command: &Command) -> &'static str {
    use crate::args::bond::Bond;
    use crate::args::job::Job;
    use crate::args::leaf::Leaf;
    use crate::args::money::{Chain, Key};
    use crate::args::pledge::Pledge;
    use crate::args::stake::Stake;
    use crate::args::verify::Verify;
    match command {
        Command::Up(_) => "up",
        Command::Demo(_) => "demo",
        Command::Job(Job::Init(_)) => "job init",
        Command::Job(Job::Plan(_)) => "job plan",
        Command::Job(Job::Submit(_)) => "job submit",
        Command::Job(Job::Ls(_)) => "job ls",
        Command::Job(Job::Status(_)) => "job status",
        Command::Job(Job::Watch(_)) => "job watch",
        Command::Job(Job::Logs(_)) => "job logs",
        Command::Job(Job::Approve(_)) => "job approve",
        Command::Job(Job::Cancel(_)) => "job cancel",
        Command::Job(Job::Relay(_)) => "job relay",
        Command::Job(Job::Fetch(_)) => "job fetch",
        Command::Infer(_) => "infer",
        Command::Audit(_) => "audit",
        Command::Verify(Verify::Task(_)) => "verify task",
        Command::Verify(Verify::Round(_)) => "verify round",
        Command::Verify(Verify::Dispute(_)) => "verify dispute",
        Command::Claim(_) => "claim",
        Command::Escape(_) => "escape",
        Command::Explain(_) => "explain",
        Command::Key(Key::New(_)) => "key new",
        Command::Key(Key::Show(_)) => "key show",
        Command::Chain(Chain::Dev(_)) => "chain dev",
        Command::Chain(Chain::Deploy(_)) => "chain deploy",
        Command::Chain(Chain::Status(_)) => "chain status",
        Command::Chain(Chain::Bond(Bond::Show(_))) => "chain bond show",
        Command::Chain(Chain::Bond(Bond::Deposit(_))) => "chain bond deposit",
        Command::Chain(Chain::Bond(Bond::Exit(_))) => "chain bond exit",
        Command::Chain(Chain::Bond(Bond::Withdraw(_))) => "chain bond withdraw",
        Command::Chain(Chain::Leaf(Leaf::Show(_))) => "chain leaf show",
        Command::Chain(Chain::Leaf(Leaf::Ask(_))) => "chain leaf ask",
        Command::Chain(Chain::Leaf(Leaf::End(_))) => "chain leaf end",
        Command::Chain(Chain::Pledge(Pledge::Show(_))) => "chain pledge show",
        Command::Chain(Chain::Pledge(Pledge::Deposit(_))) => "chain pledge deposit",
        Command::Chain(Chain::Pledge(Pledge::Exit(_))) => "chain pledge exit",
        Command::Chain(Chain::Pledge(Pledge::Withdraw(_))) => "chain pledge withdraw",
        Command::Chain(Chain::Stake(Stake::Show(_))) => "chain stake show",
        Command::Chain(Chain::Stake(Stake::Join(_))) => "chain stake join",
        Command::Chain(Chain::Stake(Stake::Exit(_))) => "chain stake exit",
        Command::Chain(Chain::Stake(Stake::Withdraw(_))) => "chain stake withdraw",
        Command::Chain(Chain::Stake(Stake::Prove(_))) => "chain stake prove",
        Command::Worker(_) => "worker",
        Command::Coordinator(_) => "coordinator",
        Command::HelpPages(_) => "help-pages",
    }
}
