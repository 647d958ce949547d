// The rules of Python's fal_client (python_client.py), over HTTPS as that client wants it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { secret, startServer } from './lib/server.mjs';

const python = process.env.QUERN_PYTHON ?? '/usr/bin/python3';
let server;

before(async () => {
  server = await startServer({ tls: true });
}, { timeout: 60_000 });
after(() => server?.stop());

test('the rules of the Python client hold on all three mounts', { timeout: 180_000 }, async () => {
  const env = {
    PATH: process.env.PATH,
    PYTHONDONTWRITEBYTECODE: '1',
    QUERN_HOST: new URL(server.url).host,
    FAL_KEY: secret,
    SSL_CERT_FILE: path.join(server.folder, 'cert.pem'),
  };
  const script = path.join(import.meta.dirname, 'python_client.py');

  const { stderr } = await promisify(execFile)(python, [script], { env, timeout: 170_000 });

  assert.match(stderr, /^Ran [1-9]\d* tests/m);
  assert.match(stderr, /^OK$/m);
});
