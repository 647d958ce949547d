// node bench/train.mjs --binary QUERN --programs FOLDER --work FOLDER
//
// Keeps a server that counts what its code does busy for some 20 s with what servers do most: creates, polls and
// results, tasks run at once and by programs, cancels, a start with tasks waiting. scripts/tune compiles by the counts.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { stop_all } from "./lib/child.mjs";
import { Load } from "./lib/load.mjs";
import { body, key, make_quern } from "./lib/servers.mjs";
import { call, cancel_request, create_tasks, until_all } from "./lib/tasks.mjs";
import { one_core_requests } from "./sections/one_core.mjs";

const each_seconds = 3; // of one kind of request; the counting makes the server several times slower
const task_count = 100; // of what is done one by one

async function train(quern, load) {
  const server = await quern.start();
  for (const requests of Object.values(await one_core_requests(server.url))) {
    await load.wrk(server.url, requests, { seconds: each_seconds });
  }
  await load.life(server.url, { model: "echo", key, body, seconds: each_seconds });
  await until_all(server.url, await create_tasks(server.url, task_count, [{ model: "stamp" }]), "COMPLETED");
  for (const task of await create_tasks(server.url, task_count, [{ model: "hold" }])) await call(server.url, cancel_request(task));
  await server.stop("SIGTERM", 60_000);
  // With what waits, as after a crash.
  await (await quern.start()).stop("SIGTERM", 60_000);
}

const text = { type: "string" };
const { values } = parseArgs({ options: { binary: text, programs: text, work: text } });
mkdirSync(values.work, { recursive: true });
const folder = mkdtempSync(join(resolve(values.work), "train-"));
try {
  const load = new Load({ folder, programs: resolve(values.programs) });
  const stamp = { program: load.program("stamp"), file: join(folder, "stamps") };
  await train(make_quern(folder, resolve(values.binary), { threads: 2, stamp }), load);
} finally {
  await stop_all();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
