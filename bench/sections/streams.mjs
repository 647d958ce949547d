// What 5,000 open event streams, and 5,000 held polls, cost: memory, the time of the server's core
// while nothing changes and while their tasks make progress, and what is left for 64 busy
// connections. And how long a stopping server takes to end the streams.

import { setTimeout as sleep } from "node:timers/promises";

import { cpu_seconds, hold, resident_bytes } from "../lib/child.mjs";
import { in_turn } from "../lib/order.mjs";
import { key, start_quern } from "../lib/servers.mjs";
import { create_request, create_tasks, status_request, until_all } from "../lib/tasks.mjs";

const count = 5_000;
const changing_tasks = 64; // each tells of its progress once a second
const settle_ms = 1_500;

const stream_of = ({ model, id }) => ({ method: "GET", path: `/fal/quern/${model}/requests/${id}/status/stream`, key });
const held_poll_of = ({ model, id }) => ({ method: "GET", path: `/v1/queue/${model}/requests/${id}/status?wait=60`, key });

/**
 * @returns {Object<string, {alone: Rates, beside: Rates, bytes: number, quiet_cpu: number, changing_cpu: number,
 *   news_per_second: number, end_ms: number}>} by kind; Rates = {create: number[], poll: number[]}
 */
export async function measure_streams({ folder, binary, load, rounds, seconds, say }) {
  const results = { count, changing_tasks };
  for (const [kind, request_of] of Object.entries({ streams: stream_of, "held polls": held_poll_of })) {
    const alone = await prepare(folder, binary, load);
    const beside = await prepare(folder, binary, load);
    const { server, tasks, told } = beside;
    const open = async (watched) => {
      const list = load.list_of(watched.map(request_of));
      const held = await hold(load.program("held"), ["--url", server.url, "--requests", list, "--connections", String(count)]);
      await sleep(settle_ms);
      return held;
    };
    const result = { alone: { create: [], poll: [] }, beside: { create: [], poll: [] } };
    for (let round = 1; round <= rounds; ++round) {
      say(`${kind}, round ${round} of ${rounds}`);
      const before = resident_bytes(server.pid);
      const held = await open(tasks);
      result.bytes ??= (resident_bytes(server.pid) - before) / count; // later rounds reuse what this one gave back
      for (const call of ["create", "poll"]) {
        const busy = async ({ server, requests }) => (await load.wrk(server.url, requests[call], { seconds: 1, core: 1 })).rate;
        const rates = await in_turn([alone, beside], seconds, round, busy);
        result.alone[call].push(...rates[0]);
        result.beside[call].push(...rates[1]);
      }
      check(await held.finish());
    }
    await alone.server.stop();
    say(`${kind}: quiet, changing, ending`);
    const quiet = await open(tasks);
    result.quiet_cpu = await cpu_share(server.pid, seconds);
    check(await quiet.finish());
    const changing = await open(told);
    result.changing_cpu = await cpu_share(server.pid, seconds);
    const { events, answers } = check(await changing.finish());
    result.news_per_second = (events + answers) / (seconds + settle_ms / 1000);
    const ending = await open(tasks);
    const asked = performance.now();
    const stopped = server.stop();
    const { ended, broken } = JSON.parse(await ending.ended);
    result.end_ms = performance.now() - asked;
    await stopped;
    if (ended !== count) throw new Error(`${broken} of ${count} ${kind} broke off when the server stopped`);
    results[kind] = result;
  }
  return results;
}

// A server with the tasks that are watched, and some load behind it: what the first one needs is not the watchers'.
async function prepare(folder, binary, load) {
  const server = await start_quern(folder, binary, { core: 0, threads: 1 });
  const tasks = await create_tasks(server.url, count, [{ model: "hold" }]);
  const told = await create_tasks(server.url, changing_tasks, [{ model: "tell" }]);
  await until_all(server.url, told, "IN_PROGRESS");
  const requests = { create: [create_request("hold")], poll: tasks.slice(0, 1000).map(status_request) };
  await load.wrk(server.url, requests.create, { seconds: 1, core: 1 });
  return { server, tasks, told, requests };
}

/** The share of one core that the process uses over the next `seconds`. */
async function cpu_share(pid, seconds) {
  const [before, begun] = [cpu_seconds(pid), performance.now()];
  await sleep(seconds * 1000);
  return (cpu_seconds(pid) - before) / ((performance.now() - begun) / 1000);
}

function check(line) {
  const said = JSON.parse(line);
  if (said.open !== count) throw new Error(`${count - said.open} of ${count} were closed`);
  return said;
}
