// node bench/fairness.mjs [--binary FILE] [--queued N] [--seconds N] [--task_ms N]
//
// How long keys with a task now and then wait beside a key that has queued 100,000: a Markdown table, for
// models of one and of four slots. A wait goes from the durable create to the start of the first attempt, by
// the server's own clock. Every task is a process that sleeps.

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { start_server, stop_all } from "./lib/child.mjs";
import { call } from "./lib/tasks.mjs";

const names = ["A", ..."BCDEFGHIJK"];
const few = names.slice(1);
const secret_of = (name) => `fairness-secret-${name}`;
const lanes = 32;

function read_flags() {
  const text = (value) => ({ type: "string", default: value });
  const { values } = parseArgs({
    options: { binary: text("build/release/quern"), queued: text("100000"), seconds: text("40"), task_ms: text("200") },
  });
  const { binary, ...numbers } = values;
  return { binary: resolve(binary), ...Object.fromEntries(Object.entries(numbers).map(([k, v]) => [k, Number(v)])) };
}

function config_of({ task_ms }, slots) {
  const key = (name) => {
    const digest = createHash("sha256").update(secret_of(name)).digest("hex");
    return `[[key]]\nid = "${name}"\nsecret = "sha256:${digest}"\nrate = "1000000/s"\nqueued_max = 1000000\nadmin = ${name === "A"}\n`;
  };
  return [
    '[server]\nlisten = "127.0.0.1:0"\nlog_level = "warn"\ndrain_timeout = "0s"\n[store]\nurl = "sqlite:data"\n',
    ...names.map(key),
    `[[model]]\nid = "work"\nqueued_max = 1000000\nconcurrency = ${slots}\ngrace = "10ms"`,
    `executor = { kind = "process", command = ["/bin/sleep", "${task_ms / 1000}"] }\n`,
  ].join("\n");
}

async function start(flags, folder, slots) {
  mkdirSync(folder);
  writeFileSync(join(folder, "quern.toml"), config_of(flags, slots));
  const server = await start_server(flags.binary, ["serve", "--config", join(folder, "quern.toml")], {
    log: join(folder, "stderr.log"),
    ready: (line) => /listening on (http:\S+)/.exec(line)?.[1],
  });
  return { url: server.ready, stop: server.stop };
}

const create = (url, name) => call(url, { method: "POST", path: "/v1/queue/work", key: secret_of(name), body: "{}" });
const as_admin = (url, method, path) => call(url, { method, path, key: secret_of("A") });

async function fill(url, count) {
  await as_admin(url, "POST", "/admin/models/work/pause");
  let left = count;
  const lane = async () => {
    while (left-- > 0) await create(url, "A");
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await as_admin(url, "POST", "/admin/models/work/resume");
}

/** Tasks of the few keys, each at moments of its own, so that about a quarter of the slots' time is asked for. */
async function now_and_then(url, { seconds, task_ms }, slots) {
  const end = performance.now() + seconds * 1000;
  const pause_ms = (4 * few.length * task_ms) / slots;
  const ids = [];
  await Promise.all(
    few.map(async (name) => {
      for (;;) {
        await sleep(pause_ms * (0.5 + Math.random()) + task_ms);
        if (performance.now() > end) return;
        ids.push((await create(url, name)).request_id);
      }
    }),
  );
  return ids;
}

async function waits_of(url, ids) {
  const waits = [];
  for (const id of ids) {
    for (;;) {
      const { submitted, attempts } = await as_admin(url, "GET", `/admin/tasks/${id}`);
      if (attempts.length > 0) {
        waits.push((microseconds(attempts[0].started) - microseconds(submitted)) / 1e6);
        break;
      }
      await sleep(20);
    }
  }
  return waits.sort((a, b) => a - b);
}

// Date knows milliseconds only; our times have six digits.
const microseconds = (time) => Date.parse(time.slice(0, 19) + "Z") * 1000 + Number(time.slice(20, 26));

async function measure(flags, folder, slots, queued) {
  const server = await start(flags, join(folder, `${slots}-${queued}`), slots);
  if (queued > 0) await fill(server.url, queued);
  const ids = await now_and_then(server.url, flags, slots);
  const waits = await waits_of(server.url, ids);
  const { tasks } = await as_admin(server.url, "GET", "/admin/tasks?key=A&state=queued&limit=1");
  if (queued > 0 && tasks.length === 0) throw new Error("A's line ran empty: nothing was shown");
  await server.stop("SIGKILL");
  return waits;
}

function row_of(slots, queued, waits) {
  const at = (share) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))].toFixed(3);
  const cells = [slots, queued.toLocaleString("en-US"), waits.length, at(0), at(0.5), at(0.95), at(1)];
  return `| ${cells.join(" | ")} |`;
}

async function main() {
  const flags = read_flags();
  const folder = mkdtempSync(join(tmpdir(), "quern-fairness-"));
  try {
    console.log(`One task takes ${flags.task_ms} ms of sleep. Waits of the keys B to K, in seconds:\n`);
    console.log("| slots | queued by A | tasks of B to K | least | median | 95 % | most |");
    console.log("| --- | --- | --- | --- | --- | --- | --- |");
    for (const slots of [1, 4]) {
      for (const queued of [0, flags.queued]) console.log(row_of(slots, queued, await measure(flags, folder, slots, queued)));
    }
  } finally {
    await stop_all();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
