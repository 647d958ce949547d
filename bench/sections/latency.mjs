// One create at a time on an idle server, beside what it is made of: one fdatasync of the same disk by the same core (one
// right after the other, and with about the pause between them that creates leave), and one exchange with a server that
// does no work.

import { start_nginx, start_quern } from "../lib/servers.mjs";
import { create_request } from "../lib/tasks.mjs";

export const pause_us = 100;

/** @returns {Record<"fdatasync_p50_ms" | "fdatasync_paused_p50_ms" | "fdatasync_p99_ms" | "fdatasync_wait_p99_ms" | "nginx_p50_ms" | "create_p50_ms" | "create_p99_ms", number[]>} */
export async function measure_latency({ folder, binary, load, rounds, seconds, say }) {
  const results = { fdatasync_p50_ms: [], fdatasync_paused_p50_ms: [], fdatasync_p99_ms: [], fdatasync_wait_p99_ms: [], nginx_p50_ms: [], create_p50_ms: [], create_p99_ms: [] };
  const server = await start_quern(folder, binary, { core: 0, threads: 1 });
  const nginx = await start_nginx(folder, { core: 0 });
  const one_at_a_time = { seconds, connections: 1, core: 1 };
  for (let round = 1; round <= rounds; ++round) {
    say(`latency, round ${round} of ${rounds}`);
    const disk = await load.fdatasync(folder, seconds, { core: 0 });
    const paused = await load.fdatasync(folder, seconds, { core: 0, pause_us });
    const answers = await load.wrk(nginx.url, [create_request("hold")], one_at_a_time);
    const creates = await load.wrk(server.url, [create_request("hold")], one_at_a_time);
    results.fdatasync_p50_ms.push(disk.p50_ms);
    results.fdatasync_paused_p50_ms.push(paused.p50_ms);
    results.fdatasync_p99_ms.push(disk.p99_ms);
    results.fdatasync_wait_p99_ms.push(disk.wait_p99_ms);
    results.nginx_p50_ms.push(answers.p50_ms);
    results.create_p50_ms.push(creates.p50_ms);
    results.create_p99_ms.push(creates.p99_ms);
  }
  await nginx.stop();
  await server.stop();
  return results;
}
