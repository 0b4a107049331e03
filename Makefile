# Every target does its own set-up. README.md says what each is for.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
# One set of features for everything that verify and test build: another would compile the libraries twice.
BUILD_ALL := cargo build --locked --workspace --bins --tests
NPM := contracts/node_modules/.package-lock.json
CHROMIUM := browser/node_modules/.package-lock.json

.PHONY: help build demo test tests verify fix contracts sim bench bench-peers reproduce fuzz fuzz-ledger mutate-blobs wasm page browser
.PHONY: browser-bench

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build the three programs, optimised
	@browser/build.sh || echo "SKIPPED the page: fedroll audit --serve will not have it" >&2
	cargo build --release --locked --bins -p coordinator -p worker -p cli

demo: build ## train, settle, audit, claim and infer on this machine, in under three minutes
	$(RELEASE)/fedroll demo $(ARGS)

test: verify reproduce browser tests ## verify, compare architectures and browsers, then every test: what CI runs

# The runner's summary is the last line that this prints.
tests: $(NPM)
	contracts/build.sh test
	$(BUILD_ALL)
	@if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --locked --workspace --no-fail-fast --status-level slow --final-status-level slow; \
	else \
	  cargo test --locked --workspace --no-fail-fast; \
	fi

verify: $(NPM) wasm page ## check formatting, lints, generated files; writes nothing
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	contracts/build.sh check
	$(BUILD_ALL)
	$(TARGET)/debug/fedroll help-pages --check docs/cli

# What must stay free of the host: protocol without its `quic` feature.
wasm:
	@rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
	cargo check --locked --quiet -p protocol --target wasm32-unknown-unknown

page: ## compile the checker of the page that fedroll audit --serve shows: browser/page/wasm
	browser/build.sh

# Evidence, honest and not, for the page.
$(TARGET)/browser/evidence: page
	cargo build --release --locked --quiet -p browser --example evidence
	$(RELEASE)/examples/evidence write $@

browser: $(CHROMIUM) $(TARGET)/browser/evidence ## check evidence in a headless Chromium, which npm brings
	$(BUILD_ALL)
	node --test browser/test/page.test.js

browser-bench: $(CHROMIUM) $(TARGET)/browser/evidence ## examples a second in Chromium, and outside of it
	$(BUILD_ALL)
	node browser/test/bench.js

$(CHROMIUM): browser/package-lock.json
	npm ci --prefix browser --no-audit --no-fund --loglevel=error

fix: $(NPM) ## rewrite what verify would complain about
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	contracts/build.sh build
	cargo build --workspace --bins --tests
	$(TARGET)/debug/fedroll help-pages docs/cli

contracts: $(NPM) ## compile the contracts and rewrite artifacts and gas snapshots
	contracts/build.sh build

$(NPM): contracts/package-lock.json
	npm ci --prefix contracts --no-audit --no-fund --loglevel=error

sim: ## simulate clusters: make sim SEED=42, or RUNS=100000
	cargo sim $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS))

bench: ## measure every figure against its reference, PyTorch's too if it is installed; writes target/bench.json
	cargo build --release --locked -p coordinator -p tests --bins
	cargo build --release --locked -p models --example speed
	$(RELEASE)/bench $(ARGS)

bench-peers: ## training beside PyTorch, which it installs (5 GB below target/); ARGS="--only cnn"
	cargo build --release --locked -p models --example speed
	@[ -e $(TARGET)/peers/installed ] || { python3 -m venv $(TARGET)/peers/venv && \
	  $(TARGET)/peers/venv/bin/python -m pip install -q --no-cache-dir -r tests/peers/requirements.txt && touch $(TARGET)/peers/installed; }
	$(TARGET)/peers/venv/bin/python tests/peers/compare.py $(RELEASE)/examples/speed --json $(TARGET)/bench-peers.json $(ARGS)

reproduce: ## run the fixed computations on every architecture there is, and compare their digests
	tests/reproduce.sh

fuzz: ## fuzz every decoder with libFuzzer (needs nightly and cargo-fuzz): make fuzz TARGET=frame SECONDS=60
	cd fuzz && cargo +nightly fuzz run $(or $(TARGET),frame) -- -max_total_time=$(or $(SECONDS),60)

fuzz-ledger: ## run chunks through both ledgers, Rust and Solidity: make fuzz-ledger SEED=1 CASES=1000000
	cargo run --release --locked -q -p tests --bin fuzz-ledger -- $(if $(SEED),--seed $(SEED)) $(if $(CASES),--cases $(CASES))

mutate-blobs: ## change each byte of a batch's blob, and take all that comes of it to the contracts (minutes)
	EVERY_BYTE=1 cargo nextest run --locked -p tests --no-capture -E 'test(blob_mutations::)'
