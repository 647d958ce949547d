// Video by the AI SDK: `ai` with @ai-sdk/fal, pointed at Quern by a `fetch` of one's own.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { createFal } from '@ai-sdk/fal';
import { experimental_generateVideo as generateVideo, generateImage } from 'ai';

import { secret, startServer } from './lib/server.mjs';

const limit = { timeout: 60_000 };
const kling = 'kling-video/v2/master/text-to-video';
let server;
let seen = []; // the calls of the provider that was made last
let onCall = () => {};

before(async () => {
  server = await startServer();
}, limit);
after(() => server?.stop());

// These are the lines that docs/CLIENTS.md gives. The provider sends its key, and accepts an
// address on a private network, only where response_url has the origin that it submitted to: so
// the addresses in answers are turned back too.
function makeProvider() {
  const quern = server.fal;
  const fetchQuern = async (url, init) => {
    if (!String(url).startsWith('https://queue.fal.run/'))
      throw new Error(`Quern does not serve ${url}`);
    const answer = await fetch(String(url).replace('https://queue.fal.run', quern), init);
    const text = (await answer.text()).replaceAll(quern, 'https://queue.fal.run');
    return new Response(text, answer);
  };
  seen = [];
  return createFal({
    apiKey: secret,
    fetch: async (url, init) => {
      const answer = await fetchQuern(url, init);
      seen.push({ method: init?.method ?? 'GET', status: answer.status });
      onCall(seen.at(-1));
      return answer;
    },
  });
}

// The AI SDK fetches media from public addresses only, unless it is told how.
const download = async ({ url }) => {
  const answer = await fetch(url);
  return {
    data: new Uint8Array(await answer.arrayBuffer()),
    mediaType: answer.headers.get('content-type') ?? undefined,
  };
};

const generate = (prompt, more) =>
  generateVideo({
    model: makeProvider().video(kling),
    prompt,
    maxRetries: 0,
    download,
    poll: { intervalMs: 50, timeoutMs: 30_000 },
    ...more,
  });

test('a video is generated and downloaded', limit, async () => {
  const { video, providerMetadata } = await generate('a test picture');

  assert.equal(video.mediaType, 'video/mp4');
  assert.deepEqual(Buffer.from(video.uint8Array), await server.film());
  const [facts] = providerMetadata.fal.videos;
  assert.deepEqual([facts.width, facts.height, facts.duration], [64, 48, 1]);
});

test('polling reads 400 as "still in progress"', limit, async () => {
  let opening;
  onCall = ({ status }) => {
    if (status === 400) opening ??= server.openGate('early', 'film');
  };

  await generate('a test picture', { providerOptions: { fal: { gate: 'early' } } });
  await opening;

  const polls = seen.filter((call) => call.method === 'GET').map((call) => call.status);
  assert.deepEqual([polls[0], polls.at(-1)], [400, 200]);
});

test('several videos are several tasks', limit, async () => {
  const { videos } = await generate('two', { n: 2 });

  assert.equal(videos.length, 2);
  assert.equal(seen.filter((call) => call.method === 'POST').length, 2);
});

test('a failing task rejects with its reason phrase', limit, async () => {
  await assert.rejects(generate('fail'), /Internal Server Error/);
});

test('a wrong key is refused', limit, async () => {
  const fal = createFal({
    apiKey: 'wrong:key',
    fetch: (url, init) => fetch(String(url).replace('https://queue.fal.run', server.fal), init),
  });

  const call = generateVideo({ model: fal.video(kling), prompt: 'a', maxRetries: 0 });

  await assert.rejects(call, { name: 'AI_APICallError', statusCode: 401 });
});

test('an image is refused before anything is sent', limit, async () => {
  const call = generateImage({ model: makeProvider().image('fal-ai/flux/dev'), prompt: 'a', maxRetries: 0 });

  await assert.rejects(call, /Quern does not serve https:\/\/fal\.run\//);
  assert.deepEqual(seen, []);
});
