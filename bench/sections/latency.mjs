// One create at a time on an idle server, beside one fdatasync of the same disk by the same core: one right after the
// other, and with about the pause between them that creates leave.

import { start_quern } from "../lib/servers.mjs";
import { create_request } from "../lib/tasks.mjs";

export const pause_us = 100;

/** @returns {Record<"fdatasync_p50_ms" | "fdatasync_paused_p50_ms" | "fdatasync_p99_ms" | "fdatasync_wait_p99_ms" | "create_p50_ms" | "create_p99_ms", number[]>} */
export async function measure_latency({ folder, binary, load, rounds, seconds, say }) {
  const results = { fdatasync_p50_ms: [], fdatasync_paused_p50_ms: [], fdatasync_p99_ms: [], fdatasync_wait_p99_ms: [], create_p50_ms: [], create_p99_ms: [] };
  const server = await start_quern(folder, binary, { core: 0, threads: 1 });
  for (let round = 1; round <= rounds; ++round) {
    say(`latency, round ${round} of ${rounds}`);
    const disk = await load.fdatasync(folder, seconds, { core: 0 });
    const paused = await load.fdatasync(folder, seconds, { core: 0, pause_us });
    const creates = await load.wrk(server.url, [create_request("hold")], { seconds, connections: 1, core: 1 });
    results.fdatasync_p50_ms.push(disk.p50_ms);
    results.fdatasync_paused_p50_ms.push(paused.p50_ms);
    results.fdatasync_p99_ms.push(disk.p99_ms);
    results.fdatasync_wait_p99_ms.push(disk.wait_p99_ms);
    results.create_p50_ms.push(creates.p50_ms);
    results.create_p99_ms.push(creates.p99_ms);
  }
  await server.stop();
  return results;
}
