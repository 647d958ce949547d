// GET /openapi.json: judged by a public validator, and then itself the judge of what the server
// answers on every route.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Validator } from '@seriousme/openapi-schema-validator';

import { compileDraft7, Judge } from './lib/openapi.mjs';
import { secret, startServer } from './lib/server.mjs';

const limit = { timeout: 120_000 };
const examples = path.resolve(import.meta.dirname, '../../models');
const nobody = 'mmsu_01arz3ndektsv4rrffq69g5fav';

// Whatever draft 7 says otherwise than the drafts that OpenAPI 3.1 speaks.
const oldWords = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  $id: 'https://example.com/old-words.json',
  type: 'object',
  additionalProperties: false,
  dependencies: { high: ['low'], colour: { required: ['point'] } },
  properties: {
    point: { items: [{ type: 'number' }, { $ref: '#/definitions/far%20off' }], additionalItems: false },
    list: { items: { type: 'integer' }, additionalItems: false },
    low: { $ref: 'https://example.com/old-words.json#/definitions/size' },
    high: { $ref: '#/properties/point/items/0' },
    colour: { enum: ['red', 'blue'] },
    next: { $ref: '#' },
  },
  definitions: { size: { type: 'integer', maximum: 10 }, 'far off': { type: 'number', minimum: 100 } },
  examples: [{ point: [1, 200], low: 3, high: 5, next: { colour: 'red', point: [] } }],
};
const oldInputs = [
  {}, { point: [1] }, { point: [1, 100] }, { point: [1, 99] }, { point: [1, 100, 1] }, { point: ['a'] },
  { list: [1, 2, 3] }, { list: ['a'] }, { low: 5 }, { low: 11 }, { low: 'a' }, { high: 1 }, { high: 1, low: 1 },
  { high: 'a', low: 1 }, { colour: 'red' }, { colour: 'red', point: [1] }, { colour: 'green', point: [1] },
  { next: {} }, { next: { low: 11 } }, { next: { colour: 'red' } }, { other: 1 }, ...oldWords.examples,
];

let server;
let document;
let judge;

before(async () => {
  server = await startServer({ more: await moreConfig(), files: { 'old_words.json': JSON.stringify(oldWords) } });
  document = await (await fetch(`${server.url}/openapi.json`)).json();
  judge = new Judge(document);
}, limit);

after(() => server?.stop(), limit);

// Further keys, a model with one place in its queue, and the models of this repository: their
// schemas and examples, without their programs.
async function moreConfig() {
  const own = (await readFile(path.join(examples, 'models.toml'), 'utf8'))
    .replaceAll(/\bdir = "/g, `dir = "${examples}/`)
    .replaceAll(/^schema = "/gm, `schema = "${examples}/`)
    .replace('id = "echo"', 'id = "example_echo"');
  return `
[[key]]
id = "root"
secret = "root-secret"
admin = true
[[key]]
id = "rare"
secret = "rare-secret"
models = ["measure"]
rate = "1/h"
burst = 2
[[model]]
id = "old_words"
executor = { kind = "echo" }
schema = "old_words.json"
[[model]]
id = "full"
executor = { kind = "process", command = ["/bin/sh", "run.sh"], dir = "slow" }
concurrency = 1
queued_max = 1
${own}`;
}

/** Calls, has the answer judged, and returns it: JSON as its value, all else as text. */
async function call(method, target, { key = secret, body, headers = {} } = {}) {
  const url = target.startsWith('http') ? target : server.url + target;
  const authorization = key ? { authorization: `Key ${key}` } : {};
  const payload = typeof body === 'object' && !(body instanceof FormData) ? JSON.stringify(body) : body;
  const answer = await fetch(url, { method, headers: { ...authorization, ...headers }, body: payload });
  const text = await answer.text();
  const type = answer.headers.get('content-type') ?? '';
  const json = judge.check(method.toLowerCase(), url, { status: answer.status, type, body: text });
  return { status: answer.status, body: json ?? text };
}

async function callFor(status, ...request) {
  const answer = await call(...request);
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  return answer.body;
}

async function create(model, input, mount = '/v1/queue') {
  return callFor(200, 'POST', `${mount}/${model}`, { body: input });
}

async function until(url, status) {
  for (;;) {
    const { body } = await call('GET', url);
    if (body.status === status) return body;
    await sleep(20);
  }
}

test('the document is OpenAPI 3.1 to a public validator, and none of its references dangles', limit, async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(structuredClone(document));

  assert.ok(valid, JSON.stringify(errors, null, 1));
  assert.equal(validator.version, '3.1');
  assert.ok(validator.resolveRefs());
});

test('the validator does find fault with documents that are not', limit, async () => {
  const broken = structuredClone(document);
  broken.paths['/healthz'].get.responses = { 200: {} };
  const { valid } = await new Validator().validate(broken);

  assert.equal(valid, false);
});

test('every schema of the document compiles', limit, () => {
  for (const name of Object.keys(document.components.schemas))
    assert.equal(typeof judge.validator('components', 'schemas', name), 'function', name);
});

test('every model is there with its schema and its examples, and these fit', limit, async () => {
  const { data: models } = await callFor(200, 'GET', '/v1/models');
  const own = (await readdir(examples, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const withSchema = models.filter((model) => model.schema.properties).map((model) => model.id);
  for (const { name } of own.filter(({ name }) => name !== 'lib')) assert.ok(withSchema.includes(name), name);

  for (const model of models) {
    const { requestBody } = document.paths[`/v1/queue/${model.id}`].post;
    const content = requestBody.content['application/json'];
    assert.equal(content.schema.$ref, `#/components/schemas/Input_${model.id}`);
    const listed = Object.values(content.examples ?? {}).map((example) => example.value);
    assert.deepEqual(listed, model.schema.examples ?? []);
    assert.deepEqual(listed, model.examples ?? []);
    const modern = judge.validator('components', 'schemas', `Input_${model.id}`);
    const draft7 = compileDraft7(model.schema);
    for (const example of listed) {
      assert.ok(modern(example), `${model.id}: ${JSON.stringify(modern.errors)}`);
      assert.ok(draft7(example), `${model.id}: ${JSON.stringify(draft7.errors)}`);
      await create(model.id, example);
    }
  }
});

test('a schema in draft 7, the same in the document, and the server agree on every input', limit, async () => {
  const modern = judge.validator('components', 'schemas', 'Input_old_words');
  const draft7 = compileDraft7(oldWords);
  for (const input of oldInputs) {
    const { status } = await call('POST', '/v1/queue/old_words', { body: input });
    const told = [draft7(input), modern(input), status === 200];
    assert.ok(told.every((verdict) => verdict === told[0]), `${JSON.stringify(input)}: ${told}`);
  }
});

for (const mount of ['/v1/queue', '/model/v1/queue']) {
  test(`${mount} answers as the document says`, limit, async () => {
    const done = await create('picture', { prompt: 'a cup' }, mount);
    await until(done.status_url, 'COMPLETED');
    await callFor(200, 'GET', `${done.status_url}?logs=1`);
    await callFor(200, 'GET', done.response_url);
    await callFor(200, 'GET', done.response_url.replace('/response', ''));
    await callFor(200, 'GET', `${done.response_url}/status`);
    await callFor(400, 'PUT', done.cancel_url);
    const failed = await create('picture', { prompt: 'fail' }, mount);
    await until(failed.status_url, 'COMPLETED');
    await callFor(500, 'GET', `${failed.response_url}?logs=1`);
    const blocked = await create('picture', { prompt: 'block' }, mount);
    await until(blocked.status_url, 'COMPLETED');
    await callFor(422, 'GET', blocked.response_url);

    const slow = await create('slow', {}, mount);
    await until(slow.status_url, 'IN_PROGRESS');
    const queued = await create('slow', {}, mount);
    await callFor(200, 'GET', queued.status_url);
    await callFor(202, 'GET', queued.response_url);
    await callFor(422, 'GET', `${queued.status_url}?wait=soon`);
    for (const task of [queued, slow]) {
      await callFor(202, 'PUT', task.cancel_url);
      await until(task.status_url, 'COMPLETED');
      await callFor(499, 'GET', task.response_url);
    }

    const unknown = `${mount}/echo/requests/${nobody}`;
    await callFor(404, 'GET', `${unknown}/status`);
    await callFor(404, 'GET', `${unknown}/response`);
    await callFor(404, 'PUT', `${unknown}/cancel`);
    await callFor(400, 'GET', `${unknown}/status/stream`);
  });
}

test('creates are refused as the document says', limit, async () => {
  for (const target of ['/v1/queue/picture', '/fal/fal-ai/flux']) {
    await callFor(401, 'POST', target, { key: '', body: {} });
    await callFor(401, 'POST', target, { key: 'wrong', body: {} });
    await callFor(400, 'POST', target, { body: { webhook_url: 'https://example.com' } });
    await callFor(422, 'POST', target, { body: { prompt: 1, num_inference_steps: 0 } });
    await callFor(422, 'POST', target, { body: '{' });
    await callFor(422, 'POST', target, { body: { prompt: 'a' }, headers: { 'idempotency-key': 'a b' } });
  }
  await callFor(200, 'POST', '/v1/queue/echo', { body: {}, headers: { 'idempotency-key': 'once' } });
  await callFor(422, 'POST', '/v1/queue/echo', { body: { a: 1 }, headers: { 'idempotency-key': 'once' } });
  await callFor(404, 'POST', '/v1/queue/unknown', { body: {} });
  await callFor(404, 'POST', '/fal/un/known', { body: {} });
  await callFor(413, 'POST', '/v1/queue/echo', { body: { text: 'x'.repeat(11 * 1024 * 1024) } });
  await callFor(403, 'POST', '/v1/queue/echo', { key: 'rare-secret', body: {} });
  await callFor(404, 'POST', '/v1/queue/unknown', { key: 'rare-secret', body: {} });
  await callFor(429, 'POST', '/v1/queue/echo', { key: 'rare-secret', body: {} });
  await callFor(429, 'POST', '/fal/quern/echo', { key: 'rare-secret', body: {} });
  const running = await create('full', {});
  await until(running.status_url, 'IN_PROGRESS');
  await create('full', {});
  await callFor(429, 'POST', '/v1/queue/full', { body: {} });
  await callFor(429, 'POST', '/fal/quern/full', { body: {} });
});

test('/fal answers as the document says', limit, async () => {
  const made = await create('flux', { prompt: 'a cup' }, '/fal/fal-ai');
  await until(made.status_url, 'COMPLETED');
  await callFor(200, 'GET', `${made.status_url}?logs=1`);
  await callFor(200, 'GET', made.response_url);
  await callFor(200, 'GET', `${made.response_url}/response`);
  await callFor(200, 'GET', `${made.response_url}/response/status`);
  await callFor(400, 'PUT', made.cancel_url);
  await callFor(200, 'GET', `${made.status_url}/stream?logs=1`);
  const told = await create('echo', { a: 1 }, '/fal/quern');
  await until(told.status_url, 'COMPLETED');
  await callFor(200, 'GET', told.response_url);
  const shown = await create('film', { prompt: 'a film' }, '/fal/quern');
  await until(shown.status_url, 'COMPLETED');
  await callFor(200, 'GET', shown.response_url);
  const failed = await create('flux', { prompt: 'fail' }, '/fal/fal-ai');
  await until(failed.status_url, 'COMPLETED');
  await callFor(500, 'GET', failed.response_url);
  const slow = await create('slow', {}, '/fal/fal-ai');
  await callFor(400, 'GET', slow.response_url);
  await callFor(202, 'PUT', slow.cancel_url);
  await until(slow.status_url, 'COMPLETED');
  await callFor(499, 'GET', slow.response_url);
  await callFor(404, 'GET', `/fal/quern/echo/requests/${nobody}/status`);
  await callFor(404, 'GET', `/fal/quern/echo/requests/${nobody}/status/stream`);
  await callFor(422, 'POST', '/fal/quern/echo', { body: {}, headers: { 'x-fal-queue-priority': 'high' } });
  for (const method of ['GET', 'POST', 'PUT']) await callFor(400, method, '/fal/proxy');
  await callFor(200, 'POST', '/fal/proxy', { body: {}, headers: { 'x-fal-target-url': 'https://queue.fal.run/quern/echo' } });
});

test('files come and go as the document says', limit, async () => {
  const form = new FormData();
  form.set('file', new Blob(['hello']), 'hello.txt');
  const stored = await callFor(200, 'POST', '/v1/files', { body: form });
  await callFor(200, 'POST', '/v1/files?file_name=a.txt', { body: 'plain' });
  const empty = new FormData();
  empty.set('other', 'x');
  await callFor(422, 'POST', '/v1/files', { body: empty });
  await callFor(200, 'GET', stored.url, { key: '' });
  await callFor(206, 'GET', stored.url, { headers: { range: 'bytes=0-1' } });
  await callFor(416, 'GET', stored.url, { headers: { range: 'bytes=100-' } });
  await callFor(304, 'GET', stored.url, { headers: { 'if-none-match': '*' } });
  await callFor(404, 'GET', '/files/00000000000000000000000000000000/a.txt');

  const asked = { body: { content_type: 'text/plain', file_name: 'a.txt' } };
  const links = await callFor(200, 'POST', '/fal/storage/upload/initiate', asked);
  await callFor(200, 'PUT', links.upload_url, { key: '', body: 'bytes' });
  await callFor(404, 'PUT', '/fal/storage/upload/x/a.txt', { key: '', body: 'bytes' });
  await callFor(422, 'POST', '/fal/storage/upload/initiate', { body: '[]' });
  const parts = await callFor(200, 'POST', '/fal/storage/upload/initiate-multipart', asked);
  const part = await callFor(200, 'PUT', `${parts.upload_url}/1`, { key: '', body: 'one' });
  await callFor(200, 'POST', `${parts.upload_url}/complete`, { key: '', body: { parts: [part] } });
  await callFor(422, 'POST', `${parts.upload_url}/complete`, { key: '', body: { parts: [] } });
});

test('models, health and the rest answer as the document says', limit, async () => {
  await callFor(200, 'GET', '/v1/models?limit=1');
  await callFor(422, 'GET', '/v1/models?limit=0');
  await callFor(200, 'GET', '/v1/models/picture');
  await callFor(404, 'GET', '/v1/models/unknown');
  await callFor(401, 'GET', '/v1/models', { key: '' });
  for (const open of ['/healthz', '/readyz', '/metrics', '/docs', '/openapi.json']) await callFor(200, 'GET', open, { key: '' });
});

test('/admin answers as the document says', limit, async () => {
  const root = { key: 'root-secret' };
  const failed = await create('picture', { prompt: 'fail' });
  await until(failed.status_url, 'COMPLETED');
  const made = await create('picture', { prompt: 'a cup' });
  await until(made.status_url, 'COMPLETED');
  const slow = await create('slow', {});
  await until(slow.status_url, 'IN_PROGRESS');
  await create('slow', {});

  const page = await callFor(200, 'GET', '/admin/tasks?limit=2', root);
  await callFor(200, 'GET', `/admin/tasks?limit=1000&before=${page.next_before}`, root);
  await callFor(422, 'GET', '/admin/tasks?state=lost', root);
  for (const { request_id: id } of [failed, made, slow]) await callFor(200, 'GET', `/admin/tasks/${id}`, root);
  await callFor(404, 'GET', `/admin/tasks/${nobody}`, root);
  await callFor(404, 'GET', '/admin/tasks');
  await callFor(409, 'DELETE', `/admin/tasks/${slow.request_id}`, root);
  await callFor(409, 'POST', `/admin/tasks/${made.request_id}/retry`, root);
  await callFor(200, 'POST', `/admin/tasks/${failed.request_id}/retry`, root);
  await callFor(200, 'DELETE', `/admin/tasks/${made.request_id}`, root);
  await callFor(422, 'POST', '/admin/tasks/cancel', { ...root, body: {} });
  await callFor(200, 'POST', '/admin/tasks/cancel', { ...root, body: { model: 'slow', limit: 1 } });
  await callFor(200, 'POST', '/admin/models/slow/pause', root);
  await callFor(200, 'POST', '/admin/models/slow/resume', root);
  await callFor(404, 'POST', '/admin/models/unknown/pause', root);
});

test('every operation of the document was called by these tests', limit, () => {
  const all = Object.values(document.paths).flatMap((item) => Object.values(item)).map((operation) => operation.operationId);
  const uncalled = all.filter((id) => !judge.called.has(id) && !/^create_/.test(id));

  // A model's own path is the one that a create matches first; the general one is the same route.
  assert.deepEqual(uncalled, []);
});
