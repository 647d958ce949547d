// Quern and what teams use today, each with all cores, one after the other, again and again.

import { in_turn } from "../lib/order.mjs";
import { body, key, start_beanstalkd, start_bullmq, start_nginx, start_pg_boss, start_quern } from "../lib/servers.mjs";
import { create_request, create_tasks, status_request } from "../lib/tasks.mjs";
import { cpus } from "node:os";

const waiting_count = 1000;

/** name: [how it is started, whether a task is on the disk before its create is answered] */
const systems = {
  quern: { durable: true, start: ({ folder, binary }) => start_quern(folder, binary, { threads: cpus().length }) },
  "bullmq-everysec": { durable: false, start: ({ folder, peers }) => start_bullmq(folder, peers, { fsync: "everysec" }) },
  "bullmq-always": { durable: true, start: ({ folder, peers }) => start_bullmq(folder, peers, { fsync: "always" }) },
  "pg-boss": { durable: true, start: ({ folder, peers }) => start_pg_boss(folder, peers) },
  "beanstalkd-50ms": { durable: false, start: ({ folder }) => start_beanstalkd(folder, { fsync_ms: 50 }) },
  beanstalkd: { durable: true, start: ({ folder }) => start_beanstalkd(folder, { fsync_ms: 0 }) },
};

export const peer_names = Object.keys(systems).filter((name) => name !== "quern");

/**
 * @returns {{[system]: {durable, create: number[], create_p99_ms: number[], poll: number[], life: number[], life_p50_ms: number[]}}}
 *          a list stays empty where a system has no such thing; Quern has `beside_nginx` too: its lives, and in turn
 *          with them the creates that nginx answers on one core
 */
export async function measure_peers({ wanted, ...run }) {
  const results = {};
  const beside_nginx = { life: [], nginx: [] };
  const nginx = await start_nginx(run.folder, { core: 0 });
  for (let round = 1; round <= run.rounds; ++round) {
    for (const name of ["quern", ...wanted]) {
      run.say(`all cores, round ${round} of ${run.rounds}: ${name}`);
      const { durable, start } = systems[name];
      const row = (results[name] ??= { durable, create: [], create_p99_ms: [], poll: [], life: [], life_p50_ms: [] });
      const server = await start(run);
      await (server.url ? measure_service(server, row, run) : measure_beanstalkd(server, row, run));
      if (name === "quern") await measure_lives_beside(nginx, server, beside_nginx, run, round);
      await server.stop();
    }
  }
  await nginx.stop();
  results.quern.beside_nginx = beside_nginx;
  return results;
}

async function measure_lives_beside(nginx, quern, into, { load, seconds }, round) {
  const creates = [create_request("hold")];
  const life = { model: "echo", key, body, seconds: 1 };
  const rates = await in_turn([quern, nginx], seconds - 1, round, async (server) => {
    const { rate } = await (server === nginx ? load.wrk(nginx.url, creates, { seconds: 1, core: 1 }) : load.life(quern.url, life));
    return rate;
  });
  into.life.push(...rates[0]);
  into.nginx.push(...rates[1]);
}

async function measure_service(server, row, { load, seconds }) {
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
}

async function measure_beanstalkd({ port }, row, { load, seconds }) {
  const puts = await load.beanstalk(port, { body, seconds, life: false });
  const lives = await load.beanstalk(port, { body, seconds: seconds + 1, life: true });
  row.create.push(puts.rate);
  row.create_p99_ms.push(puts.put_p99_ms);
  row.life.push(lives.rate);
}
