// Each kind of request on one core, beside nginx that answers the same requests without any work.

import { rotated } from "../lib/order.mjs";
import { start_nginx, start_quern } from "../lib/servers.mjs";
import { create_tasks, create_request, result_request, status_request, until_all } from "../lib/tasks.mjs";

const waiting_count = 1000;
const running_count = 64;
const finished_count = 1000;
const slices = 3; // of a round, since a machine that others use changes within seconds

/** @returns {{[kind]: {nginx: number[], nginx_p50_ms: number[], nginx_p99_ms: number[], quern: number[], quern_p50_ms: number[], quern_p99_ms: number[]}}} */
export async function measure_one_core({ folder, binary, load, rounds, seconds, say }) {
  const results = {};
  const nginx = await start_nginx(folder, { core: 0 });
  for (let round = 1; round <= rounds; ++round) {
    const quern = await start_quern(folder, binary, { core: 0, threads: 1 });
    for (const [kind, requests] of Object.entries(await one_core_requests(quern.url))) {
      say(`one core, round ${round} of ${rounds}: ${kind}`);
      const row = (results[kind] ??= { nginx: [], nginx_p50_ms: [], nginx_p99_ms: [], quern: [], quern_p50_ms: [], quern_p99_ms: [] });
      const length = { seconds: Math.max(1, Math.round(seconds / slices)), core: 1 };
      for (let slice = 0; slice < slices; ++slice) {
        for (const server of rotated([nginx, quern], slice)) {
          const { rate, p50_ms, p99_ms } = await load.wrk(server.url, requests, length);
          const name = server === nginx ? "nginx" : "quern";
          row[name].push(rate);
          row[`${name}_p50_ms`].push(p50_ms);
          row[`${name}_p99_ms`].push(p99_ms);
        }
      }
    }
    await quern.stop();
  }
  await nginx.stop();
  return results;
}

/** Puts tasks into each state. @returns {{[kind]: Request[]}} about them; creates come first: the queue is still short then */
export async function one_core_requests(url) {
  const running = await create_tasks(url, running_count, [{ model: "run" }]);
  await until_all(url, running, "IN_PROGRESS");
  const finished = await create_tasks(url, finished_count, [{ model: "echo" }]);
  await until_all(url, finished, "COMPLETED");
  // The first two of `hold` may be running or about to.
  const waiting = (await create_tasks(url, waiting_count + 2, [{ model: "hold" }])).slice(2);
  return {
    create: [create_request("hold")],
    "poll of a waiting task": waiting.map(status_request),
    "poll of a running task": running.map(status_request),
    "result of a finished task": finished.map(result_request),
  };
}
