// @huggingface/inference with provider "fal-ai".

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { InferenceClient } from '@huggingface/inference';

import { secret, startServer } from './lib/server.mjs';

const limit = { timeout: 60_000 };
const provider = 'fal-ai';
const realFetch = globalThis.fetch;
let server;

before(async () => {
  server = await startServer();
}, limit);
after(() => server?.stop());
afterEach(() => {
  globalThis.fetch = realFetch;
});

// Which of fal's models a model of the hub is: the client asks the hub. Here the answers of the
// hub are kept, since tests have no network; all else goes where it is sent.
const hub = {
  'black-forest-labs/FLUX.1-dev': { task: 'text-to-image', providerId: 'fal-ai/flux/dev' },
  'Kwai/Kling-v2': {
    task: 'text-to-video',
    providerId: 'fal-ai/kling-video/v2/master/text-to-video',
  },
};

async function fetchWithHub(url, init) {
  const model = /^https:\/\/huggingface\.co\/api\/models\/([^?]+)/.exec(String(url))?.[1];
  if (!model) return realFetch(url, init);
  const { task, providerId } = hub[model];
  return Response.json({
    id: model,
    inferenceProviderMapping: { [provider]: { status: 'live', providerId, task } },
  });
}

// These are the lines that docs/CLIENTS.md gives.
const toQuern = (url) => {
  if (!url.startsWith('https://queue.fal.run/')) throw new Error(`Quern does not serve ${url}`);
  return url.replace('https://queue.fal.run', server.fal);
};

test('a picture is made by urlTransform and a fetch of one\'s own', limit, async () => {
  const client = new InferenceClient(secret, { fetch: fetchWithHub });

  const picture = await client.textToImage({
    provider,
    model: 'black-forest-labs/FLUX.1-dev',
    inputs: 'a cup of coffee',
    urlTransform: toQuern,
  });

  assert.equal(picture.type, 'image/png');
  assert.deepEqual(Buffer.from(await picture.arrayBuffer()), await server.picture());
});

test('a video is made the same way', limit, async () => {
  const client = new InferenceClient(secret, { fetch: fetchWithHub });

  const video = await client.textToVideo({
    provider,
    model: 'Kwai/Kling-v2',
    inputs: 'a test picture',
    urlTransform: toQuern,
  });

  assert.equal(video.type, 'video/mp4');
  assert.deepEqual(Buffer.from(await video.arrayBuffer()), await server.film());
});

test('a fetch put in place of the global one is enough', limit, async () => {
  globalThis.fetch = (url, init) =>
    fetchWithHub(String(url).replace(/^https:\/\/queue\.fal\.run(\/fal\/)?/, (_, mounted) =>
      mounted ? `${server.fal}/` : server.fal), init);
  const client = new InferenceClient(secret);

  const url = await client.textToImage(
    { provider, model: 'black-forest-labs/FLUX.1-dev', inputs: 'a cup' },
    { outputType: 'url' },
  );

  assert.ok(url.startsWith(`${server.url}/files/`), url);
});

test('a failing task rejects and shows what the server said', limit, async () => {
  const client = new InferenceClient(secret, { fetch: fetchWithHub });

  const call = client.textToImage({
    provider,
    model: 'black-forest-labs/FLUX.1-dev',
    inputs: 'fail',
    urlTransform: toQuern,
  });

  await assert.rejects(call, /out of paint/);
});

test('refused input and a wrong key reject with their status', limit, async () => {
  const ask = (key, parameters) =>
    new InferenceClient(key, { fetch: fetchWithHub }).textToImage({
      provider,
      model: 'black-forest-labs/FLUX.1-dev',
      inputs: 'a cup',
      parameters,
      urlTransform: toQuern,
    });

  await assert.rejects(ask(secret, { num_inference_steps: 0 }), (error) => {
    assert.equal(error.httpResponse.status, 422);
    assert.deepEqual(error.httpResponse.body.detail[0].loc, ['body', 'num_inference_steps']);
    return true;
  });
  await assert.rejects(ask('wrong:key'), (error) => error.httpResponse.status === 401);
});
