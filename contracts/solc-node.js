#!/usr/bin/env node
// The part of solc's command line that forge uses, answered by the npm package `solc`:
// `--version`, and `--standard-json` from standard input to standard output.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const solc = require("solc");

const args = process.argv.slice(2);

if (args.includes("--version")) {
  const version = solc.version().replace(/\.Emscripten\.clang$/, ".Linux.g++");
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (args.includes("--standard-json")) {
  const roots = [__dirname, path.join(__dirname, "node_modules")];
  const resolve = (name) => {
    for (const root of roots) {
      const file = path.resolve(root, name);
      if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
    }
    return { error: `no such file: ${name}` };
  };
  const input = fs.readFileSync(0, "utf8");
  process.stdout.write(solc.compile(input, { import: resolve }));
} else {
  process.stderr.write(`solc-node.js knows --version and --standard-json, not: ${args.join(" ")}\n`);
  process.exitCode = 1;
}
