// @huggingface/inference with provider "fal-ai".

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';

import { InferenceClient } from '@huggingface/inference';

import { readRecipe } from './lib/recipe.mjs';
import { secret, startServer } from './lib/server.mjs';

const limit = { timeout: 60_000 };
const provider = 'fal-ai';
const realFetch = globalThis.fetch;
let server;
let recipe; // the lines that docs/CLIENTS.md gives
let toQuern; // what they define
let onlyQuern;
let sent = []; // the addresses that were asked

before(async () => {
  server = await startServer();
  recipe = await readRecipe('Hugging Face', server.url);
  const definitions = recipe.slice(0, recipe.indexOf('const client'));
  ({ toQuern, onlyQuern } = new Function(`${definitions} return { toQuern, onlyQuern };`)());
}, limit);
after(() => server?.stop());
beforeEach(() => {
  globalThis.fetch = fetchWithHub;
  sent = [];
});

// Which of fal's models a model of the hub is: the client asks the hub. Here the answers of the
// hub are kept, since tests have no network; for the same reason nothing else goes further than here.
const hub = {
  'black-forest-labs/FLUX.1-dev': { task: 'text-to-image', providerId: 'fal-ai/flux/dev' },
  'Kwai/Kling-v2': {
    task: 'text-to-video',
    providerId: 'fal-ai/kling-video/v2/master/text-to-video',
  },
  'black-forest-labs/FLUX.2-dev': { task: 'image-text-to-image', providerId: 'fal-ai/flux/dev/edit' },
  'Kwai/Kling-v3': { task: 'image-text-to-video', providerId: 'fal-ai/kling-video/v3/edit' },
};

async function fetchWithHub(url, init) {
  sent.push(String(url));
  const model = /^https:\/\/huggingface\.co\/api\/models\/([^?]+)/.exec(String(url))?.[1];
  if (!model && String(url).startsWith(server.url)) return realFetch(url, init);
  if (!model) return Response.json({}, { status: 418 });
  const { task, providerId } = hub[model];
  return Response.json({
    id: model,
    inferenceProviderMapping: { [provider]: { status: 'live', providerId, task } },
  });
}

test('a picture is made by urlTransform and a fetch of one\'s own', limit, async () => {
  const client = new InferenceClient(secret, { fetch: onlyQuern });

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
  const client = new InferenceClient(secret, { fetch: onlyQuern });

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
  const client = new InferenceClient(secret, { fetch: onlyQuern });

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
    new InferenceClient(key, { fetch: onlyQuern }).textToImage({
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

// Both put a urlTransform of their own in place of the one that they were given.
test('calls that leave urlTransform out send nothing to fal', limit, async () => {
  const client = new InferenceClient(secret, { fetch: onlyQuern });
  const ask = { provider, parameters: { prompt: 'a cup' }, urlTransform: toQuern };
  const refusal = /Quern does not serve https:\/\/queue\.fal\.run\//;

  const picture = client.imageTextToImage({ ...ask, model: 'black-forest-labs/FLUX.2-dev' });
  await assert.rejects(picture, refusal);
  const video = client.imageTextToVideo({ ...ask, model: 'Kwai/Kling-v3' });
  await assert.rejects(video, refusal);

  assert.deepEqual(sent.map((url) => new URL(url).host), ['huggingface.co', 'huggingface.co']);
});

// By itself the client does not keep Node running while it waits.
test('the recipe runs to its end as a script', limit, async () => {
  const mapping = { [provider]: { status: 'live', ...hub['black-forest-labs/FLUX.1-dev'] } };
  const standIn = `const real = fetch;
    globalThis.fetch = async (url, init) => String(url).startsWith('https://huggingface.co/')
      ? Response.json({ inferenceProviderMapping: ${JSON.stringify(mapping)} })
      : real(url, init);`;
  const script = `import { InferenceClient } from '@huggingface/inference';
    ${standIn} ${recipe} console.log(picture.type);`;
  const options = { cwd: import.meta.dirname, env: { ...process.env, QUERN_KEY: secret } };

  const { stdout } = await promisify(execFile)(
    process.execPath, ['--input-type=module', '--eval', script], options);

  assert.equal(stdout, 'image/png\n');
});
