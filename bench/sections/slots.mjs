// From the last line of one runner program to the start of the next in the same slot: its exit, a durable finish, a
// durable claim, and the start of a process. And what that process then takes until the first line of its own.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";

import { median } from "../lib/stats.mjs";
import { start_quern } from "../lib/servers.mjs";
import { create_tasks, set_paused, until_all } from "../lib/tasks.mjs";

/** @returns {{p50_ms: number[], p90_ms: number[], first_line_p50_ms: number[]}} */
export async function measure_slots({ folder, binary, load, rounds, slot_tasks, say }) {
  const results = { p50_ms: [], p90_ms: [], first_line_p50_ms: [] };
  for (let round = 1; round <= rounds; ++round) {
    say(`slots, round ${round} of ${rounds}`);
    const stamp = { program: load.program("stamp"), file: join(folder, `stamps-${round}`) };
    const server = await start_quern(folder, binary, { threads: cpus().length, stamp });
    // Nothing else is to run meanwhile, the creation of the tasks least of all.
    await set_paused(server.url, ["stamp"], true);
    const tasks = await create_tasks(server.url, slot_tasks, [{ model: "stamp" }]);
    await set_paused(server.url, ["stamp"], false);
    await until_all(server.url, tasks.slice(-1), "COMPLETED", 60_000);
    await until_all(server.url, tasks, "COMPLETED");
    await server.stop();
    const runs = runs_of(readFileSync(stamp.file, "utf8"));
    const gaps = runs.slice(1).map((run, i) => run.started - runs[i].ended).sort((a, b) => a - b);
    results.p50_ms.push(median(gaps));
    results.p90_ms.push(gaps[Math.floor(gaps.length * 0.9)]);
    results.first_line_p50_ms.push(median(runs.map(({ started, begun }) => begun - started)));
  }
  return results;
}

// Lines of "started begun ended" in nanoseconds, too large for exact numbers: told in milliseconds since the first.
function runs_of(text) {
  const lines = text.trim().split("\n").map((line) => line.split(" ").map(BigInt));
  lines.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  const since = (time) => Number(time - lines[0][0]) / 1e6;
  return lines.map(([started, begun, ended]) => ({ started: since(started), begun: since(begun), ended: since(ended) }));
}
