// Debian's Chromium, headless, with a profile of its own.

import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

import { chromium } from 'playwright-core';

const executablePath = process.env.QUERN_CHROMIUM ?? '/usr/bin/chromium';
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts it. The caller ends it with `stop()`; its profile goes too. @param options of playwright-core */
export async function startChromium(options = {}) {
  const profile = await mkdtemp(path.join(os.tmpdir(), 'quern-chromium-'));
  const removeProfile = () => rm(profile, { recursive: true, force: true, maxRetries: 5 });
  const all = { executablePath, headless: true, args: flags, ...options };
  const browser = await chromium.launchPersistentContext(profile, all).catch(async (error) => {
    await removeProfile();
    throw error;
  });
  return {
    /** A tab whose every wait is bounded. */
    async newPage() {
      const page = await browser.newPage();
      page.setDefaultTimeout(60_000);
      return page;
    },
    async stop() {
      await browser.close();
      await removeProfile();
    },
  };
}
