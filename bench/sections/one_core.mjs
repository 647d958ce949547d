// Each kind of request on one core, beside nginx that answers the same requests without any work, and creates beside a
// prototype that does as little as a durable queue can.

import { rotated } from "../lib/order.mjs";
import { start_bare, start_nginx, start_quern } from "../lib/servers.mjs";
import { create_tasks, create_request, result_request, status_request, until_all } from "../lib/tasks.mjs";

const waiting_count = 1000;
const running_count = 64;
const finished_count = 1000;
const slices = 3; // of a round, since a machine that others use changes within seconds

/**
 * `bare` is the prototype of a durable queue, which answers creates only: `cycle_ms` is the time from one of its commits to the next.
 * @typedef {{rate: number[], p50_ms: number[], p99_ms: number[], cycle_ms?: number[]}} Figures
 * @returns {{[kind]: {nginx: Figures, quern: Figures, bare?: Figures}}}
 */
export async function measure_one_core({ folder, binary, load, rounds, seconds, say }) {
  const results = {};
  const nginx = await start_nginx(folder, { core: 0 });
  const bare = await start_bare(folder, load.program("bare"), { core: 0 });
  const length = { seconds: Math.max(1, Math.round(seconds / slices)), core: 1 };
  for (let round = 1; round <= rounds; ++round) {
    const quern = await start_quern(folder, binary, { core: 0, threads: 1 });
    for (const [kind, requests] of Object.entries(await one_core_requests(quern.url))) {
      say(`one core, round ${round} of ${rounds}: ${kind}`);
      const servers = { nginx, quern, ...(kind === "create" && { bare }) };
      const row = (results[kind] ??= {});
      const note = (name, figures) => {
        const so_far = (row[name] ??= {});
        for (const [what, value] of Object.entries(figures)) (so_far[what] ??= []).push(value);
      };
      for (let slice = 0; slice < slices; ++slice) {
        for (const [name, server] of rotated(Object.entries(servers), slice)) {
          const before = await server.commits?.();
          const { rate, p50_ms, p99_ms, seconds: taken } = await load.wrk(server.url, requests, length);
          const commits = server.commits && (await server.commits()) - before;
          note(name, { rate, p50_ms, p99_ms, ...(commits && { cycle_ms: (1000 * taken) / commits }) });
        }
      }
    }
    await quern.stop();
  }
  await bare.stop();
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
