// Quern and what teams use today, each with all cores, one after the other, again and again.

import { body, key, start_bullmq, start_pg_boss, start_quern } from "../lib/servers.mjs";
import { create_request, create_tasks, status_request } from "../lib/tasks.mjs";
import { cpus } from "node:os";

const waiting_count = 1000;

/** name: [how it is started, whether a task is on the disk before its create is answered] */
const systems = {
  quern: { durable: true, start: ({ folder, binary }) => start_quern(folder, binary, { threads: cpus().length }) },
  "bullmq-everysec": { durable: false, start: ({ folder, peers }) => start_bullmq(folder, peers, { fsync: "everysec" }) },
  "bullmq-always": { durable: true, start: ({ folder, peers }) => start_bullmq(folder, peers, { fsync: "always" }) },
  "pg-boss": { durable: true, start: ({ folder, peers }) => start_pg_boss(folder, peers) },
};

export const peer_names = Object.keys(systems).filter((name) => name !== "quern");

/** @returns {{[system]: {durable, create: number[], create_p99_ms: number[], poll: number[], life: number[], life_p50_ms: number[]}}} */
export async function measure_peers({ wanted, ...run }) {
  const results = {};
  for (let round = 1; round <= run.rounds; ++round) {
    for (const name of ["quern", ...wanted]) {
      const { durable, start } = systems[name];
      const row = (results[name] ??= { durable, create: [], create_p99_ms: [], poll: [], life: [], life_p50_ms: [] });
      await measure_system(name, await start(run), row, run, `round ${round} of ${run.rounds}`);
    }
  }
  return results;
}

async function measure_system(name, server, row, { load, seconds, say }, round) {
  say(`all cores, ${round}: ${name}`);
  const create = [create_request("hold")];
  await load.wrk(server.url, create, { seconds: 1 }); // Node compiles what it sees often
  const waiting = (await create_tasks(server.url, waiting_count + 2, [{ model: "hold" }])).slice(2);
  const creates = await load.wrk(server.url, create, { seconds });
  const polls = await load.wrk(server.url, waiting.map(status_request), { seconds });
  const lives = await load.life(server.url, { model: "echo", key, body, seconds: seconds + 1 });
  row.create.push(creates.rate);
  row.create_p99_ms.push(creates.p99_ms);
  row.poll.push(polls.rate);
  row.life.push(lives.rate);
  row.life_p50_ms.push(lives.life_p50_ms);
  await server.stop();
}
