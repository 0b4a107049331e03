//! Embeds the page's WebAssembly, where `browser/build.sh` has made it: builds that lack it cannot serve the page.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

const MODULES: [&str; 2] = ["check-simd128.wasm", "check.wasm"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../browser/page");
    // The folder, which is there, and not the modules, which may not be: cargo would run this every time.
    writeln!(std::io::stdout(), "cargo::rerun-if-changed={}", page.display())?;
    let modules = MODULES.map(|name| page.join("wasm").join(name));
    let mut code = String::from("static MODULES: &[(&str, &[u8])] = &[");
    if modules.iter().all(|path| path.is_file()) {
        for (name, path) in MODULES.iter().zip(&modules) {
            write!(code, "({name:?}, include_bytes!({:?})),", path.canonicalize()?)?;
        }
    }
    code.push_str("];");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo names the folder")?;
    std::fs::write(Path::new(&out).join("modules.rs"), code)?;
    Ok(())
}
