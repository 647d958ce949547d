// node bench/steady.mjs [--binary FILE] [--seconds N] [--rate N] [--file_rate N] [--retention N] [--every N]
//
// Whether what a server keeps stops growing under a steady load with a short retention: `rate` echo tasks a second and
// `file_rate` tasks of a process that makes a file, whose results are kept for `retention` seconds. A Markdown table of
// the database, its log, the files and the memory, one row each `every` seconds; then, for each, the mean of the last
// third of the time against that of the middle third, and the creates' times before and while tasks are forgotten. Exits
// with 1 if something still grew.

import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { resident_bytes, start_server, stop_all } from "./lib/child.mjs";
import { body, key } from "./lib/servers.mjs";
import { mean } from "./lib/stats.mjs";
import { call, create_request } from "./lib/tasks.mjs";

const growth_max = 1.1; // the last third against the middle third
const at_once_max = 200; // creates without an answer; above that the load would not be steady
const beat_ms = 10;
const file_bytes = 20_000;

function read_flags() {
  const text = (value) => ({ type: "string", default: value });
  const { values } = parseArgs({
    options: {
      binary: text("build/release/quern"),
      seconds: text("600"),
      rate: text("300"),
      file_rate: text("4"),
      retention: text("30"),
      every: text("15"),
    },
  });
  const { binary, ...numbers } = values;
  return { binary: resolve(binary), ...Object.fromEntries(Object.entries(numbers).map(([k, v]) => [k, Number(v)])) };
}

function config_of({ retention }) {
  const digest = createHash("sha256").update(key).digest("hex");
  return `
[server]
listen = "127.0.0.1:0"
log_level = "warn"
drain_timeout = "0s"
idle_timeout = "1h"  # a machine that stops for a while ends no connection
head_timeout = "1h"
body_timeout = "1h"
[store]
url = "sqlite:data"
[retention]
results = "${retention}s"
[[key]]
id = "load"
secret = "sha256:${digest}"
rate = "1000000/s"
[[model]]
id = "echo"
executor = { kind = "echo" }
concurrency = 64
[[model]]
id = "file"
executor = { kind = "process", command = ["/bin/sh", "file.sh"] }
concurrency = 4
`;
}

const file_script = `folder=$(sed 's/.*"output_dir":"\\([^"]*\\)".*/\\1/')
head -c ${file_bytes} /dev/urandom >"$folder/noise.bin"
echo '{"output":{"type":"file","path":"noise.bin"}}'
`;

async function start({ binary, ...flags }, home) {
  writeFileSync(join(home, "quern.toml"), config_of(flags));
  writeFileSync(join(home, "file.sh"), file_script);
  const server = await start_server(binary, ["serve", "--config", join(home, "quern.toml")], {
    log: join(home, "stderr.log"),
    ready: (line) => /listening on (http:\S+)/.exec(line)?.[1],
  });
  return { ...server, url: server.ready };
}

/** Creates tasks at a steady rate until `end`; tells `note(milliseconds)` of each. Fails with the first that fails. */
async function create_steadily(url, model, rate, end, note) {
  let next = performance.now();
  let open = 0;
  let failure;
  const one = async () => {
    const from = performance.now();
    ++open;
    try {
      await call(url, create_request(model));
      note(performance.now() - from);
    } catch (error) {
      failure ??= error;
    }
    --open;
  };
  while (performance.now() < end && !failure) {
    // What could not be sent in time is left out: catching up would be no steady load.
    next = Math.max(next, performance.now() - 1000);
    for (; next < performance.now() && open < at_once_max; next += 1000 / rate) void one();
    await sleep(beat_ms);
  }
  while (open > 0) await sleep(beat_ms);
  if (failure) throw failure;
}

const size_of = (path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

// Folders come and go meanwhile.
function entries_of(folder) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

function files_in(folder) {
  const total = { count: 0, bytes: 0 };
  for (const entry of entries_of(folder)) {
    const path = join(folder, entry.name);
    const part = entry.isDirectory() ? files_in(path) : { count: 1, bytes: size_of(path) };
    total.count += part.count;
    total.bytes += part.bytes;
  }
  return total;
}

async function counters(url) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const sum = (name) =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce((all, [, value]) => all + Number(value), 0);
  return { ended: sum("quern_tasks_ended_total"), forgotten: sum("quern_tasks_expired_total") };
}

const columns = [
  { name: "database, MiB", of: (s) => s.database / 1048576, digits: 1 },
  { name: "its log, MiB", of: (s) => s.log / 1048576, digits: 1 },
  { name: "redo log, MiB", of: (s) => s.redo / 1048576, digits: 1 },
  { name: "files", of: (s) => s.files, digits: 0 },
  { name: "files, MiB", of: (s) => s.file_bytes / 1048576, digits: 1 },
  { name: "memory, MiB", of: (s) => s.memory / 1048576, digits: 1 },
];

async function sample(server, data, second) {
  const files = files_in(join(data, "files"));
  return {
    second,
    ...(await counters(server.url)),
    database: size_of(join(data, "queue.sqlite")),
    log: size_of(join(data, "queue.sqlite-wal")),
    redo: size_of(join(data, "redo-a")) + size_of(join(data, "redo-b")),
    files: files.count,
    file_bytes: files.bytes,
    memory: resident_bytes(server.pid),
  };
}

async function sample_until(end, begun, every, take) {
  const samples = [];
  while (performance.now() + every * 1000 <= end + 1000) {
    await sleep(every * 1000 - ((performance.now() - begun) % (every * 1000)));
    const now = await take(Math.round((performance.now() - begun) / 1000));
    const cells = columns.map(({ of, digits }) => of(now).toFixed(digits));
    console.log(`| ${[now.second, now.ended, now.forgotten, ...cells].join(" | ")} |`);
    samples.push(now);
  }
  return samples;
}

/** One line a column; the names of those that grew. */
function judge(samples) {
  const third = Math.floor(samples.length / 3);
  const middle = samples.slice(samples.length - 2 * third, samples.length - third);
  const last = samples.slice(samples.length - third);
  return columns.filter(({ name, of, digits }) => {
    const [before, after] = [mean(middle.map(of)), mean(last.map(of))];
    const growth = after / Math.max(before, 10 ** -digits);
    console.log(`| ${name} | ${before.toFixed(digits)} | ${after.toFixed(digits)} | ${growth.toFixed(2)} |`);
    return growth > growth_max;
  });
}

function row_of_times(name, times) {
  const sorted = times.sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]?.toFixed(2) ?? "–";
  return `| ${name} | ${sorted.length} | ${at(0.5)} | ${at(0.99)} | ${at(1)} |`;
}

async function measure(flags, home) {
  const data = join(home, "data");
  const server = await start(flags, home);
  const begun = performance.now();
  const end = begun + flags.seconds * 1000;
  // The first seconds are the load's own warm-up.
  const times = { warm: [], before: [], during: [] };
  const phase = () => {
    const seconds = (performance.now() - begun) / 1000;
    return seconds < Math.min(5, flags.retention / 2) ? "warm" : seconds < flags.retention ? "before" : "during";
  };
  const note = (milliseconds) => void times[phase()].push(milliseconds);
  console.log(`| second | tasks ended | forgotten | ${columns.map(({ name }) => name).join(" | ")} |`);
  console.log(`|${" --- |".repeat(3 + columns.length)}`);
  const [samples] = await Promise.all([
    sample_until(end, begun, flags.every, (second) => sample(server, data, second)),
    create_steadily(server.url, "echo", flags.rate, end, note),
    create_steadily(server.url, "file", flags.file_rate, end, note),
  ]);
  await server.stop();
  return { samples, times };
}

async function main() {
  const flags = read_flags();
  const home = mkdtempSync(join(tmpdir(), "quern-steady-"));
  try {
    console.log(`${flags.rate} echo tasks and ${flags.file_rate} tasks with a file a second, kept for ${flags.retention} s:\n`);
    const { samples, times } = await measure(flags, home);
    console.log("\n| means | middle third | last third | growth |\n| --- | --- | --- | --- |");
    const grown = judge(samples);
    console.log("\n| creates, ms | number | median | 99 % | most |\n| --- | --- | --- | --- | --- |");
    console.log(row_of_times("before anything is forgotten", times.before));
    console.log(row_of_times("while tasks are forgotten", times.during));
    if (samples.at(-1).forgotten === 0) throw new Error("nothing was forgotten: nothing was shown");
    if (grown.length > 0) {
      console.log(`\nstill growing: ${grown.map(({ name }) => name).join("; ")}`);
      process.exitCode = 1;
    }
  } finally {
    await stop_all();
    rmSync(home, { recursive: true, force: true });
  }
}

await main();
