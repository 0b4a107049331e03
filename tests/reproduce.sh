#!/usr/bin/env bash
# Runs models::proof on every architecture this machine can run, and compares all digests with the committed ones:
# this processor's instruction sets; aarch64 under qemu-user; wasm32, with and without simd128, under wasmtime.
# It installs what it needs: Debian's packages as root only, Python's wasmtime below the target directory. What cannot be
# run is said and counted; REQUIRE_ALL=1 makes it a failure.
set -u
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
passed=0 failed=0 skipped=0

skip() {
  echo "SKIPPED $1: $2"
  skipped=$((skipped + 1))
}

# name, then the command that runs it
run() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then passed=$((passed + 1)); else
    echo "FAILED $name"
    failed=$((failed + 1))
  fi
}

# Debian packages, where they may be installed without asking.
install() {
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
  echo "installing $*"
  { apt-get install -qq -y --no-install-recommends "$@" || { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"; }; } \
    >/dev/null 2>&1
}

has_target() {
  rustup target list --installed 2>/dev/null | grep -qx "$1" || rustup target add "$1" >/dev/null 2>&1
}

build() {
  cargo build --release --locked --quiet -p models --bin reproduce "$@"
}

run "this processor" bash -c 'cargo run --release --locked --quiet -p models --bin reproduce'

aarch64=aarch64-unknown-linux-gnu
command -v aarch64-linux-gnu-gcc >/dev/null && { command -v qemu-aarch64 || command -v qemu-aarch64-static; } >/dev/null ||
  install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross || true
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if ! has_target $aarch64; then skip aarch64 "no Rust target $aarch64"
elif ! command -v aarch64-linux-gnu-gcc >/dev/null; then skip aarch64 "no linker (Debian: gcc-aarch64-linux-gnu)"
elif [ -z "$qemu" ]; then skip aarch64 "no emulator (Debian: qemu-user)"
elif ! CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc build --target $aarch64; then
  run aarch64 false
else
  run "aarch64 (qemu-user)" "$qemu" -L /usr/aarch64-linux-gnu "$target/$aarch64/release/reproduce"
fi

# The command line program, or the Python package of the same name.
python=${PYTHON:-python3}
if ! command -v wasmtime >/dev/null && ! $python -c 'import wasmtime' 2>/dev/null; then
  venv=$target/wasmtime
  [ -x "$venv/bin/python" ] || { $python -m venv "$venv" && "$venv/bin/pip" install -q wasmtime==50.0.1; } >/dev/null 2>&1
  python=$venv/bin/python
fi
if command -v wasmtime >/dev/null; then wasm=(wasmtime run)
elif "$python" -c 'import wasmtime' 2>/dev/null; then wasm=("$python" tests/wasi.py)
else wasm=(); fi
wasi=wasm32-wasip1
for flags in "" "-Ctarget-feature=+simd128"; do
  name="wasm32${flags:+ with simd128}"
  out=$target/wasm${flags:+-simd128}
  if ! has_target $wasi; then skip "$name" "no Rust target $wasi"
  elif [ ${#wasm[@]} -eq 0 ]; then skip "$name" "no wasmtime (the program, or PyPI's package for \$PYTHON)"
  elif ! RUSTFLAGS="$flags" build --target $wasi --target-dir "$out"; then run "$name" false
  else run "$name (wasmtime)" "${wasm[@]}" "$out/$wasi/release/reproduce.wasm"; fi
done

echo "reproduce: $passed passed, $failed failed, $skipped SKIPPED"
[ "$failed" -eq 0 ] && { [ "$skipped" -eq 0 ] || [ "${REQUIRE_ALL:-0}" != 1 ]; }
