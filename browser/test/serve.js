// `fedroll audit --serve` as a process, until it is stopped.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';

const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url));

export const evidence = `${target}/browser/evidence`;
export const example = `${target}/release/examples/evidence`;

export async function serve() {
  const program = spawn(`${target}/debug/fedroll`, ['audit', '--serve', '--evidence', evidence], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => program.on('exit', resolve));
  const url = await new Promise((resolve, reject) => {
    createInterface(program.stdout).on('line', (line) => {
      const found = line.match(/http:\/\/\S+/);
      if (found) resolve(found[0]);
    });
    ended.then((code) => reject(new Error(`fedroll audit --serve ended with ${code}`)));
  });
  return { url, stop: () => { program.kill('SIGINT'); return ended; } };
}
