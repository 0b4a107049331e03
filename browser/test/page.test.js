// The page in a real Chromium, with evidence that is honest and evidence that is not.

import assert from 'node:assert/strict';
import { open as openFile, rm } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launch } from './chromium.js';
import { evidence, serve } from './serve.js';

let browser;
let server;
let page;
const outside = [];
const errors = [];

before(async () => {
  server = await serve();
  browser = await launch();
  page = await browser.newPage();
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(server.url).origin) outside.push(request.url());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (said) => said.type() === 'error' && errors.push(said.text()));
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'it ends when it is asked to');
});

const text = (selector) => page.$eval(selector, (element) => element.innerText);
const shown = (selector) => page.waitForSelector(selector, { visible: true, timeout: 120_000 });
const fresh = (query = '') => page.goto(server.url + query);

// The file through the picker, as a person gives it.
async function choose(path) {
  const picker = await page.$('#file');
  await picker.uploadFile(path);
}

async function verdict() {
  await shown('#answer');
  return { title: await text('#verdict'), meaning: await text('#meaning'), all: await text('#answer') };
}

async function check(name, query = '') {
  await fresh(query);
  await choose(`${evidence}/${name}.evidence`);
  await shown('#about');
  await page.click('#check');
  return verdict();
}

test('honest evidence has the same bits', async () => {
  const { title, meaning, all } = await check('honest');
  assert.equal(title, 'Same bits');
  assert.match(meaning, /All 64 steps were run again/);
  assert.match(all, /6 commitments of 6 compared and equal/);
  assert.match(all, /signed by the worker/);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'verdict', 'a reader is led to the verdict');
  assert.doesNotMatch(all, /without vectors/);
});

test('the build without vectors finds the same bits', async () => {
  const { title, all } = await check('honest', '?plain');
  assert.equal(title, 'Same bits');
  assert.match(all, /without vectors/);
});

test('a check can start from a state in the file, and says what it has not seen', async () => {
  await fresh();
  await choose(`${evidence}/honest.evidence`);
  await shown('#starts');
  assert.deepEqual(await page.$$eval('#from option', (all) => all.map((one) => one.value)), ['0', '16', '32']);
  await page.select('#from', '32');
  await page.click('#check');
  const { title, all } = await verdict();
  assert.equal(title, 'Same bits');
  assert.match(all, /The remaining 32 steps/);
  assert.match(all, /The 32 steps before the start/);
  // The same file again, from the beginning.
  await page.select('#from', '0');
  await page.click('#check');
  await page.waitForFunction(() => document.getElementById('meaning').innerText.includes('All 64 steps'));
});

test('a flipped bit in the update is found at the end', async () => {
  const { title, meaning } = await check('update');
  assert.equal(title, 'Another result');
  assert.match(meaning, /Every state is the claim’s.*the update is not what comes of it/);
});

test('a flipped bit in an update without commitments is found, but not its step', async () => {
  const { title, meaning, all } = await check('uncommitted');
  assert.equal(title, 'Another result');
  assert.match(meaning, /not committed to/);
  assert.match(all, /no signed receipt/);
});

test('a lie from step 21 on is found in its interval, or at its step if that is opened', async () => {
  const closed = await check('lie');
  assert.equal(closed.title, 'First difference between step 16 and step 32');
  const opened = await check('lie-opened');
  assert.equal(opened.title, 'First difference at step 21');
});

test('what cannot be checked is refused in words', async () => {
  for (const [name, words] of [
    ['digest', /examples in the file are not those of the task: their digest is 0x[0-9a-f]{64}/],
    ['damaged', /damaged: the digest at its end is not that of its bytes/],
    ['large', /takes \d+ bytes of memory, the limit here is 1073741824/],
  ]) {
    await fresh();
    await choose(`${evidence}/${name}.evidence`);
    const { title, meaning } = await verdict();
    assert.equal(title, 'This cannot be checked', name);
    assert.match(meaning, words);
    assert.equal(await page.$eval('#about', (about) => about.hidden), true);
  }
});

test('a file over the cap is refused before it is read', async () => {
  // A hole of a gigabyte: it takes no room on the disk.
  const path = `${evidence}/../hole.evidence`;
  const file = await openFile(path, 'w');
  await file.truncate(2 ** 30 + 1);
  await file.close();
  await fresh();
  await choose(path);
  const { title, meaning } = await verdict();
  assert.equal(title, 'This cannot be checked');
  assert.match(meaning, /1,073,741,825 bytes, a check here may take 1,073,741,824 bytes/);
  await rm(path);
});

test('what the server has is listed, and opens with the keyboard alone', async () => {
  await fresh();
  await shown('#served');
  const names = await page.$$eval('#files button', (all) => all.map((one) => one.firstChild.textContent));
  assert.ok(names.includes('honest.evidence') && names.includes('lie.evidence'), names.join());
  for (let at = 0; at < 30; at += 1) {
    await page.keyboard.press('Tab');
    if (await page.evaluate(() => document.activeElement.innerText?.startsWith('honest.evidence'))) break;
  }
  await page.keyboard.press('Enter');
  await shown('#about');
  assert.match(await text('#status'), /all digests are right/);
  await page.focus('#check');
  await page.keyboard.press('Enter');
  assert.equal((await verdict()).title, 'Same bits');
});

test('an address can name the file; one of another server is refused', async () => {
  await fresh('?url=evidence/lie.evidence');
  await shown('#about');
  assert.match(await text('#facts'), /Flower.s CNN/);
  await fresh('?url=https://example.org/x.evidence');
  assert.match((await verdict()).meaning, /reads from its own server only/);
  await fresh('?url=evidence/none.evidence');
  assert.match((await verdict()).meaning, /the server has no .*none\.evidence/i);
});

test('a check can be stopped, and the page says how far it is', async () => {
  await fresh();
  await choose(`${evidence}/bench-cnn.evidence`);
  await shown('#about');
  await page.click('#check');
  await page.waitForFunction(() => /^Step \d+ of 64/.test(document.getElementById('step').innerText));
  assert.ok(await page.$eval('#progress', (bar) => bar.max === 64));
  await page.click('#stop');
  assert.equal(await text('#status'), 'Stopped.');
});

test('nothing was asked of any other server, and nothing went wrong unseen', () => {
  assert.deepEqual(outside, []);
  // A file that is not there is a 404, which Chromium writes down.
  assert.deepEqual(errors.filter((said) => !said.includes('404')), []);
});
