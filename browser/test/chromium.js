// A headless Chromium, out of npm's package: its libraries and fonts come along, nothing is installed.

import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import puppeteer from 'puppeteer-core';

// Unpacked beside the package, and only once: the package takes the system's temporary folder for that. It brings
// libraries if the system's name says that there are none.
const folder = fileURLToPath(new URL('../node_modules/.cache/chromium', import.meta.url));

async function executable() {
  const own = process.env.CHROMIUM;
  if (own) return own;
  if (`${process.platform}-${process.arch}` !== 'linux-x64') {
    throw new Error('npm carries this Chromium for Linux on x86-64 only: name another with CHROMIUM=/path/to/chromium');
  }
  mkdirSync(folder, { recursive: true });
  const before = process.env.TMPDIR;
  Object.assign(process.env, { TMPDIR: folder, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs22.x' });
  const { default: chromium } = await import('@sparticuz/chromium');
  chromium.setGraphicsMode = false;
  const path = await chromium.executablePath();
  delete process.env.AWS_EXECUTION_ENV;
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
  // The package's own list of folders has this one only if it was unpacked to /tmp; without a font Chromium ends.
  const fonts = `${folder}/fonts.conf`;
  writeFileSync(fonts, `<fontconfig><dir>${folder}/fonts</dir><cachedir>${folder}/fonts-cache</cachedir></fontconfig>\n`);
  process.env.FONTCONFIG_FILE = fonts;
  return path;
}

export async function launch() {
  // Its sandbox needs rights that containers do not give; it opens our own page only.
  const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
  return puppeteer.launch({ executablePath: await executable(), args, headless: 'shell' });
}
