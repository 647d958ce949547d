// @fal-ai/client in a page, in headless Chromium: CORS, uploads, event streams.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';

import { build } from 'esbuild';

import { startChromium } from './lib/chromium.mjs';
import { secret, startServer } from './lib/server.mjs';
import { makeToQuern } from './lib/to_quern.mjs';

const limit = { timeout: 120_000 };
let site;
let server;
let browser;
let page;

before(async () => {
  site = await serveSite();
  server = await startServer({ serverKeys: `cors_origins = ["${site.origin}"]` });
  browser = await startChromium();
}, limit);

after(async () => {
  await browser?.stop();
  await server?.stop();
  site?.close();
}, limit);

beforeEach(async () => {
  page = await browser.newPage();
  await openPage(site.origin);
}, limit);

// A page with the client bundled, as a web project would have it.
async function serveSite() {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { createFalClient } from '@fal-ai/client';`,
      resolveDir: import.meta.dirname,
    },
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'falClient',
    write: false,
    logLevel: 'error',
  });
  const http = createServer((request, response) => {
    const isScript = request.url === '/client.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? outputFiles[0].text : '<!doctype html><script src="/client.js"></script>');
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address();
  return {
    origin: `http://127.0.0.1:${port}`,
    strange: `http://localhost:${port}`, // the same page, by an origin that is not configured
    close: () => (http.closeAllConnections(), http.close()),
  };
}

// Loads the page and makes two clients in it: `direct` by requestMiddleware, `proxied` by proxyUrl.
async function openPage(origin) {
  await page.goto(origin);
  await page.evaluate(
    ([mount, credentials, toQuernText]) => {
      const common = { credentials, suppressLocalCredentialsWarning: true };
      const direct = window.falClient.createFalClient({
        ...common,
        requestMiddleware: new Function(`return ${toQuernText}`)()(mount),
      });
      const proxied = window.falClient.createFalClient({ ...common, proxyUrl: `${mount}/proxy` });
      window.clients = { direct, proxied };
      // What a failed call tells the page.
      window.failureOf = (promise) =>
        promise.then(
          () => 'no error',
          ({ name, message, status, body, requestId }) => ({
            name,
            message,
            status,
            body,
            requestId,
          }),
        );
    },
    [server.fal, secret, makeToQuern.toString()],
  );
}

for (const way of ['direct', 'proxied']) {
  test(`${way}: a picture is made, shown and read by the page`, limit, async () => {
    const seen = await page.evaluate(async (way) => {
      const { data, requestId } = await window.clients[way].subscribe('fal-ai/flux/dev', {
        input: { prompt: 'a cup of coffee' },
        priority: 'low',
        pollInterval: 50,
      });
      const image = new Image();
      image.crossOrigin = 'anonymous';
      image.src = data.images[0].url;
      await image.decode();
      const blob = await (await fetch(image.src)).blob();
      return { requestId, size: [image.naturalWidth, image.naturalHeight], bytes: blob.size };
    }, way);

    assert.match(seen.requestId, /^mmsu_/);
    assert.deepEqual(seen.size, [128, 128]);
    assert.equal(seen.bytes, (await server.picture()).length);
  });

  test(`${way}: a Blob is uploaded and handed to the model`, limit, async () => {
    const text = await page.evaluate(async (way) => {
      const file = new File(['twelve bytes'], 'note.txt', { type: 'text/plain' });
      const { data } = await window.clients[way].subscribe('fal-ai/measure', {
        input: { file },
        pollInterval: 50,
      });
      return data.text;
    }, way);

    assert.match(text, /^12 bytes, /);
  });

  test(`${way}: the event stream arrives step by step`, limit, async () => {
    await page.exposeFunction('openGate', () => server.openGate(way));
    const result = await page.evaluate(async (way) => {
      let opening;
      const statuses = [];
      const { data } = await window.clients[way].subscribe('fal-ai/stepwise', {
        input: { gate: way },
        mode: 'streaming',
        onQueueUpdate: (update) => {
          statuses.push(update.status);
          if (update.progress === 0.5) opening ??= window.openGate();
        },
      });
      await opening;
      return { text: data.text, statuses };
    }, way);

    assert.equal(result.text, 'through the gate');
    assert.ok(result.statuses.includes('IN_PROGRESS'));
    assert.equal(result.statuses.at(-1), 'COMPLETED');
  });

  test(`${way}: a task is canceled`, limit, async () => {
    const last = await page.evaluate(async (way) => {
      const { queue } = window.clients[way];
      const { request_id: requestId } = await queue.submit('fal-ai/slow', { input: {} });
      await queue.cancel('fal-ai/slow', { requestId });
      return queue.subscribeToStatus('fal-ai/slow', { requestId, pollInterval: 50 });
    }, way);

    assert.equal(last.error_type, 'client_cancelled');
  });

  test(`${way}: errors reach the page with body and request id`, limit, async () => {
    const [invalid, failed, unknown] = await page.evaluate(async (way) => {
      const client = window.clients[way];
      return [
        await window.failureOf(client.queue.submit('fal-ai/flux/dev', { input: {} })),
        await window.failureOf(
          client.subscribe('fal-ai/flux/dev', { input: { prompt: 'fail' }, pollInterval: 50 }),
        ),
        await window.failureOf(client.queue.submit('fal-ai/nobody', { input: {} })),
      ];
    }, way);

    assert.equal(invalid.name, 'ValidationError');
    assert.deepEqual(invalid.body.detail[0].loc, ['body', 'prompt']);
    assert.equal(failed.status, 500);
    assert.equal(failed.message, 'Internal Server Error');
    assert.match(failed.requestId, /^mmsu_/);
    assert.equal(unknown.status, 404);
  });
}

test('a page of another origin cannot call', limit, async () => {
  await openPage(site.strange);

  const failure = await page.evaluate(() =>
    window.failureOf(window.clients.direct.queue.submit('quern/echo', { input: {} })),
  );

  assert.equal(failure.name, 'TypeError');
  assert.match(failure.message, /Failed to fetch/);
});
