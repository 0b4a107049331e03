#!/bin/sh
# Compiles the contracts and writes artifacts/*.json, or compares them with what is committed.
#   build.sh build     compile and rewrite artifacts/
#   build.sh check     compile; fail if artifacts/ or the formatting differ; write nothing that is committed
#   build.sh test      forge's tests; fail if snapshots/ differ
# Needs node and the packages of package-lock.json: npm ci --prefix contracts
set -eu
cd "$(dirname "$0")"
mode="${1:-}"

# npm carries Foundry 1.7.1 for one platform; elsewhere the one on the PATH must do.
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) forge=node_modules/@foundry-rs/forge-linux-amd64/bin/forge ;;
  *) forge=forge ;;
esac
if ! command -v "$forge" >/dev/null || [ ! -d node_modules/solc ]; then
  echo "contracts/build.sh: the Solidity toolchain is missing; run: npm ci --prefix contracts" >&2
  exit 2
fi

artifacts() { # $1: a folder to write to
  "$forge" build --quiet solidity/src
  mkdir -p "$1"
  node -e '
    const fs = require("node:fs");
    for (const name of ["Rollup", "Challenges", "ServiceBonds", "WorkerRegistry", "DisputeBonds", "FundingRelay", "DevToken"]) {
      const made = JSON.parse(fs.readFileSync(`out/${name}.sol/${name}.json`, "utf8"));
      const places = Object.values(made.deployedBytecode.immutableReferences ?? {}).flat();
      const artifact = {
        contractName: name,
        compiler: "solc 0.8.37, via IR, optimizer runs 700, evm osaka, no metadata",
        abi: made.abi,
        bytecode: made.bytecode.object,
        deployedBytecode: made.deployedBytecode.object,
        // Where construction writes immutable values into the deployed code: [start, length], in bytes.
        immutables: places.map((place) => [place.start, place.length]).sort((a, b) => a[0] - b[0]),
      };
      fs.writeFileSync(`${process.argv[1]}/${name}.json`, JSON.stringify(artifact, null, 2) + "\n");
    }
  ' "$1"
}

case "$mode" in
  build)
    artifacts artifacts
    ;;
  check)
    fresh="$(mktemp -d)"
    trap 'rm -rf "$fresh"' EXIT
    artifacts "$fresh"
    "$forge" fmt --check
    if ! diff -ru artifacts "$fresh"; then
      echo "contracts/build.sh: artifacts/ is not what the sources compile to; run: make contracts" >&2
      exit 1
    fi
    ;;
  test)
    FORGE_SNAPSHOT_CHECK=true "$forge" test
    ;;
  *)
    echo "usage: contracts/build.sh build|check|test" >&2
    exit 2
    ;;
esac
