// What 10,000 idle keep-alive connections cost the 64 that are busy, and the memory.

import { hold, resident_bytes } from "../lib/child.mjs";
import { in_turn } from "../lib/order.mjs";
import { start_quern } from "../lib/servers.mjs";
import { create_request } from "../lib/tasks.mjs";

const idle_count = 10_000;

/** @returns {{alone: number[], beside_idle: number[], bytes_per_connection: number[]}} */
export async function measure_connections({ folder, binary, load, rounds, seconds, say }) {
  const results = { idle_count, alone: [], beside_idle: [], bytes_per_connection: [] };
  const requests = [create_request("hold")];
  const start = async () => {
    const server = await start_quern(folder, binary, { core: 0, threads: 1 });
    await load.wrk(server.url, requests, { seconds: 1, core: 1 }); // what the first load needs is not the connections'
    return server;
  };
  const alone = await start();
  const server = await start();
  for (let round = 1; round <= rounds; ++round) {
    say(`connections, round ${round} of ${rounds}`);
    const before = resident_bytes(server.pid);
    const idle = await hold(load.program("idle"), ["--url", server.url, "--connections", String(idle_count)]);
    // Later rounds reuse memory that the first one's connections gave back.
    if (round === 1) results.bytes_per_connection.push((resident_bytes(server.pid) - before) / idle_count);
    const busy = async ({ url }) => (await load.wrk(url, requests, { seconds: 1, core: 1 })).rate;
    const rates = await in_turn([alone, server], seconds, round, busy);
    results.alone.push(...rates[0]);
    results.beside_idle.push(...rates[1]);
    const { open } = JSON.parse(await idle.finish());
    if (open !== idle_count) throw new Error(`${idle_count - open} of ${idle_count} idle connections were closed`);
  }
  await alone.stop();
  await server.stop();
  return results;
}
