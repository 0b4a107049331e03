// The page: a file to a worker, and what the worker says in words.
'use strict';

const at = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString('en');
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? '' : 's'}`;
const asked = new URLSearchParams(location.search);

let worker;
let summary;
let name;

function list(into, lines) {
  into.replaceChildren(...lines.map((line) => {
    const item = document.createElement('li');
    item.textContent = line;
    return item;
  }));
}

function facts(into, pairs) {
  into.replaceChildren(...pairs.filter(([, value]) => value !== null).flatMap(([term, value]) => {
    const [left, right] = [document.createElement('dt'), document.createElement('dd')];
    [left.textContent, right.textContent] = [term, value];
    return [left, right];
  }));
}

function size(bytes) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < 3) [bytes, unit] = [bytes / 1024, unit + 1];
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

function answer(kind, title, meaning, checked, unchecked) {
  const section = at('answer');
  section.className = `answer ${kind}`;
  at('verdict').textContent = title;
  at('meaning').textContent = meaning;
  at('lists').hidden = !checked;
  list(at('checked'), checked ?? []);
  list(at('unchecked'), unchecked ?? []);
  section.hidden = false;
  at('status').textContent = '';
  at('verdict').focus();
}

// Nothing runs.
function rest() {
  at('running').hidden = true;
  at('stop').hidden = true;
  at('check').disabled = !summary;
}

function end() {
  worker?.terminate();
  worker = undefined;
}

// Whoever checks again needs the file again: a worker checks one file once.
let source;

function open(next) {
  end();
  source = next;
  summary = undefined;
  name = next.name;
  at('about').hidden = true;
  at('answer').hidden = true;
  rest();
  at('status').textContent = `Reading ${name} …`;
  begin(() => {});
}

function begin(whenLoaded) {
  worker = new Worker('worker.js');
  worker.onerror = (event) => refused(`the checker could not be started: ${event.message ?? 'see the console'}`);
  worker.onmessage = ({ data }) => {
    if (data.kind === 'loaded') {
      loaded(data);
      whenLoaded();
    } else if (data.kind === 'progress') progress(data);
    else if (data.kind === 'verdict') verdict(data);
    else refused(data.why);
  };
  worker.postMessage({ kind: 'load', file: source.file, url: source.url, plain: asked.has('plain') });
}

function loaded({ bytes, summary: said }) {
  const first = !summary;
  summary = said;
  if (!first) return;
  at('status').textContent = `${name} holds what it says: ${size(bytes)}, all digests are right.`;
  facts(at('facts'), [
    ['Model', said.model],
    ['Size', plural(said.parameters, 'parameter')],
    ['Data', `${plural(said.examples, 'example')}, ${plural(said.epochs, 'pass').replace(/passs$/, 'passes')}, ${said.minibatch} a step`],
    ['Steps', number(said.steps)],
    ['Committed to', said.commitments === 0 ? 'the result only'
      : `${plural(said.commitments, 'state')}, one every ${plural(said.every, 'step')}; ${plural(said.opened, 'interval')} opened`],
    ['Claimed by', said.signer],
    ['As task', said.assigned],
    ['Of the job with spec', said.spec],
  ]);
  facts(at('digests'), [
    ['Task', said.task], ['Weights', said.weights], ['Examples', said.shard], ['Update', said.update],
    ['Commitments', said.root], ['Loss', String(said.loss)],
  ]);
  const option = (step) => new Option(step === 0 ? 'with the first step' : `after step ${number(step)}`, step);
  at('from').replaceChildren(...[0, ...said.starts].map(option));
  at('starts').hidden = said.starts.length === 0;
  at('about').hidden = false;
  rest();
}

function run() {
  at('answer').hidden = true;
  at('check').disabled = true;
  at('stop').hidden = false;
  at('running').hidden = false;
  at('progress').value = 0;
  at('step').textContent = 'Starting …';
  at('status').textContent = 'Checking.';
  const go = () => worker.postMessage({ kind: 'check', from: Number(at('from').value) });
  if (worker) go();
  else begin(go);
}

function progress({ step, steps, equal, narrowing }) {
  at('progress').max = steps;
  at('progress').value = step;
  at('step').textContent = narrowing
    ? `There is a difference: looking for its step, at ${number(step)}`
    : `Step ${number(step)} of ${number(steps)}${summary.commitments ? `, ${plural(equal, 'commitment')} equal` : ''}`;
}

function refused(why) {
  end();
  rest();
  at('check').disabled = true;
  answer('bad', 'This cannot be checked', `${why[0].toUpperCase()}${why.slice(1)}.`);
}

const what = ({ update, loss }) => update ? (loss ? 'the update and the loss are' : 'the update is') : 'the loss is';

// Title and meaning of each verdict.
const VERDICTS = {
  'same-bits': ({ from, made }) => ['Same bits',
    `${from === 0 ? 'All' : 'The remaining'} ${plural(summary.steps - from, 'step')} were run again: the update ${made.update.slice(0, 16)}… and the loss are those of the claim, to the bit.`],
  start: () => ['Another beginning', 'The claim begins with a state that is not that of the task\u2019s weights.'],
  interval: ({ after, until }) => [`First difference between step ${number(after)} and step ${number(until)}`,
    `The states after step ${number(after)} are equal, those after step ${number(until)} are not. The claim does not open what lies between, so the step itself cannot be told.`],
  step: ({ step }) => [`First difference at step ${number(step)}`,
    `Before step ${number(step)} the states are equal, after it they are not: what is claimed did not come of this step.`],
  returned: (said) => ['Another result',
    `Every state is the claim\u2019s, to the last one; but ${what(said)} not what comes of it.`],
  result: (said) => ['Another result',
    `Run again, ${what(said)} not the claim\u2019s. The training was not committed to, so the step cannot be told.`],
};

function verdict(said) {
  end();
  rest();
  const good = said.verdict === 'same-bits';
  let [title, meaning] = VERDICTS[said.verdict](said);
  if (said.wild) {
    meaning += ` Here the numbers run away: operator ${said.wild.operator} of step ${number(said.wild.step)} gives one that is not finite.`;
  }
  const examples = Math.min(1, said.progress.step / summary.steps) * summary.examples * summary.epochs;
  const speed = `${said.seconds.toFixed(1)} s${said.vectors ? '' : ', without vectors'}`;
  at('answer').dataset.seconds = said.seconds;
  at('answer').dataset.examples = examples;
  const checked = [
    'Weights and examples are those that the task names, by digest.',
    `${plural(said.progress.equal, 'commitment')} of ${number(summary.commitments)} compared and equal.`,
    ...(said.from > 0 ? [`The state after step ${number(said.from)} is the one that the claim commits to.`] : []),
    ...(summary.signer ? ['The claim is signed by the worker named above, for this task of the job whose spec is named there.'] : []),
    `Run in this browser in ${speed}.`,
  ];
  const unchecked = [
    'That a job asked for this task, with these weights and examples: compare the digests above with its spec, or use fedroll verify.',
    ...(summary.signer ? ['That the receipt was accepted and paid for: fedroll audit says.']
      : ['Who claims this: the file has no signed receipt.']),
    ...(said.from > 0 ? [`The ${plural(said.from, 'step')} before the start.`] : []),
  ];
  answer(good ? 'good' : 'bad', title, meaning, checked, unchecked);
}

at('file').onchange = ({ target }) => {
  const [file] = target.files;
  if (file) open({ name: file.name, file });
};

at('check').onclick = run;

at('stop').onclick = () => {
  end();
  rest();
  at('status').textContent = 'Stopped.';
  at('check').focus();
};

at('ask').onsubmit = (event) => {
  event.preventDefault();
  const task = at('task').value;
  open({ name: `task ${task}`, url: `task/${task}` });
};

document.ondragover = (event) => {
  event.preventDefault();
  at('drop').classList.add('over');
};
document.ondragleave = () => at('drop').classList.remove('over');
document.ondrop = (event) => {
  event.preventDefault();
  at('drop').classList.remove('over');
  const [file] = event.dataTransfer.files;
  if (file) open({ name: file.name, file });
};

// What `fedroll audit --serve` has; other servers have no such list.
async function served() {
  const said = await fetch('evidence.json');
  if (!said.ok) return;
  const { files, tasks } = await said.json();
  at('ask').hidden = !tasks;
  at('served').hidden = files.length === 0;
  at('files').replaceChildren(...files.map((file) => {
    const [item, button, bytes] = ['li', 'button', 'span'].map((tag) => document.createElement(tag));
    button.textContent = file.name;
    bytes.textContent = size(file.bytes);
    button.append(bytes);
    button.onclick = () => open({ name: file.name, url: `evidence/${encodeURIComponent(file.name)}` });
    item.append(button);
    return item;
  }));
}

served().catch(() => {});

if (asked.has('url')) {
  const url = new URL(asked.get('url'), location.href);
  if (url.origin === location.origin) open({ name: url.pathname.split('/').pop(), url: url.href });
  else refused('this page reads from its own server only: download the file and choose it above');
}
