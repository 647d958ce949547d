// GET /docs as people meet it, in headless Chromium: read, try, fail, cancel; and nothing from elsewhere.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { startChromium } from './lib/chromium.mjs';
import { secret, startServer } from './lib/server.mjs';

const limit = { timeout: 120_000 };
let server;
let browser;
let page;
let requests; // what the page asked for, and what it complained of
let complaints;

const pictureSchema = {
  type: 'object',
  required: ['image'],
  properties: {
    image: { type: 'string', format: 'uri', 'x-quern-file': true, description: 'What to measure.' },
    scale: { type: 'integer', minimum: 2, maximum: 4, default: 3 },
  },
  examples: [{ image: 'https://example.com/a.png' }, { image: 'https://example.com/b.png', scale: 2 }],
};

before(async () => {
  server = await startServer({
    more: `
[[model]]
id = "sized"
title = "Sized"
description = "Says what it was given."
executor = { kind = "echo" }
schema = "sized.json"
`,
    files: { 'sized.json': JSON.stringify(pictureSchema) },
  });
  browser = await startChromium();
}, limit);

after(async () => {
  await browser?.stop();
  await server?.stop();
}, limit);

beforeEach(async () => {
  page = await browser.newPage();
  requests = [];
  complaints = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(`${server.url}/docs`);
  await page.waitForSelector('#run:enabled');
}, limit);

afterEach(async () => {
  for (const url of requests) assert.ok(url.startsWith(server.url) || url.startsWith('data:'), url);
  await page.close();
}, limit);

const state = (text) => page.waitForFunction((wanted) => document.getElementById('state').textContent === wanted, text);
const text = (selector) => page.textContent(selector);

async function runTask(model, input, key = secret) {
  await page.fill('#key', key);
  await page.selectOption('#model', model);
  if (input) await page.fill('#input', JSON.stringify(input));
  await page.click('#run');
}

test('every model and every route of the document is listed', limit, async () => {
  const document = await (await fetch(`${server.url}/openapi.json`)).json();
  const routes = Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`));
  const models = Object.keys(document.components.schemas).filter((name) => name.startsWith('Input_')).map((name) => name.slice(6));

  const shown = await page.$$eval('.route > summary', (lines) => lines.map((line) => `${line.children[0].textContent} ${line.children[1].textContent}`));
  assert.deepEqual(shown.sort(), routes.sort());
  assert.deepEqual(await page.$$eval('#models code', (ids) => ids.map((id) => id.textContent)), models);
  assert.deepEqual(await page.$$eval('#model option', (options) => options.map((option) => option.value)), models);
  await page.click('.route > summary');
  assert.ok(await page.isVisible('.route[open] table'));
  assert.deepEqual(complaints, []);
});

test("a model's parameters, examples and calls by curl are shown", limit, async () => {
  await page.selectOption('#model', 'sized');

  assert.equal(await text('#about'), 'Says what it was given.');
  assert.deepEqual(await page.$$eval('#parameters tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))), [
    ['image required', 'file, as a URL', '', 'What to measure.'],
    ['scale', 'integer, 2 to 4', '3', ''],
  ]);
  await page.selectOption('#example', '1');
  assert.deepEqual(JSON.parse(await page.inputValue('#input')), pictureSchema.examples[1]);
  assert.match(await text('#curl'), /-d '\{"image":"https:\/\/example.com\/b.png","scale":2\}'/);
  assert.deepEqual(complaints, []);
});

test('a task is created, seen in progress, and its result shown', limit, async () => {
  await runTask('stepwise', { gate: 'docs' });
  await state('IN_PROGRESS');
  await page.waitForFunction(() => document.getElementById('more').textContent === '50 %');
  assert.equal(await page.$eval('#bar', (bar) => bar.value), 0.5);
  assert.match(await text('#logs'), /INFO first step/);
  assert.match(await text('#task'), /^mmsu_/);

  await server.openGate('docs');
  await state('COMPLETED');
  assert.equal(await text('#outputs pre'), 'through the gate');
  assert.ok(await page.isHidden('#bar'));
  assert.ok(await page.isEnabled('#run'));
  assert.deepEqual(complaints, []);
});

test('pictures and films are shown in the page', limit, async () => {
  await runTask('picture', { prompt: 'a cup' });
  await page.waitForFunction(() => document.querySelector('#outputs img')?.naturalWidth === 128);
  assert.match(await text('#outputs p'), /^picture\.png image\/png, 128 × \d+, [\d,]+ bytes$/);
  await runTask('film', { prompt: 'a film' });
  await page.waitForFunction(() => document.querySelector('#outputs video')?.readyState >= 1);
  assert.deepEqual(complaints, []);
});

// A proxy that serves Quern below `prefix` and nothing else, and says nothing of that.
async function startProxy(prefix) {
  const proxy = http.createServer((asked, answer) => {
    if (!asked.url.startsWith(prefix + '/')) return void answer.writeHead(404).end();
    const { method, headers } = asked;
    const onward = http.request(server.url + asked.url.slice(prefix.length), { method, headers, agent: false }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    asked.pipe(onward);
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  return proxy;
}

test('below the path prefix of a proxy all works the same', limit, async () => {
  const proxy = await startProxy('/gen');
  try {
    requests = [];
    const below = `http://127.0.0.1:${proxy.address().port}/gen/`;
    await page.goto(`${below}docs`);
    await page.waitForSelector('#run:enabled');
    await runTask('picture', { prompt: 'a cup' });
    await page.waitForFunction(() => document.querySelector('#outputs img')?.naturalWidth === 128);
    assert.ok((await text('#curl')).includes(` ${below}v1/queue/picture `));
    for (const url of requests) assert.ok(url.startsWith(below) || url.startsWith('data:'), url);
    assert.deepEqual(complaints, []);
  } finally {
    requests = [];
    proxy.closeAllConnections();
    proxy.close();
  }
});

test('a file of the reader goes up and stands in the input', limit, async () => {
  await page.fill('#key', secret);
  await page.selectOption('#model', 'sized');
  await page.setInputFiles('#file-image', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') });
  await state('Uploaded');

  const { image } = JSON.parse(await page.inputValue('#input'));
  assert.equal(await (await fetch(image)).text(), 'hello');
  await page.click('#run');
  await state('COMPLETED');
  assert.deepEqual(complaints, []);
});

test('a running task is canceled', limit, async () => {
  await runTask('slow', {});
  await state('IN_PROGRESS');
  await page.click('#cancel');
  await state('Failed');

  assert.equal(await text('#more'), 'Task canceled');
  assert.ok(await page.isEnabled('#run'));
  assert.deepEqual(complaints, []);
});

test('no key, a wrong key, a bad input and a failing task say what is wrong', limit, async () => {
  await runTask('picture', { prompt: 'a cup' }, '');
  await state('Enter a key first');
  assert.deepEqual(requests.filter((url) => url.includes('/v1/')), []);
  await runTask('picture', { prompt: 'a cup' }, 'wrong');
  await state('HTTP 401');
  assert.equal(await text('#more'), 'Invalid API key');
  assert.equal(await text('#task'), '');
  await runTask('picture', { num_inference_steps: 0 });
  await state('HTTP 422');
  assert.match(await text('#more'), /prompt: Field required/);
  await runTask('picture', { prompt: 'fail' });
  await state('Failed');
  assert.equal(await text('#more'), 'out of paint');
  assert.match(await text('#answer'), /"error_type": "INFERENCE_FAILURE"/);

  // A browser logs refused calls by itself; there must be nothing else.
  assert.deepEqual(complaints.filter((line) => !/status of (401|422)/.test(line)), []);
});

test('the page stands on a narrow screen', limit, async () => {
  await page.setViewportSize({ width: 380, height: 800 });
  await page.selectOption('#model', 'sized');

  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 380);
});
