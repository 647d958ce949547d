// Tasks put where a measurement needs them: waiting, running, finished; through the same API that callers use.

import { setTimeout as sleep } from "node:timers/promises";

import { body, key as first_key } from "./servers.mjs";

const at_once = 32;

/** @returns the request that creates one task */
export const create_request = (model, key = first_key) => ({ method: "POST", path: `/v1/queue/${model}`, key, body });

export const status_request = ({ model, id, key }) => ({
  method: "GET",
  path: `/v1/queue/${model}/requests/${id}/status`,
  key,
});

export const result_request = ({ model, id, key }) => ({
  method: "GET",
  path: `/v1/queue/${model}/requests/${id}/response`,
  key,
});

export const cancel_request = ({ model, id, key }) => ({
  method: "PUT",
  path: `/v1/queue/${model}/requests/${id}/cancel`,
  key,
});

/** Sends one request; its parsed answer. Fails unless the status is 2xx. */
export async function call(url, { method, path, key, body: payload }) {
  const headers = { authorization: `Key ${key}`, ...(payload && { "content-type": "application/json" }) };
  const answer = await fetch(url + path, { method, headers, body: payload || undefined });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 300)}`);
  return JSON.parse(text);
}

/** Runs `work` on each of `items`, a few at a time, keeping their order. */
async function for_each(items, work) {
  const results = new Array(items.length);
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const at = next++;
      results[at] = await work(items[at]);
    }
  };
  await Promise.all(Array.from({ length: at_once }, lane));
  return results;
}

/** Creates `count` tasks, `places` in turn. @param {{model: string, key: string}[]} places */
export function create_tasks(url, count, places) {
  const chosen = Array.from({ length: count }, (_, i) => places[i % places.length]);
  return for_each(chosen, async ({ model, key = first_key }) => {
    const { request_id: id } = await call(url, create_request(model, key));
    return { model, key, id };
  });
}

/** Waits until every one of `tasks` has the wire's `status`. */
export async function until_all(url, tasks, status, patience_ms = 30_000) {
  const end = Date.now() + patience_ms;
  for (const task of tasks) {
    for (;;) {
      const now = await call(url, status_request(task));
      if (now.error) throw new Error(`a task failed: ${now.error}`);
      if (now.status === status) break;
      if (Date.now() > end) throw new Error(`a task is ${now.status}, not ${status}, after ${patience_ms / 1000} s`);
      await sleep(10);
    }
  }
}

/** Holds back, or lets go, the tasks of Quern's `models`. */
export const set_paused = (url, models, paused) =>
  for_each(models, (model) =>
    call(url, { method: "POST", path: `/admin/models/${model}/${paused ? "pause" : "resume"}`, key: first_key }),
  );

/** How many tasks Quern has ended so far, by its own count. */
export const ended_tasks = (url) => sum_of_metric(url, "quern_tasks_ended_total");

/** Memory of the page cache of Quern's store, in bytes. */
export const store_cache_bytes = (url) => sum_of_metric(url, "quern_store_cache_bytes");

async function sum_of_metric(url, name) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].map((match) => Number(match[1]));
  if (values.length === 0) throw new Error(`no ${name} in /metrics`);
  return values.reduce((sum, value) => sum + value, 0);
}
