// The real `quern` binary, on a free port and in a folder of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { modelsConfig, writeModels } from './models.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const defaultBinary = path.resolve(here, '../../../build/release/quern');
const startSecondsMax = 60;
const stopSecondsMax = 30;

/** The key of every test. It holds a colon, as fal's own keys do. */
export const secret = 'clients:the-secret-of-the-tests';

/**
 * Starts a server with the models of models.mjs.
 *
 * `serverKeys`: further lines for [server].   `tls`: serve HTTPS with a certificate made for it.
 * `more`: what else the configuration says.   `files`: contents by name, beside the configuration.
 * The caller ends it with `stop()`; its folder goes too.
 */
export async function startServer({ serverKeys = '', tls = false, more = '', files = {} } = {}) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'quern-clients-'));
  await writeModels(folder);
  if (tls) await makeCertificate(folder);
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
  await writeFile(path.join(folder, 'quern.toml'), config(serverKeys, tls) + more);
  const server = new Server(folder);
  await server.start();
  return server;
}

class Server {
  constructor(folder) {
    this.folder = folder;
    this.child = undefined;
    this.url = '';
  }

  async start() {
    this.child = spawn(
      process.env.QUERN_BINARY ?? defaultBinary,
      ['serve', '--config', path.join(this.folder, 'quern.toml')],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.child.stderr.pipe(createWriteStream(this.#log, { flags: 'a' }));
    try {
      this.url = await listeningAddress(this.child);
    } catch (error) {
      const end = await this.stop().catch((ending) => ending);
      throw new Error(`quern did not start: ${error.message}`, { cause: end });
    }
  }

  /** Stops it in order and starts it again with the data it had, at another address. */
  async restart() {
    await this.#end();
    await this.start();
  }

  /** The mount of fal's dialect. */
  get fal() {
    return `${this.url}/fal`;
  }

  /** Opens the gate `name` at which a task of `model` waits, or soon will. */
  async openGate(name, model = 'stepwise') {
    await writeFile(path.join(this.folder, model, name), 'go\n');
  }

  /** The file that the model "picture" answers with. */
  picture() {
    return readFile(path.join(this.folder, 'picture', 'picture.png'));
  }

  /** The file that the model "film" answers with. */
  film() {
    return readFile(path.join(this.folder, 'film', 'film.mp4'));
  }

  /** Ends the server and removes its folder. Throws if it did not end well: a crash, a leak. */
  async stop() {
    try {
      await this.#end();
    } finally {
      await rm(this.folder, { recursive: true, force: true });
    }
  }

  async #end() {
    if (this.#isRunning()) {
      const ended = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      const timer = setTimeout(() => this.child.kill('SIGKILL'), stopSecondsMax * 1000);
      await ended;
      clearTimeout(timer);
    }
    const log = await readFile(this.#log, 'utf8').catch(() => '');
    if (this.child.exitCode !== 0) {
      const { exitCode, signalCode } = this.child;
      throw new Error(`quern ended with ${exitCode ?? signalCode}\n${log.slice(-4000)}`);
    }
  }

  get #log() {
    return path.join(this.folder, 'server.log');
  }

  #isRunning() {
    return this.child.pid && this.child.exitCode === null && this.child.signalCode === null;
  }
}

function config(serverKeys, tls) {
  return `
[server]
listen = "127.0.0.1:0"
threads = 1
drain_timeout = "1s"
${serverKeys}
${tls ? 'tls = { cert = "cert.pem", key = "key.pem" }' : ''}
[store]
url = "sqlite:data"
[[key]]
id = "clients"
secret = "${secret}"
rate = "10000/s"
${modelsConfig}`;
}

// Resolves with the address once the server says that it listens.
async function listeningAddress(child) {
  const failed = once(child, 'error').then(([error]) => {
    throw error;
  });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`it ended with exit code ${code}`);
  });
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`not listening after ${startSecondsMax} s`)),
      startSecondsMax * 1000,
    );
  });
  for (const promise of [failed, ended, late]) promise.catch(() => {});
  try {
    return await Promise.race([readListeningLine(child), failed, ended, late]);
  } finally {
    clearTimeout(timer);
  }
}

function readListeningLine(child) {
  return new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = /^listening on (\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
  });
}

async function makeCertificate(folder) {
  const child = spawn(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
      .concat(['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'])
      .concat(['-keyout', path.join(folder, 'key.pem'), '-out', path.join(folder, 'cert.pem')]),
    { stdio: 'ignore' },
  );
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`openssl ended with exit code ${code}`);
}
