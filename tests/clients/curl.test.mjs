// curl and jq, in a script as a user would write it (queue.sh), on the queue's own dialect.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

import { secret, startServer } from './lib/server.mjs';

const limit = { timeout: 60_000 };
let server;

before(async () => {
  server = await startServer();
}, limit);
after(() => server?.stop());

// Runs the script; `onLine` gets each line of its standard error as it comes.
function queue(args, onLine = () => {}, key = secret) {
  return new Promise((resolve, reject) => {
    const child = spawn(path.join(import.meta.dirname, 'queue.sh'), args, {
      env: { PATH: process.env.PATH, QUERN_URL: server.url, QUERN_KEY: key },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 50_000,
    });
    const lines = [];
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      onLine(line);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, lines }));
  });
}

test('a picture is made and can be fetched', limit, async () => {
  const { code, out } = await queue(['run', 'picture', '{"prompt":"a cup of coffee"}']);

  assert.equal(code, 0);
  const { outputs, metadata } = JSON.parse(out);
  assert.deepEqual(metadata, { prompt: 'a cup of coffee', seed: 42 });
  assert.equal(outputs[0].type, 'image');
  assert.deepEqual(
    Buffer.from(await (await fetch(outputs[0].url)).arrayBuffer()),
    await server.picture(),
  );
});

test('a task in progress is polled until it has ended', limit, async () => {
  let opening;
  const { code, out, lines } = await queue(['run', 'stepwise', '{"gate":"curl"}'], (line) => {
    if (line === 'IN_PROGRESS') opening ??= server.openGate('curl');
  });
  await opening;

  assert.equal(code, 0);
  assert.ok(lines.includes('IN_PROGRESS'), lines.join(' '));
  assert.equal(JSON.parse(out).outputs[0].text, 'through the gate');
});

test('a failing task is told by its error', limit, async () => {
  const { code, lines } = await queue(['run', 'picture', '{"prompt":"fail"}']);

  assert.equal(code, 1);
  assert.equal(lines.at(-1), 'INFERENCE_FAILURE: out of paint');
});

test('a running task is canceled, and only once', limit, async () => {
  let id = '';
  let canceling;
  const { code, lines } = await queue(['run', 'slow', '{}'], (line) => {
    id ||= /^created (\S+)/.exec(line)?.[1] ?? '';
    if (line === 'IN_PROGRESS') canceling ??= queue(['cancel', 'slow', id]);
  });
  const canceled = await canceling;
  const again = await queue(['cancel', 'slow', id]);

  assert.deepEqual(JSON.parse(canceled.out), { status: 'CANCELLATION_REQUESTED' });
  assert.equal(code, 1);
  assert.equal(lines.at(-1), 'CANCELED: Task canceled');
  assert.notEqual(again.code, 0);
  assert.deepEqual(JSON.parse(again.out), { status: 'ALREADY_COMPLETED' });
});

test('an uploaded file is handed to the model', limit, async () => {
  const upload = await queue(['upload', path.join(server.folder, 'picture', 'picture.png')]);
  const file = upload.out.trim();

  const { out } = await queue(['run', 'measure', JSON.stringify({ file })]);

  assert.ok(file.startsWith(`${server.url}/files/`), file);
  const { length } = await server.picture();
  assert.match(JSON.parse(out).outputs[0].text, new RegExp(`^${length} bytes, `));
});

test('refusals say why', limit, async () => {
  const faulty = await queue(['run', 'picture', '{}']);
  const unknown = await queue(['run', 'nobody', '{}']);
  const stranger = await queue(['run', 'picture', '{"prompt":"a"}'], undefined, 'wrong');

  assert.deepEqual([faulty.code, unknown.code, stranger.code], [3, 3, 3]);
  assert.match(faulty.lines.join('\n'), /"loc":\["body","prompt"\]/);
  assert.match(unknown.lines.join('\n'), /App not found: nobody/);
  assert.match(stranger.lines.join('\n'), /Invalid API key/);
});
