// One worker checks one file: it is read into the module's memory, and run again some steps at a time.
'use strict';

const GO_ON = 0;
const DONE = 1;
// Between two reports; long enough that reporting costs nothing.
const REPORT_MS = 80;

// A module with one vector instruction: where it is valid, there are vectors.
const VECTORS = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0,
  253, 15, 253, 98, 11);

class Refused extends Error {}

let checker;
let vectors;

function report() {
  const bytes = new Uint8Array(checker.memory.buffer, checker.report(), checker.report_bytes());
  return JSON.parse(new TextDecoder().decode(bytes));
}

// A call of the module, and what it reports.
function call(name, ...numbers) {
  let status;
  try {
    status = checker[name](...numbers);
  } catch (error) {
    const said = checker.report_bytes() > 0 && report().error;
    throw new Refused(said || `the checker failed, which is a mistake in it: ${error.message}`);
  }
  const said = report();
  if (status !== GO_ON && status !== DONE) throw new Refused(said.error);
  return { done: status === DONE, ...said };
}

async function start(plain) {
  vectors = !plain && WebAssembly.validate(VECTORS);
  const name = vectors ? 'wasm/check-simd128.wasm' : 'wasm/check.wasm';
  const answer = await fetch(name);
  if (!answer.ok) throw new Refused(`the checker (${name}) is not on this server: browser/build.sh makes it`);
  const { instance } = await WebAssembly.instantiate(await answer.arrayBuffer(), {});
  checker = instance.exports;
}

function bytesText(bytes) {
  return `${bytes.toLocaleString('en')} bytes`;
}

function within(bytes) {
  const most = checker.memory_bytes_max();
  if (bytes <= most) return;
  throw new Refused(`the file has ${bytesText(bytes)}, a check here may take ${bytesText(most)} in all: use \`fedroll verify\``);
}

// A file on a server, as it comes; no more than may be checked.
async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) {
    const said = (await answer.text()).slice(0, 500);
    throw new Refused(`the server has no ${url} (${answer.status}): ${said}`);
  }
  within(Number(answer.headers.get('content-length') ?? 0));
  const parts = [];
  let bytes = 0;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    bytes += value.length;
    within(bytes);
    parts.push(value);
  }
}

async function load(file) {
  within(file.size);
  const at = checker.room(file.size);
  if (at === 0) throw new Refused(`there is no memory for a file of ${bytesText(file.size)}`);
  const room = new Uint8Array(checker.memory.buffer, at, file.size);
  const reader = file.stream().getReader();
  for (let to = 0; ;) {
    const { done, value } = await reader.read();
    if (done) break;
    room.set(value, to);
    to += value.length;
  }
  return call('load');
}

function check(from) {
  const began = performance.now();
  let said = call('begin', from);
  let steps = 1;
  while (!said.done) {
    postMessage({ kind: 'progress', ...said.progress });
    const before = performance.now();
    said = call('advance', steps);
    const took = performance.now() - before;
    if (took < REPORT_MS / 2) steps *= 2;
    else if (took > 2 * REPORT_MS) steps = Math.max(1, steps >> 1);
  }
  const seconds = (performance.now() - began) / 1000;
  postMessage({ kind: 'verdict', seconds, vectors, progress: said.progress, ...said.outcome });
}

onmessage = async ({ data }) => {
  try {
    if (data.kind === 'load') {
      await start(data.plain);
      const file = data.file ?? await fetched(data.url);
      postMessage({ kind: 'loaded', bytes: file.size, summary: await load(file) });
    } else {
      check(data.from);
    }
  } catch (error) {
    postMessage({ kind: 'refused', why: error instanceof Refused ? error.message : String(error) });
  }
};
