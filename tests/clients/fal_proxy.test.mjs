// @fal-ai/client through `proxyUrl`: Quern's own /fal/proxy, and @fal-ai/server-proxy in front.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';

import { createFalClient, ValidationError } from '@fal-ai/client';
import { handleRequest, resolveProxyConfig } from '@fal-ai/server-proxy';
import { createProxy } from '@fal-ai/server-proxy/remix';

import { readRecipe } from './lib/recipe.mjs';
import { secret, startServer } from './lib/server.mjs';
import { makeToQuern } from './lib/to_quern.mjs';

const limit = { timeout: 60_000 };
const flux = 'fal-ai/flux/dev';
const poll = { pollInterval: 50 };
let server;

before(async () => {
  server = await startServer();
}, limit);
after(() => server?.stop());

// What works through every proxy.
function itServes(client) {
  test('a subscription polls and gets a picture', limit, async () => {
    const { data, requestId } = await client().subscribe(flux, {
      input: { prompt: 'a cup of coffee' },
      ...poll,
    });

    assert.match(requestId, /^mmsu_/);
    assert.deepEqual(
      Buffer.from(await (await fetch(data.images[0].url)).arrayBuffer()),
      await server.picture(),
    );
  });

  test('a Blob is uploaded and handed to the model', limit, async () => {
    const { data } = await client().subscribe('fal-ai/measure', {
      input: { file: new Blob(['twelve bytes']) },
      ...poll,
    });

    assert.match(data.text, /^12 bytes, /);
  });

  test('faults in the input are told by field', limit, async () => {
    await assert.rejects(client().queue.submit(flux, { input: { steps: 3 } }), (error) => {
      assert.ok(error instanceof ValidationError);
      assert.equal(error.getFieldErrors('prompt')[0].msg, 'Field required');
      return true;
    });
  });

  test('a failing task rejects', limit, async () => {
    await assert.rejects(client().subscribe(flux, { input: { prompt: 'fail' }, ...poll }), {
      name: 'ApiError',
      status: 500,
    });
  });
}

function itStreams(client) {
  test('the event stream arrives step by step', limit, async () => {
    let opening;
    const gate = `gate_${Math.random().toString(36).slice(2)}`;
    const { data } = await client().subscribe('fal-ai/stepwise', {
      input: { gate },
      mode: 'streaming',
      onQueueUpdate: (update) => {
        if (update.progress === 0.5) opening ??= server.openGate(gate);
      },
    });
    await opening;

    assert.equal(data.text, 'through the gate');
  });
}

function itCancels(client) {
  test('a task is canceled', limit, async () => {
    const { request_id: requestId } = await client().queue.submit('fal-ai/slow', { input: {} });

    await client().queue.cancel('fal-ai/slow', { requestId });
    const last = await client().queue.subscribeToStatus('fal-ai/slow', { requestId, ...poll });

    assert.equal(last.error_type, 'client_cancelled');
  });
}

// What the lines that docs/CLIENTS.md gives hand to fal.config().
async function readProxyConfig() {
  const code = await readRecipe('@fal-ai/client through a proxy', server.url);
  let config;
  const fal = { config: (given) => (config = given) };
  new Function('fal', 'process', code)(fal, { env: { QUERN_KEY: secret } });
  return config;
}

describe('proxyUrl at /fal/proxy', () => {
  let config;
  before(async () => {
    config = await readProxyConfig();
  });
  const client = () => createFalClient(config);
  itServes(client);
  itStreams(client);
  itCancels(client);

  test('addresses that are not the queue or the storage are refused', limit, async () => {
    await assert.rejects(client().run(flux, { input: { prompt: 'at once' } }), {
      name: 'ApiError',
      status: 400,
      body: { detail: 'only https://queue.fal.run/ and https://rest.fal.ai/storage/ are served here' },
    });
  });

  // Before 1.10 no form of proxyUrl counts in Node, and in 1.10 the plain string does not.
  test('where the client leaves the proxy out, nothing is sent', limit, async (t) => {
    const sent = [];
    t.mock.method(globalThis, 'fetch', async (url) => {
      sent.push(String(url));
      return Response.json({});
    });
    const ignoring = createFalClient({ ...config, proxyUrl: config.proxyUrl.url });

    const call = ignoring.queue.submit(flux, { input: { prompt: 'a' } });

    await assert.rejects(call, /Quern does not serve https:\/\/queue\.fal\.run\//);
    assert.deepEqual(sent, []);
  });
});

// The proxy itself adds the key and checks where calls go; that is all it lets one configure.
const proxyConfig = () => ({
  allowedUrlPatterns: [`${new URL(server.url).host}/fal/**`],
  allowedEndpoints: ['fal/fal-ai/**', 'fal/storage/**'],
  allowUnauthorizedRequests: true,
  isAuthenticated: async () => true,
  resolveFalAuth: async () => `Key ${secret}`,
});

// A client without a key, whose targets are Quern's addresses.
const keyless = (proxyUrl) =>
  createFalClient({
    credentials: undefined,
    proxyUrl: { url: proxyUrl, when: 'always' },
    requestMiddleware: makeToQuern(server.fal),
  });

async function listen(handler) {
  const http = createServer((request, response) => {
    handler(request, response).catch((error) => response.destroy(error));
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${http.address().port}/api/fal/proxy`,
    close: () => (http.closeAllConnections(), http.close()),
  };
}

describe('@fal-ai/server-proxy on node:http', () => {
  let proxy;
  before(async () => {
    const config = resolveProxyConfig(proxyConfig());
    proxy = await listen((request, response) => handleRequest(behavior(request, response), config));
  });
  after(() => proxy?.close());
  const client = () => keyless(proxy.url);
  itServes(client);
  itStreams(client);
  itCancels(client);

  test('an endpoint that the proxy does not allow stays out of reach', limit, async () => {
    await assert.rejects(client().queue.submit('quern/echo', { input: {} }), { status: 400 });
  });
});

function behavior(request, response) {
  return {
    id: 'node-http',
    method: request.method,
    getHeaders: () => request.headers,
    getHeader: (name) => request.headers[name],
    sendHeader: (name, value) => response.setHeader(name, value),
    respondWith: (status, data) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(data));
    },
    getRequestBody: async () => Buffer.concat(await request.toArray()).toString(),
    sendResponse: async (answer) => {
      response.writeHead(answer.status, answer.statusText);
      Readable.fromWeb(answer.body).pipe(response);
    },
  };
}

describe('@fal-ai/server-proxy by its adapter for Request and Response', () => {
  let proxy;
  before(async () => {
    const { action } = createProxy({ ...proxyConfig(), json: Response.json });
    proxy = await listen(async (request, response) => {
      const answer = await action({ request: await toRequest(request) });
      response.writeHead(answer.status, answer.statusText, Object.fromEntries(answer.headers));
      Readable.fromWeb(answer.body).pipe(response);
    });
  });
  after(() => proxy?.close());
  const client = () => keyless(proxy.url);
  itServes(client);
  itStreams(client);
});

async function toRequest(request) {
  const body = Buffer.concat(await request.toArray());
  return new Request(`http://proxy.invalid${request.url}`, {
    method: request.method,
    headers: request.headers,
    body: body.length > 0 ? body : undefined,
  });
}
