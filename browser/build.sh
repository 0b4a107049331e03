#!/usr/bin/env bash
# Compiles the checker for the page, with and without vectors: page/wasm/check.wasm and page/wasm/check-simd128.wasm.
# They hold no path of this machine. They are not in git: whoever changes a kernel would have to commit them again.
set -eu
cd "$(dirname "$0")/.."
wasm=wasm32-unknown-unknown
target=${CARGO_TARGET_DIR:-target}
rustup target list --installed | grep -qx $wasm || rustup target add $wasm

# A quarter more than a check may take (MEMORY_BYTES_MAX): the estimate knows nothing of gaps.
flags="-Clink-arg=--max-memory=1342177280 -Cstrip=symbols"
flags+=" --remap-path-prefix=$PWD=fedroll --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
mkdir -p browser/page/wasm
for vectors in "" -simd128; do
  RUSTFLAGS="$flags${vectors:+ -Ctarget-feature=+simd128}" \
    cargo build --release --locked --quiet -p browser --target $wasm --target-dir "$target/page$vectors"
  # Left as it is if it is the same: what embeds it need not be built again.
  cmp -s "$target/page$vectors/$wasm/release/browser.wasm" "browser/page/wasm/check$vectors.wasm" ||
    cp "$target/page$vectors/$wasm/release/browser.wasm" "browser/page/wasm/check$vectors.wasm"
done
