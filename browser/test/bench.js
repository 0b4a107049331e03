// Examples a second on one thread: the page in Chromium, with and without vectors, and the same check outside of it.

import { execFileSync } from 'node:child_process';
import { launch } from './chromium.js';
import { evidence, example, serve } from './serve.js';

const RUNS = 5;
const server = await serve();
const browser = await launch();
const page = await browser.newPage();

async function inBrowser(name, query) {
  let best = 0;
  for (let run = 0; run < RUNS; run += 1) {
    await page.goto(`${server.url}?url=evidence/${name}.evidence${query}`);
    await page.waitForSelector('#about', { visible: true });
    await page.click('#check');
    await page.waitForSelector('#answer', { visible: true, timeout: 300_000 });
    const { seconds, examples } = await page.$eval('#answer', (answer) => ({ ...answer.dataset }));
    best = Math.max(best, examples / seconds);
  }
  return best;
}

function outside(name) {
  let best = 0;
  for (let run = 0; run < RUNS; run += 1) {
    const said = execFileSync(example, ['check', `${evidence}/${name}.evidence`], { encoding: 'utf8' });
    const [examples, seconds] = said.split(' ');
    best = Math.max(best, examples / seconds);
  }
  return best;
}

const version = await browser.version();
const cases = [['bench-mlp', 'MLP 200-200, minibatch 10'], ['bench-cnn', "FedAvg's CNN, minibatch 10"]];
for (const [name, model] of cases) {
  const rates = [await inBrowser(name, ''), await inBrowser(name, '&plain'), outside(name)].map(Math.round);
  const [vectors, plain, native] = rates.map((rate) => rate.toLocaleString('en'));
  console.log(`${model}: ${vectors} examples/s in ${version} with simd128, ${plain} without, ${native} outside`);
}
await browser.close();
await server.stop();
