//! `fedroll key …`: makes keys and shows their public halves. A secret is never printed.

use std::path::PathBuf;

use serde::Serialize;

use crate::args::money::{Key, KeyFile, KeyKind};
use crate::exit::ExitStatus;
use crate::keys;
use crate::output::{Output, Report};
use crate::page::Page;

#[derive(Serialize)]
struct Shown {
    file: PathBuf,
    kind: &'static str,
    public: String,
    made: bool,
}

impl Report for Shown {
    fn text(&self, page: &mut Page) {
        page.line(&self.public);
    }
}

/// Makes or shows a key.
pub fn run(command: &Key, out: &Output) -> anyhow::Result<ExitStatus> {
    let (KeyFile { file, kind }, made) = match command {
        Key::New(args) => (args, true),
        Key::Show(args) => (args, false),
    };
    let public = match (kind, made) {
        (KeyKind::Eth, true) => keys::create_eth(file)?.address().to_string(),
        (KeyKind::Eth, false) => keys::read_eth(file)?.address().to_string(),
        (KeyKind::Node, true) => keys::create_node(file)?.id().to_string(),
        (KeyKind::Node, false) => keys::read_node(file)?.id().to_string(),
    };
    if made {
        out.note(format_args!("made {} (mode 0600): nobody can restore it, keep a copy", file.display()));
    }
    let kind = match kind {
        KeyKind::Eth => "eth",
        KeyKind::Node => "node",
    };
    out.answer(&Shown { file: file.clone(), kind, public, made })
}
