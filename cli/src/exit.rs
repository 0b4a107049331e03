//! What the process says when it ends.

use std::process::ExitCode;

/// The three answers a command can end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, or: the answer is yes.
    Yes,
    /// The answer is no: the audit does not match, the job failed, the plan has problems.
    No,
    /// There is no answer: something kept the command from finding one.
    Error,
}

impl ExitStatus {
    /// [`ExitStatus::Yes`] if `answer`.
    pub fn from_answer(answer: bool) -> Self {
        if answer { Self::Yes } else { Self::No }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        match status {
            ExitStatus::Yes => ExitCode::SUCCESS,
            ExitStatus::No => ExitCode::from(1),
            ExitStatus::Error => ExitCode::from(2),
        }
    }
}
