//! `fedroll job init`

use std::path::PathBuf;

use serde::Serialize;

use crate::args::job::Init;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::files;
use crate::jobfile;
use crate::output::{Output, Report};
use crate::page::Page;

#[derive(Serialize)]
struct Written {
    file: PathBuf,
}

impl Report for Written {
    fn text(&self, page: &mut Page) {
        let file = self.file.display();
        page.line(format_args!("wrote {file}: edit it, then `fedroll job plan {file}`"));
    }
}

/// Writes the commented example; never over a file that is there.
pub fn run(args: &Init, out: &Output) -> anyhow::Result<ExitStatus> {
    if args.file.exists() {
        return Err(CliError::Exists { path: args.file.clone() }.into());
    }
    files::write(&args.file, jobfile::EXAMPLE.as_bytes())?;
    out.answer(&Written { file: args.file.clone() })
}
