// @fal-ai/client for Node, pointed at Quern by `requestMiddleware`.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';

import { ApiError, createFalClient, ValidationError } from '@fal-ai/client';

import { secret, startServer } from './lib/server.mjs';
import { makeToQuern } from './lib/to_quern.mjs';

const limit = { timeout: 60_000 };
const flux = 'fal-ai/flux/dev';
let server;
let fal;

before(async () => {
  server = await startServer();
  fal = makeClient(secret);
}, limit);
after(() => server?.stop());

function makeClient(credentials, to = server) {
  return createFalClient({
    credentials,
    requestMiddleware: makeToQuern(to.fal),
  });
}

// The error of a call that must fail.
async function failureOf(promise) {
  const outcome = await promise.then(
    () => assert.fail('the call succeeded'),
    (error) => error,
  );
  assert.ok(outcome instanceof ApiError, String(outcome?.stack ?? outcome));
  return outcome;
}

// What the model itself said; the server adds lines of its own.
function runnerMessages(logs) {
  return logs.filter((entry) => entry.source === 'runner').map((entry) => entry.message);
}

const poll = { pollInterval: 50 };

test('a subscription polls, sees statuses and gets a picture', limit, async () => {
  const statuses = [];
  let enqueued = '';

  const { data, requestId } = await fal.subscribe(flux, {
    input: { prompt: 'a cup of coffee' },
    logs: true,
    ...poll,
    onEnqueue: (id) => (enqueued = id),
    onQueueUpdate: (update) => statuses.push(update),
  });

  assert.match(requestId, /^mmsu_[0-9a-hjkmnp-tv-z]{26}$/);
  assert.equal(enqueued, requestId);
  assert.equal(statuses.at(-1).status, 'COMPLETED');
  assert.deepEqual(runnerMessages(statuses.at(-1).logs), ['mixing colours']);
  assert.equal(typeof statuses.at(-1).metrics.inference_time, 'number');
  const [image] = data.images;
  assert.deepEqual([image.width, image.height, image.content_type], [128, 128, 'image/png']);
  assert.deepEqual(Buffer.from(await (await fetch(image.url)).arrayBuffer()), await server.picture());
  assert.equal(data.metadata.seed, 42);
});

test('a subscription by event stream sees every step, with its logs', limit, async () => {
  const updates = [];
  let opening;

  const { data } = await fal.subscribe('fal-ai/stepwise', {
    input: { gate: 'stream' },
    mode: 'streaming',
    logs: true,
    onQueueUpdate: (update) => {
      updates.push(structuredClone(update));
      if (update.progress === 0.5) opening ??= server.openGate('stream');
    },
  });
  await opening;

  assert.equal(data.text, 'through the gate');
  assert.ok(updates.some((update) => update.status === 'IN_PROGRESS' && update.progress === 0.5));
  assert.equal(updates.at(-1).status, 'COMPLETED');
  assert.deepEqual(runnerMessages(updates.at(-1).logs), ['first step', 'second step']);
});

test('a restart breaks an event stream off, and its task is followed on by its id', limit, async () => {
  const own = await startServer();
  try {
    let requestId = '';
    let restarting;
    const call = makeClient(secret, own).subscribe('fal-ai/stepwise', {
      input: { gate: 'restart' },
      mode: 'streaming',
      onEnqueue: (id) => (requestId = id),
      onQueueUpdate: (update) => {
        if (update.progress === 0.5) restarting ??= own.restart();
      },
    });

    const error = await failureOf(call);
    await restarting;
    const restarted = makeClient(secret, own);
    await own.openGate('restart');
    const last = await restarted.queue.subscribeToStatus('fal-ai/stepwise', { requestId, ...poll });
    const { data } = await restarted.queue.result('fal-ai/stepwise', { requestId });

    assert.deepEqual([error.status, error.message], [500, 'terminated']);
    assert.equal(error.requestId, requestId);
    assert.equal(last.status, 'COMPLETED');
    assert.equal(data.text, 'through the gate');
  } finally {
    await own.stop();
  }
});

test('submit, status, streamStatus and result work one by one', limit, async () => {
  const { request_id: requestId, status, ...urls } = await fal.queue.submit(flux, {
    input: { prompt: 'steps' },
    priority: 'low',
  });
  assert.equal(status, 'IN_QUEUE');
  assert.ok(Object.values(urls).filter((url) => String(url).startsWith(server.fal)).length === 3);

  const stream = await fal.queue.streamStatus(flux, { requestId });
  const seen = [];
  for await (const update of stream) seen.push(update.status);
  const last = await fal.queue.status(flux, { requestId });
  const result = await fal.queue.result(flux, { requestId });

  assert.equal(seen.at(-1), 'COMPLETED');
  assert.equal(last.status, 'COMPLETED');
  assert.equal(last.logs, null);
  assert.equal(result.requestId, requestId);
  assert.equal(result.data.images.length, 1);
});

test('the model is also there under its own id', limit, async () => {
  const { data } = await fal.subscribe('quern/echo', { input: { word: 'hello' }, ...poll });

  assert.deepEqual(JSON.parse(data.text), { word: 'hello' });
});

test('a Blob in the input is uploaded and handed to the model', limit, async () => {
  const bytes = randomBytes(300_000);

  const { data } = await fal.subscribe('fal-ai/measure', {
    input: { file: new Blob([bytes], { type: 'application/octet-stream' }) },
    ...poll,
  });

  const sum = createHash('sha256').update(bytes).digest('hex');
  assert.equal(data.text, `300000 bytes, ${sum}`);
});

test('a Blob of over 90 MiB goes up in parts', limit, async () => {
  const size = 91 * 1024 * 1024;
  const bytes = Buffer.alloc(size, randomBytes(1 << 20));

  const url = await fal.storage.upload(new Blob([bytes], { type: 'application/octet-stream' }));
  const stored = Buffer.from(await (await fetch(url)).arrayBuffer());

  assert.ok(stored.equals(bytes), `${stored.length} bytes came back`);
});

test('a failing task rejects the subscription with its error', limit, async () => {
  const error = await failureOf(fal.subscribe(flux, { input: { prompt: 'fail' }, ...poll }));

  assert.equal(error.status, 500);
  assert.equal(error.message, 'Internal Server Error');
  assert.equal(error.body.detail, 'out of paint');
  assert.equal(error.body.error_type, 'runner_server_error');
  assert.match(error.requestId, /^mmsu_/);
});

test('blocked content is a validation error', limit, async () => {
  const error = await failureOf(fal.subscribe(flux, { input: { prompt: 'block' }, ...poll }));

  assert.ok(error instanceof ValidationError);
  assert.equal(error.body.error_type, 'content_policy_violation');
  assert.equal(error.fieldErrors[0].msg, 'not this');
});

test('input that the schema forbids is refused with its fields', limit, async () => {
  const error = await failureOf(
    fal.queue.submit(flux, { input: { num_inference_steps: 0 } }),
  );

  assert.ok(error instanceof ValidationError);
  assert.equal(error.getFieldErrors('prompt')[0].type, 'missing');
  assert.equal(error.getFieldErrors('num_inference_steps')[0].type, 'greater_than_equal');
});

test('a running task is canceled', limit, async () => {
  const { request_id: requestId } = await fal.queue.submit('fal-ai/slow', { input: {} });
  const stream = await fal.queue.streamStatus('fal-ai/slow', { requestId });
  const running = new Promise((resolve) => {
    stream.on('data', (update) => update.status === 'IN_PROGRESS' && resolve());
  });
  await running;

  await fal.queue.cancel('fal-ai/slow', { requestId });
  const last = await stream.done();
  const error = await failureOf(fal.queue.result('fal-ai/slow', { requestId }));

  assert.equal(last.status, 'COMPLETED');
  assert.equal(last.error, 'Task canceled');
  assert.equal(error.status, 499);
  assert.equal(error.message, 'Client Closed Request');
  assert.equal(error.body.error_type, 'client_cancelled');
});

test('a subscription that times out cancels its task', limit, async () => {
  let requestId = '';
  const giving_up = fal.subscribe('fal-ai/slow', {
    input: {},
    timeout: 300,
    ...poll,
    onEnqueue: (id) => (requestId = id),
  });

  await assert.rejects(giving_up, /timed out/);
  const last = await fal.queue.subscribeToStatus('fal-ai/slow', { requestId, ...poll });

  assert.equal(last.error_type, 'client_cancelled');
});

test('a task not started in time ends, and the client does not repeat it', limit, async () => {
  const { request_id: busy } = await fal.queue.submit('fal-ai/slow', { input: {} });

  const late = fal.subscribe('fal-ai/slow', { input: {}, startTimeout: 1.1, ...poll });
  const error = await failureOf(late);
  await fal.queue.cancel('fal-ai/slow', { requestId: busy });

  assert.equal(error.status, 504);
  assert.equal(error.isUserTimeout, true);
  assert.equal(error.body.error_type, 'request_timeout');
});

test('a task that has ended cannot be canceled', limit, async () => {
  const { requestId } = await fal.subscribe(flux, { input: { prompt: 'done' }, ...poll });

  const error = await failureOf(fal.queue.cancel(flux, { requestId }));

  assert.equal(error.status, 400);
  assert.deepEqual(error.body, { status: 'ALREADY_COMPLETED' });
});

test('asking for the result too early says that the task is in progress', limit, async () => {
  const { request_id: requestId } = await fal.queue.submit('fal-ai/slow', { input: {} });

  const error = await failureOf(fal.queue.result('fal-ai/slow', { requestId }));
  await fal.queue.cancel('fal-ai/slow', { requestId });

  assert.equal(error.status, 400);
  assert.deepEqual(error.body, { detail: 'Request is still in progress' });
});

test('unknown apps, wrong keys and webhooks are refused', limit, async () => {
  const unknown = await failureOf(fal.queue.submit('fal-ai/nobody', { input: {} }));
  const stranger = await failureOf(makeClient('wrong:key').queue.submit(flux, { input: {} }));
  const hook = await failureOf(
    fal.queue.submit(flux, { input: { prompt: 'a' }, webhookUrl: 'https://example.com/hook' }),
  );

  assert.equal(unknown.status, 404);
  assert.equal(unknown.message, 'Not Found');
  assert.equal(stranger.status, 401);
  assert.equal(stranger.message, 'Unauthorized');
  assert.equal(hook.status, 400);
  assert.deepEqual(hook.body, { detail: 'webhook not supported' });
});

test('calls that would go to fal are refused before anything is sent', limit, async () => {
  const sent = [];
  const client = createFalClient({
    credentials: secret,
    requestMiddleware: makeToQuern(server.fal),
    fetch: async (url, init) => {
      sent.push(String(url));
      return fetch(url, init);
    },
  });
  const toQuern = makeToQuern(server.fal);
  const refusal = /Quern does not serve https:\/\//;

  await assert.rejects(client.run(flux, { input: { prompt: 'a' } }), refusal);
  await assert.rejects((await client.stream(flux, { input: { prompt: 'a' } })).done(), refusal);
  for (const url of [
    'https://rest.fal.ai/tokens/',
    'https://rest.alpha.fal.ai/tokens/',
    'https://queue.fal.run.example.com/storage/',
    'https://example.com/',
  ]) {
    await assert.rejects(toQuern({ url }), refusal, url);
  }
  assert.deepEqual(sent, []);
});

test('clients up to 1.9.2 upload to an address that is turned too', limit, async () => {
  const { url } = await makeToQuern(server.fal)({
    url: 'https://rest.alpha.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3',
  });

  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Key ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ file_name: 'a.txt', content_type: 'text/plain' }),
  });

  assert.equal(answer.status, 200);
  assert.ok((await answer.json()).upload_url.startsWith(server.url));
});
