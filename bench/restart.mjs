// node bench/restart.mjs [--binary FILE] [--programs FOLDER] [--tasks N,…] [--rounds N]
//
// How long a server that was killed with N tasks waiting takes to serve again, from the start of the process to
// its line "listening on …": a Markdown row for each N. The tasks are created over HTTP by quern_bench_life, which
// `scripts/build bench quern_bench_life` makes. The files are in the page cache, as after a crash of the server and not
// of the machine.

import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { resident_bytes, stop_all } from "./lib/child.mjs";
import { Load } from "./lib/load.mjs";
import { body, key, make_quern } from "./lib/servers.mjs";
import { mebibytes } from "./lib/stats.mjs";
import { set_paused } from "./lib/tasks.mjs";

const patience_ms = 300_000;

function read_flags() {
  const text = (value) => ({ type: "string", default: value });
  const { values } = parseArgs({
    options: {
      binary: text("build/release/quern"),
      programs: text("build/bench/bench"),
      tasks: text("100000,1000000"),
      rounds: text("3"),
    },
  });
  return {
    binary: resolve(values.binary),
    programs: resolve(values.programs),
    tasks: values.tasks.split(",").map(Number),
    rounds: Number(values.rounds),
  };
}

async function fill(server, load, count) {
  await set_paused(server.url, ["echo"], true);
  await load.fill(server.url, { model: "echo", key, body, count, timeout_ms: 120_000 + count / 5 });
  await server.stop("SIGKILL");
}

/** One restart: {seconds, resident_bytes, told}; told: the lines about the recovery in its log. */
async function restart(quern, count) {
  const log = join(quern.home, "stderr.log");
  const logged_bytes = statSync(log).size;
  const begun = performance.now();
  const server = await quern.start({ patience_ms });
  const seconds = (performance.now() - begun) / 1000;
  const bytes = resident_bytes(server.pid);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const queued = Number(/^quern_queued_tasks\{model="echo"\} (\S+)$/m.exec(metrics)?.[1]);
  if (queued !== count) throw new Error(`${queued} tasks of ${count} are there after the restart`);
  await server.stop("SIGKILL");
  const told = readFileSync(log).subarray(logged_bytes).toString().match(/"msg":"recover[^\n]*/g) ?? [];
  return { seconds, resident_bytes: bytes, told };
}

async function measure({ binary, programs, rounds }, folder, count) {
  const load = new Load({ folder, programs });
  const quern = make_quern(folder, binary, { threads: 0, log_level: "info" });
  await fill(await quern.start(), load, count);
  const restarts = [];
  for (let round = 0; round < rounds; ++round) restarts.push(await restart(quern, count));
  rmSync(quern.home, { recursive: true });
  return restarts;
}

function row_of(count, restarts) {
  const seconds = restarts.map((one) => one.seconds.toFixed(2)).join(", ");
  const most = Math.max(...restarts.map((one) => one.resident_bytes));
  const lines = restarts.map(({ told }) => told.length).join(", ");
  return `| ${count.toLocaleString("en-US")} | ${seconds} | ${mebibytes(most)} | ${lines} |`;
}

async function main() {
  const flags = read_flags();
  const folder = mkdtempSync(join(tmpdir(), "quern-restart-"));
  try {
    console.log("| tasks waiting | seconds to serve again, each time | resident memory then | log lines of progress |");
    console.log("| --- | --- | --- | --- |");
    for (const count of flags.tasks) console.log(row_of(count, await measure(flags, folder, count)));
  } finally {
    await stop_all();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
