//! `fedroll worker …` and `fedroll coordinator …`: run the program that lies beside this one.

use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Passed;
use crate::error::CliError;
use crate::exit::ExitStatus;

/// A program of the same workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `fedroll-coordinator`
    Coordinator,
    /// `fedroll-worker`
    Worker,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "fedroll-coordinator",
            Self::Worker => "fedroll-worker",
        }
    }

    /// Finds it beside this program, and checks that it is of the same version.
    pub fn find(self) -> Result<PathBuf, CliError> {
        let dir = own_path()?.parent().map(Path::to_owned).unwrap_or_default();
        self.find_in(&dir)
    }

    fn find_in(self, dir: &Path) -> Result<PathBuf, CliError> {
        let path = dir.join(format!("{}{EXE_SUFFIX}", self.name()));
        if !path.is_file() {
            return Err(CliError::Program { why: format!("{} is not there", path.display()) });
        }
        let said = Command::new(&path).arg("--version").output();
        let said = said.map_err(|error| CliError::Program { why: format!("{}: {error}", path.display()) })?;
        let said = String::from_utf8_lossy(&said.stdout);
        // clap's form: the name, a space, the version.
        match said.split_whitespace().last() {
            Some(env!("CARGO_PKG_VERSION")) => Ok(path),
            other => {
                let other = other.unwrap_or("unknown");
                let why = format!(
                    "{} is of version {other}, this program of {}",
                    path.display(),
                    env!("CARGO_PKG_VERSION")
                );
                Err(CliError::Program { why })
            }
        }
    }
}

/// Where this program lies.
pub fn own_path() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| CliError::Program {
        why: format!("this program does not know where it lies: {error}"),
    })
}

/// Becomes the program: its words and its exit code are the command's.
pub fn run(program: Program, passed: &Passed) -> anyhow::Result<ExitStatus> {
    let path = program.find()?;
    let mut command = Command::new(&path);
    command.args(&passed.arguments);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        // Comes back only if it fails.
        let error = command.exec();
        Err(CliError::Program { why: format!("{}: {error}", path.display()) }.into())
    }
    #[cfg(not(unix))]
    {
        let status = command.status();
        let status =
            status.map_err(|error| CliError::Program { why: format!("{}: {error}", path.display()) })?;
        Ok(match status.code() {
            Some(0) => ExitStatus::Yes,
            Some(1) => ExitStatus::No,
            _ => ExitStatus::Error,
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_missing_program_or_one_of_another_version_is_an_error_that_names_the_build_command() {
        let dir = tempfile::tempdir().unwrap();
        let error = Program::Worker.find_in(dir.path()).unwrap_err();
        assert!(error.to_string().contains("fedroll-worker is not there"), "{error}");
        assert!(error.fix().unwrap().contains("cargo build"));

        let path = dir.path().join("fedroll-worker");
        for (version, good) in [("9.9.9", false), (env!("CARGO_PKG_VERSION"), true)] {
            std::fs::write(&path, format!("#!/bin/sh\necho fedroll-worker {version}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            match Program::Worker.find_in(dir.path()) {
                Ok(found) => assert!(good && found == path),
                Err(error) => assert!(!good && error.to_string().contains("9.9.9"), "{error}"),
            }
        }
    }
}
