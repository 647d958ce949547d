// Whether creates, polls and claims cost the same however long the queue and however many keys and models;
// what a waiting task costs in memory; how long a restart takes.

import { setTimeout as sleep } from "node:timers/promises";

import { resident_bytes } from "../lib/child.mjs";
import { in_turn, rotated } from "../lib/order.mjs";
import { body, key, key_of, make_quern, model_of, start_quern } from "../lib/servers.mjs";
import { create_request, create_tasks, ended_tasks, set_paused, status_request, store_cache_bytes } from "../lib/tasks.mjs";

const polled_count = 1000;
const keys_max = 10_000;
const spread_polled_count = 5000;
const restart_patience_ms = 180_000;
// The tables follow within 100 ms, more after a load; what they do not have yet is in memory a second time.
const tables_follow_ms = 2000;

/**
 * Fills one server to `queue_length`, then probes it and an empty one in turn, then kills and restarts it.
 * @returns {{fill: object[], filled_bytes: number, bytes_per_task: number, restart_seconds: number, empty: Probes, full: Probes}}
 */
export async function measure_queue_length(run) {
  const { folder, binary, load, rounds, queue_length, say } = run;
  const quern = make_quern(folder, binary, { threads: 1 });
  const full = await quern.start({ core: 0 });
  await set_paused(full.url, ["echo"], true);

  say(`growth: filling to ${queue_length.toLocaleString("en-US")} waiting tasks`);
  const empty_bytes = resident_bytes(full.pid);
  const empty_cache_bytes = await store_cache_bytes(full.url);
  const fill = await fill_up(full, load, queue_length);
  const filled_bytes = resident_bytes(full.pid);
  await sleep(tables_follow_ms);
  const cache_bytes = (await store_cache_bytes(full.url)) - empty_cache_bytes;
  const bytes_per_task = (resident_bytes(full.pid) - empty_bytes - cache_bytes) / queue_length;

  const probes = { empty: no_probes(), full: no_probes() };
  for (let round = 1; round <= rounds; ++round) {
    say(`growth, round ${round} of ${rounds}: an empty queue and a full one`);
    const empty = await start_quern(folder, binary, { core: 0, threads: 1 });
    const places = [{ model: "echo", key }];
    await probe(
      [
        { server: empty, places, into: probes.empty },
        { server: full, places, into: probes.full },
      ],
      run,
      round,
    );
    await empty.stop();
  }
  return { queue_length, fill, empty_bytes, filled_bytes, cache_bytes, bytes_per_task, ...probes, ...(await restart(quern, full, say)) };
}

// Points of the curve: {queued, rate, resident_bytes}.
async function fill_up(server, load, count) {
  const points = [];
  let last = { created: 0, seconds: 0 };
  await load.fill(server.url, { model: "echo", key, body, count, core: 1, timeout_ms: 120_000 + count / 5 }, (now) => {
    const rate = (now.created - last.created) / (now.seconds - last.seconds);
    points.push({ queued: now.created, rate, resident_bytes: resident_bytes(server.pid) });
    last = now;
  });
  return points;
}

async function restart(quern, server, say) {
  say("growth: kill -9 and restart");
  await server.stop("SIGKILL");
  const begun = Date.now();
  const again = await quern.start({ core: 0, patience_ms: restart_patience_ms });
  const restart_seconds = (Date.now() - begun) / 1000;
  const restart_bytes = resident_bytes(again.pid);
  await again.stop();
  return { restart_seconds, restart_bytes };
}

/** @returns {{[name]: Probes}} by number of keys and of models, each on a fresh server in each round */
export async function measure_keys_and_models(run) {
  const { folder, binary, rounds, say } = run;
  const numbered = (count, make) => Array.from({ length: count }, (_, i) => make(i));
  const cases = {
    "1 key, 1 model": { places: [{ model: "echo", key }] },
    "100 keys": { keys: 100, places: numbered(100, (i) => ({ model: "echo", key: key_of(i) })) },
    "10,000 keys": { keys: keys_max, places: numbered(keys_max, (i) => ({ model: "echo", key: key_of(i) })) },
    "1,000 models": { models: 1000, places: numbered(1000, (i) => ({ model: model_of(i), key })) },
  };
  const results = {};
  for (let round = 1; round <= rounds; ++round) {
    say(`growth, round ${round} of ${rounds}: keys and models`);
    const probed = [];
    for (const [name, { places, keys, models }] of Object.entries(cases)) {
      const server = await start_quern(folder, binary, { core: 0, threads: 1, keys, models });
      probed.push({ server, places, into: (results[name] ??= { ...no_probes(), life: [] }) });
    }
    await probe_lives(probed, run, round);
    // As many different polls of each: a list that leaves wrk's cache makes wrk slower, not the server.
    await probe(probed, run, round, spread_polled_count);
    for (const { server } of probed) await server.stop();
  }
  return results;
}

const no_probes = () => ({ create: [], poll: [], claim: [] });

// Creates tasks while nothing runs, asks for some that wait, then lets them run: a task is claimed and
// finished durably for each that ends. Each of that on every server before the next.
async function probe(probed, { load, seconds }, round, polled = polled_count) {
  const cases = [];
  for (const { server, places, into } of probed) {
    const { url } = server;
    const models = [...new Set(places.map(({ model }) => model))];
    await set_paused(url, models, true);
    const waiting = await create_tasks(url, polled, places);
    const creates = places.map(({ model, key }) => create_request(model, key));
    cases.push({ url, models, into, creates, created: 0, polls: waiting.map(status_request) });
  }
  const creates = await in_turn(cases, seconds, round, async (it) => {
    const { requests, rate } = await load.wrk(it.url, it.creates, { seconds: 1, core: 1 });
    it.created += requests;
    return rate;
  });
  const polls = await in_turn(cases, seconds, round, async (it) => (await load.wrk(it.url, it.polls, { seconds: 1, core: 1 })).rate);
  for (const [i, { into }] of cases.entries()) {
    into.create.push(...creates[i]);
    into.poll.push(...polls[i]);
  }
  for (const { url, models, created, into } of rotated(cases, round)) {
    const release = () => set_paused(url, models, false);
    into.claim.push(await claims_a_second(url, release, created, 2 * seconds));
    await set_paused(url, models, true);
  }
}

// Tasks ended a second while callers make as many as they can and all of them are run at once.
async function probe_lives(probed, { load, seconds }, round) {
  const cases = probed.map(({ server: { url }, places, into }) => ({ url, into, creates: places.map(({ model, key }) => create_request(model, key)) }));
  const load_of = ({ url, creates }) => load.wrk(url, creates, { seconds: 1, core: 1 });
  for (const it of cases) await load_of(it); // what the first load needs is not counted
  const lives = await in_turn(cases, seconds, round, async (it) => {
    const begun = await count_ended(it.url);
    await load_of(it);
    const last = await count_ended(it.url);
    return ((last.ended - begun.ended) * 1000) / (last.at - begun.at);
  });
  for (const [i, { into }] of cases.entries()) into.life.push(...lives[i]);
}

const count_ended = async (url) => ({ at: performance.now(), ended: await ended_tasks(url) });

// Tasks ended a second from the moment that they are let go, model by model, until nearly all of the `available` ones
// have ended, or for `seconds_max`.
async function claims_a_second(url, release, available, seconds_max) {
  const held = await count_ended(url);
  const released = release();
  let last = held;
  do {
    await sleep(50);
    last = await count_ended(url);
    // The last ones may come slower.
  } while (last.ended - held.ended < available * 0.9 && last.at < held.at + seconds_max * 1000);
  await released;
  return ((last.ended - held.ended) * 1000) / (last.at - held.at);
}
