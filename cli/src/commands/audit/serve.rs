//! `fedroll audit --serve`: the page that checks a training in a browser, and evidence for it.
//!
//! The page is a static one (`browser/page`): any other server of files will do. What this one adds is a list of the
//! evidence files in some directories, and evidence of single tasks, made of what a coordinator or a mirror shows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use models::replay::evidence::MEMORY_BYTES_MAX;
use protocol::ids::TaskId;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::args::money::Audit;
use crate::error::{CliError, file};
use crate::exit::ExitStatus;
use crate::output::{Output, Report};
use crate::page::Page;
use crate::rerun::{self, Blobs};
use crate::signals;
use crate::source::Source;

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// What files of evidence are called.
const ENDING: &str = ".evidence";
/// Files that are listed at most.
const FILES_MAX: usize = 1_000;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ASSETS: [(&str, &str, &str); 5] = [
    ("index.html", HTML, include_str!("../../../../browser/page/index.html")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../../../browser/page/style.css")),
    ("app.js", SCRIPT, include_str!("../../../../browser/page/app.js")),
    ("worker.js", SCRIPT, include_str!("../../../../browser/page/worker.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../../../browser/page/icon.svg")),
];

/// The page says the same of itself; its worker has only this.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Serialize)]
struct Serving {
    url: String,
    files: usize,
    tasks: bool,
}

impl Report for Serving {
    fn text(&self, page: &mut Page) {
        page.facts(&[("page", &self.url), ("files", &self.files)]);
        page.line("Ctrl-C stops it.");
    }
}

/// What is served.
#[derive(Debug, Default)]
struct Shelf {
    /// Directories with files of evidence.
    directories: Vec<PathBuf>,
    /// Who shows what tasks were, and has their blobs.
    sources: Vec<Source>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    bytes: u64,
}

#[derive(Serialize)]
struct List {
    files: Vec<Listed>,
    /// Whether single tasks can be asked for.
    tasks: bool,
}

/// Serves until it is asked to stop.
pub async fn run(args: &Audit, address: SocketAddr, out: &Output) -> anyhow::Result<ExitStatus> {
    if MODULES.is_empty() {
        let what = "this program was built without the page's WebAssembly".to_owned();
        let fix = "run browser/build.sh and build it again, as `make build` does";
        return Err(CliError::Mismatch { what, fix }.into());
    }
    let stop = signals::stop()?;
    let shelf = Shelf::open(&args.evidence)?;
    let answer = Serving { url: String::new(), files: shelf.list()?.len(), tasks: !shelf.sources.is_empty() };
    let listener = TcpListener::bind(address).await.map_err(file("listen at", address.to_string()))?;
    let url = format!("http://{}/", listener.local_addr()?);
    out.answer(&Serving { url, ..answer })?;
    axum::serve(listener, router(shelf)).with_graceful_shutdown(stop).await?;
    Ok(ExitStatus::Yes)
}

fn router(shelf: Shelf) -> Router {
    let mut router = Router::new();
    for (name, kind, text) in ASSETS {
        let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
        router = router.route(&path, get(move || async move { answer(kind, text) }));
    }
    for (name, bytes) in MODULES {
        let module = move || async move { answer("application/wasm", *bytes) };
        router = router.route(&format!("/wasm/{name}"), get(module));
    }
    router
        .route("/evidence.json", get(list))
        .route("/evidence/{name}", get(one))
        .route("/task/{job}/{settlement}/{slot}", get(task))
        .with_state(Arc::new(shelf))
}

fn answer(kind: &'static str, body: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body.into()).into_response()
}

/// A refusal, in words that the page shows.
fn refusal(why: impl ToString) -> Response {
    let mut response = answer("text/plain; charset=utf-8", why.to_string());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn evidence(bytes: Vec<u8>) -> Response {
    answer("application/octet-stream", bytes)
}

async fn list(State(shelf): State<Arc<Shelf>>) -> Response {
    match shelf.list() {
        Ok(files) => {
            let list = List { files, tasks: !shelf.sources.is_empty() };
            answer("application/json", serde_json::to_vec(&list).expect("a list is plain data"))
        }
        Err(error) => refusal(error),
    }
}

async fn one(State(shelf): State<Arc<Shelf>>, Path(name): Path<String>) -> Response {
    // Only what is listed: a name that leads out of the directories is on no list.
    match shelf.find(&name) {
        Ok(Some(path)) => match tokio::fs::read(&path).await {
            Ok(bytes) => evidence(bytes),
            Err(error) => refusal(CliError::File { action: "read", path, source: error }),
        },
        Ok(None) => refusal(format!("there is no file {name} of at most {MEMORY_BYTES_MAX} bytes")),
        Err(error) => refusal(error),
    }
}

async fn task(
    State(shelf): State<Arc<Shelf>>,
    Path((job, settlement, slot)): Path<(String, String, String)>,
) -> Response {
    let Ok(task) = format!("{job}/{settlement}/{slot}").parse::<TaskId>() else {
        return refusal("a task is named job/settlement/slot, for example 0/0/3");
    };
    let mut last = "no coordinator or mirror was named with --evidence".to_owned();
    for source in &shelf.sources {
        let sources = std::slice::from_ref(source);
        let blobs = Blobs { sources, mirror: None };
        match rerun::find(task, sources).await {
            Ok(done) => match rerun::evidence(&done, &blobs).await {
                Ok(bytes) => return evidence(bytes),
                Err(why) => last = why,
            },
            Err(error) => last = error.to_string(),
        }
    }
    refusal(last)
}

impl Shelf {
    /// URLs are of coordinators and mirrors; directories hold files, or are mirrors.
    fn open(named: &[String]) -> Result<Self, CliError> {
        let mut shelf = Self::default();
        for text in named {
            match Source::open(text)? {
                Source::Mirror(path) => {
                    if path.join("v1").is_dir() {
                        shelf.sources.push(Source::Mirror(path.clone()));
                    }
                    shelf.directories.push(path);
                }
                source @ Source::Http(_) => shelf.sources.push(source),
            }
        }
        Ok(shelf)
    }

    /// All files that a browser may check, by name; of two of one name the first.
    fn paths(&self) -> Result<Vec<(Listed, PathBuf)>, CliError> {
        let mut found: Vec<(Listed, PathBuf)> = Vec::new();
        for directory in &self.directories {
            for entry in std::fs::read_dir(directory).map_err(file("read", directory))? {
                let entry = entry.map_err(file("read", directory))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                // What is gone by now, or cannot be looked at, is not listed.
                let Ok(about) = std::fs::metadata(entry.path()) else { continue };
                let fits = about.is_file() && about.len() <= MEMORY_BYTES_MAX && name.ends_with(ENDING);
                if fits && found.iter().all(|(other, _)| other.name != name) && found.len() < FILES_MAX {
                    found.push((Listed { name, bytes: about.len() }, entry.path()));
                }
            }
        }
        found.sort_by(|(left, _), (right, _)| left.name.cmp(&right.name));
        Ok(found)
    }

    fn list(&self) -> Result<Vec<Listed>, CliError> {
        Ok(self.paths()?.into_iter().map(|(listed, _)| listed).collect())
    }

    fn find(&self, name: &str) -> Result<Option<PathBuf>, CliError> {
        Ok(self.paths()?.into_iter().find(|(listed, _)| listed.name == name).map(|(_, path)| path))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// Status, policy and body of what is answered.
    async fn asked(address: SocketAddr, path: &str) -> (u16, Option<String>, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: page\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
        (head[9..12].parse().unwrap(), policy.map(str::to_owned), body.to_owned())
    }

    #[tokio::test]
    async fn the_page_and_listed_files_are_served_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.evidence"), "some evidence").unwrap();
        std::fs::write(directory.path().join("secret.key"), "secret").unwrap();
        std::fs::create_dir(directory.path().join("b.evidence")).unwrap();
        let shelf = Shelf::open(&[directory.path().to_str().unwrap().to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router(shelf)).await });

        let (status, policy, body) = asked(address, "/").await;
        assert_eq!((status, policy.as_deref()), (200, Some(POLICY)));
        assert!(body.contains("Check a training"));
        let (_, _, body) = asked(address, "/evidence.json").await;
        assert_eq!(body, r#"{"files":[{"name":"a.evidence","bytes":13}],"tasks":false}"#);
        assert_eq!(asked(address, "/evidence/a.evidence").await.2, "some evidence");
        for path in ["/evidence/secret.key", "/evidence/b.evidence", "/evidence/..%2Fsecret.key"] {
            let (status, _, body) = asked(address, path).await;
            assert_eq!(status, 404, "{path}");
            assert!(!body.contains("secret\n") && body.contains("there is no file"), "{path}: {body}");
        }
        let (status, _, body) = asked(address, "/task/0/0/1").await;
        assert_eq!((status, body.as_str()), (404, "no coordinator or mirror was named with --evidence"));
        assert!(asked(address, "/task/0/0/x").await.2.contains("job/settlement/slot"));
    }

    #[test]
    fn what_is_answered_is_what_the_page_says_of_itself() {
        let (_, _, page) = ASSETS[0];
        let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap();
        let policy = policy.split('"').next().unwrap();
        assert_eq!(POLICY, format!("{policy}; frame-ancestors 'none'"));
        for (name, _, text) in ASSETS.into_iter().filter(|(name, ..)| !name.ends_with(".svg")) {
            assert!(!text.contains("http://") && !text.contains("https://"), "{name} names another server");
        }
    }
}
