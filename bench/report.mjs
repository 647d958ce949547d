// node bench/report.mjs RESULTS.json DOCS_FOLDER: writes BENCHMARKS.md and its two plots, or the page of ten million
// waiting tasks and its plot. Nothing here measures.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { body } from "./lib/servers.mjs";
import { mebibytes, median, milliseconds, ratio, ratio_to, round_count, summary } from "./lib/stats.mjs";
import { bar_plot, line_plot } from "./lib/svg.mjs";
import { pause_us } from "./sections/latency.mjs";

const names = {
  quern: "Quern",
  "bullmq-everysec": "BullMQ, everysec",
  "bullmq-always": "BullMQ, always",
  "pg-boss": "pg-boss",
  "beanstalkd-50ms": "beanstalkd, 50 ms",
  beanstalkd: "beanstalkd, each",
};

/** What a run writes, by its `page`. */
const files = {
  whole: { title: "Benchmarks", command: "make bench", page: "BENCHMARKS.md", growth: "bench_growth.svg" },
  ten_million: {
    title: "Benchmarks: ten million tasks",
    command: "scripts/bench --ten_million",
    page: "BENCHMARKS_TEN_MILLION.md",
    growth: "bench_growth_ten_million.svg",
  },
};

const table = (head, rows) =>
  [head, head.map((_, i) => (i === 0 ? "---" : "---:")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

const spread = (values) => {
  if (values.length === 0) return "–";
  const { median: middle, low, high } = summary(values);
  return `${round_count(middle)} (${round_count(low)}–${round_count(high)})`;
};

// ---- goals

const at_least = (goal) => ({ goal: `≥ ${goal}`, is_met: (value) => value >= goal });
const at_most = (goal, words = String(goal)) => ({ goal: `≤ ${words}`, is_met: (value) => value <= goal });

function goals({ one_core, peers, growth, spread_out, connections, streams, latency, slots }) {
  const rows = [];
  const add = (what, value, words, limit) => rows.push([what, limit.goal, words, limit.is_met(value) ? "met" : "**missed**"]);
  const to_nginx = (kind) => ratio_to(one_core[kind].quern.rate, one_core[kind].nginx.rate);
  const add_ratio = (what, value, goal) => add(what, value, ratio(value), at_least(goal));

  if (one_core) {
    add_ratio("durable creates, to nginx", to_nginx("create"), 0.4);
    const { quern, bare } = one_core.create;
    const p99 = ratio_to(quern.p99_ms, bare.cycle_ms);
    // Each connection has one request under way, so their mean follows from the rate, whatever the queue does.
    const mean = `the mean of 64 at that rate is ${milliseconds(64_000 / median(quern.rate))}`;
    const of_bare = `${ratio_to(bare.p99_ms, bare.cycle_ms).toFixed(1)} × is the prototype's own`;
    const shown = `${p99.toFixed(1)} × (${milliseconds(median(quern.p99_ms))}; ${mean}; ${of_bare})`;
    add("their p99 at 64 connections, to the commit cycle of a bare prototype", p99, shown, at_most(3, "3 ×"));
    add_ratio("polls of waiting tasks, to nginx", to_nginx("poll of a waiting task"), 0.85);
    add_ratio("polls of running tasks, to nginx", to_nginx("poll of a running task"), 0.85);
    add_ratio("results of finished tasks, to nginx", to_nginx("result of a finished task"), 0.7);
  }
  if (peers) {
    const { life, nginx } = peers.quern.beside_nginx;
    const value = ratio_to(life, nginx);
    add_ratio("tasks created, run by `echo` and seen finished on two cores, to nginx on one", value, 0.3);
  }
  if (peers?.["bullmq-everysec"]) {
    const to_peer = (what) => ratio_to(peers.quern[what], peers["bullmq-everysec"][what]);
    add("creates, to BullMQ on everysec", to_peer("create"), `${to_peer("create").toFixed(1)} ×`, at_least(4));
    add("finished tasks, to BullMQ on everysec", to_peer("life"), `${to_peer("life").toFixed(1)} ×`, at_least(6));
  }
  if (growth) {
    const length = growth.queue_length.toLocaleString("en-US");
    for (const kind of ["create", "poll", "claim"])
      add_ratio(`${kind}s with ${length} waiting, to an empty queue`, ratio_to(growth.full[kind], growth.empty[kind]), 0.8);
    add("memory of a waiting task, without the store's cache of pages", growth.bytes_per_task, `${growth.bytes_per_task.toFixed(0)} B`, at_most(200, "200 B"));
    const seconds = (5 * growth.queue_length) / 1e6;
    const allowed = growth.queue_length > 1e6 ? 60 : Math.max(seconds, 5);
    add(`restart after kill -9 with ${length} waiting`, growth.restart_seconds, `${growth.restart_seconds.toFixed(2)} s`, at_most(allowed, `${allowed} s`));
  }
  if (spread_out) {
    const { "1 key, 1 model": one, ...others } = spread_out;
    for (const [name, probes] of Object.entries(others)) {
      const worst = Math.min(...["create", "poll", "life"].map((kind) => ratio_to(probes[kind], one[kind])));
      add_ratio(`${name}: the worst of creates, polls and tasks run, to one key and model`, worst, 0.8);
    }
  }
  if (connections) {
    const kept = ratio_to(connections.beside_idle, connections.alone);
    add_ratio("creates of 64 connections beside 10,000 idle ones, to alone", kept, 0.9);
    const bytes = connections.bytes_per_connection[0];
    add("memory of an idle connection", bytes, `${(bytes / 1024).toFixed(1)} KiB`, at_most(8192, "8 KiB"));
  }
  if (streams) {
    for (const kind of ["streams", "held polls"]) {
      for (const call of ["create", "poll"]) {
        const kept = ratio_to(streams[kind].beside[call], streams[kind].alone[call]);
        add_ratio(`${call}s of 64 connections beside 5,000 quiet ${kind}, to alone`, kept, 0.9);
      }
    }
  }
  if (latency) {
    const value = ratio_to(latency.create_p50_ms, latency.fdatasync_p50_ms);
    const shown = `${value.toFixed(2)} × (${least_create(latency).toFixed(2)} × by the disk and nginx alone, see Latency)`;
    add("one create on an idle server, to one fdatasync (medians)", value, shown, at_most(1.5, "1.5 ×"));
  }
  if (slots) {
    const value = median(slots.p50_ms);
    add("from a slot's coming free to the next process started (median)", value, milliseconds(value), at_most(1, "1 ms"));
  }
  return table(["goal", "asked for", "measured", ""], rows);
}

// A sync, and an exchange with a server that does no work, in syncs.
const least_create = ({ nginx_p50_ms, fdatasync_p50_ms }) => 1 + ratio_to(nginx_p50_ms, fdatasync_p50_ms);

// ---- tables

const one_core_table = (results) =>
  table(
    ["request", "nginx `return 200`, a second", "its p99", "Quern, a second", "ratio", "Quern p50", "Quern p99"],
    Object.entries(results).map(([kind, row]) => [
      kind,
      spread(row.nginx.rate),
      milliseconds(median(row.nginx.p99_ms)),
      spread(row.quern.rate),
      ratio(ratio_to(row.quern.rate, row.nginx.rate)),
      milliseconds(median(row.quern.p50_ms)),
      milliseconds(median(row.quern.p99_ms)),
    ]),
  );

// What the goal of the p99 is set by.
const bare_line = ({ bare, quern }) =>
  "Creates are held beside a bare prototype in turn as well (`bench/bare_queue.cc`): one thread over epoll that checks the key and that the body is JSON and keeps a map of states, one that commits to " +
  `SQLite; no schema, no limits, no order, no positions. It makes ${spread(bare.rate)} creates/s, p50 ${milliseconds(median(bare.p50_ms))}, p99 ${milliseconds(median(bare.p99_ms))}, ` +
  `a commit every ${milliseconds(median(bare.cycle_ms))}; Quern ${ratio(ratio_to(quern.rate, bare.rate))} of that.`;

const peers_table = (results) =>
  table(
    ["", "creates/s", "p99", "polls of waiting tasks/s", "finished tasks/s", "time of a task, median", "on the disk before the answer"],
    Object.entries(results).map(([name, row]) => [
      names[name],
      spread(row.create),
      milliseconds(median(row.create_p99_ms)),
      spread(row.poll),
      spread(row.life),
      row.life_p50_ms.length > 0 ? milliseconds(median(row.life_p50_ms)) : "–",
      row.durable ? "yes" : "no",
    ]),
  );

const probes_table = (rows) =>
  table(
    ["", "creates/s", "polls/s", "let go: claimed and finished/s", "created, claimed and finished/s"],
    rows.map(([name, { create, poll, claim, life }]) => [name, ...[create, poll, claim].map(spread), life ? spread(life) : "–"]),
  );

const machine_table = (machine) => {
  const hardware = `${machine.cpu}, ${machine.cores} cores, ${machine.memory_gib} GiB of memory, Linux ${machine.kernel}, ${machine.file_system}`;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return `${hardware}. ${versions.join(", ")}. ${machine.date}.`;
};

// ---- plots

function throughput_plot(peers) {
  const panel = (title, kind) => ({
    title,
    rows: Object.entries(peers)
      .filter(([, row]) => row[kind].length > 0)
      .map(([name, row]) => ({
        label: row.durable ? names[name] : `${names[name]} *`,
        value: median(row[kind]),
        words: round_count(median(row[kind])),
        strong: name === "quern",
      })),
  });
  return bar_plot({
    title: "A queue over HTTP: requests and tasks a second",
    subtitle: "64 connections; server, workers and load on one machine. * answers before the task is on the disk.",
    panels: [
      panel("creates", "create"),
      panel("polls of waiting tasks", "poll"),
      panel("tasks created, run and seen finished", "life"),
    ],
  });
}

function growth_plot(growth) {
  const curve = (value) => growth.fill.map((point) => [point.queued, value(point)]);
  return line_plot({
    title: "Throughput and memory as the queue grows",
    subtitle: "One core, 64 connections; each create is on the disk before its answer.",
    x_title: "tasks waiting",
    panels: [
      { title: "durable creates a second", series: [{ label: "creates/s", points: curve((p) => p.rate), strong: true }] },
      {
        title: "memory of the server, MiB",
        series: [{ label: "resident", points: curve((p) => p.resident_bytes / 1048576), strong: true }],
      },
    ],
  });
}

// ---- the page

function streams_line({ count, changing_tasks, ...kinds }, kind) {
  const { alone, beside, bytes, quiet_cpu, changing_cpu, news_per_second, end_ms } = kinds[kind];
  const what = kind === "streams" ? "Event streams" : "Held polls";
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  return (
    `* **${what}**: ${count.toLocaleString("en-US")} of them take ${(bytes / 1024).toFixed(1)} KiB each and ${percent(quiet_cpu)} of a core while nothing changes. ` +
    `Beside them ${spread(beside.create)} creates/s and ${spread(beside.poll)} polls/s, alone ${spread(alone.create)} and ${spread(alone.poll)}. ` +
    `Spread over ${changing_tasks} tasks that each tell of their progress once a second, they take ${percent(changing_cpu)} of a core ` +
    `(${round_count(news_per_second)} answers or events/s). A server that stops ends all of them in ${milliseconds(end_ms)}.`
  );
}

// The page of ten million is measured apart, since it takes too long for the whole.
const ten_million_link = ({ page }, docs) =>
  page === "whole" && existsSync(join(docs, files.ten_million.page)) ? ` Ten million: [${files.ten_million.page}](${files.ten_million.page}).` : "";

const section = (title, ...paragraphs) => [`## ${title}`, ...paragraphs].join("\n\n");

function page(results, docs) {
  const { title, command, growth: growth_file } = files[results.run.page];
  const { run, machine, one_core, peers, growth, spread_out, connections, streams, latency, slots } = results;
  const parts = [
    `# ${title}\n\nWritten by \`${command}\`; change nothing here by hand. ` +
      `Measured in ${run.rounds} round${run.rounds === 1 ? "" : "s"} of ${run.seconds} s; what is compared, a second at a time in turn where it can be. A figure is the median, in brackets the lowest and the highest. ` +
      "Read the ratios, which are medians over pairs measured one after the other: the figures themselves move with the machine.",
    "Quern is built by `scripts/tune`, which compiles it by a count of what its code does under a load of the same kinds of request; what it is compared with comes from Debian and npm. " +
      "What that gives is told in [0020](decisions/0020-a-binary-arranged-by-its-work.md).",
    machine_table(machine),
    section("Goals", goals(results)),
  ];
  if (one_core)
    parts.push(
      section(
        "One core",
        `The server has core 0 to itself, wrk core 1: \`-t1 -c64\`, keep-alive, no pipelining, a body of ${Buffer.byteLength(body)} bytes. nginx answers the very same requests ` +
          "with `return 200` and does no work. Quern checks the key and its rate, validates the body against a JSON schema, ranks the task fairly, counts its position, " +
          "and has it on the disk before it answers. Each round is cut into slices of a second, nginx and Quern in turn.",
        one_core_table(one_core),
        bare_line(one_core.create),
      ),
    );
  if (peers)
    parts.push(
      section(
        "Against other queues",
        "![Throughput against peers](bench_throughput.svg)",
        "Server, store, workers and load share all cores. A peer is Fastify with the same routes, a key check, schemas for input and answers, two web and two worker processes " +
          "(`bench/peers/`); Redis is set up as BullMQ's page on production advises, PostgreSQL has a quarter of the memory, at most 2 GiB, as shared buffers. " +
          "A finished task was created over HTTP, run by a worker that echoes its input, and seen `COMPLETED` by the caller that created it. " +
          "beanstalkd speaks its own protocol, so it has no HTTP to pay for, no polls and no results: there a finished task was put, reserved and deleted.",
        peers_table(peers),
      ),
    );
  if (growth)
    parts.push(
      section(
        "Growth",
        `![Throughput and memory against queue length](${growth_file})`,
        "One core. Claims are measured in two ways. A model of `echo` that was held back is let go: each of its tasks is claimed, run and finished durably. " +
          "Or nothing is held back, and callers create as many as they can." +
          (spread_out
            ? " 1,000 models are let go by 1,000 requests, 32 at a time, and the tasks of each lie all over the store, so that row tells of pauses more than of claims."
            : ""),
        probes_table([
          ["empty queue", growth.empty],
          [`${growth.queue_length.toLocaleString("en-US")} waiting`, growth.full],
          ...Object.entries(spread_out ?? {}),
        ]),
        `The server took ${mebibytes(growth.empty_bytes)} when empty and ${growth.bytes_per_task.toFixed(0)} bytes more for each waiting task once the tables had followed, ` +
          `besides ${mebibytes(growth.cache_bytes)} of the store's cache of pages; ${mebibytes(growth.filled_bytes)} in all with the last create. ` +
          `Killed with all of them waiting, it served again after ${growth.restart_seconds.toFixed(2)} s.` +
          ten_million_link(run, docs),
      ),
    );
  const rest = [];
  if (connections)
    rest.push(
      `* **Connections**: ${spread(connections.alone)} creates/s alone, ${spread(connections.beside_idle)} beside ` +
        `${connections.idle_count.toLocaleString("en-US")} idle keep-alive connections, which take ${(connections.bytes_per_connection[0] / 1024).toFixed(1)} KiB each.`,
    );
  if (streams) for (const kind of ["streams", "held polls"]) rest.push(streams_line(streams, kind));
  if (latency)
    rest.push(
      `* **Latency**: one create at a time takes ${milliseconds(median(latency.create_p50_ms))} (p99 ${milliseconds(median(latency.create_p99_ms))}); ` +
        `writing 4 KiB and one fdatasync takes ${milliseconds(median(latency.fdatasync_p50_ms))} (p99 ${milliseconds(median(latency.fdatasync_p99_ms))}) on the same disk, by the same core, ` +
        `and ${milliseconds(median(latency.fdatasync_paused_p50_ms))} after a pause of ${pause_us / 1000} ms, about as there is between creates; nginx's \`return 200\` takes ${milliseconds(median(latency.nginx_p50_ms))} over one such connection. ` +
        `The two together are ${least_create(latency).toFixed(2)} × the sync. ` +
        "wrk counts a pause against each request that it held up. Counted so, that loop, which does nothing else, has pauses as well: who comes at any time waits " +
        `${milliseconds(median(latency.fdatasync_wait_p99_ms))} at p99 for the sync that is under way. Durable creates wait with it.`,
    );
  if (slots)
    rest.push(
      `* **Slots**: from the last line of one process to the start of the next in its slot ${milliseconds(median(slots.p50_ms))} in the median, ` +
        `${milliseconds(median(slots.p90_ms))} at p90: its exit, a durable finish, a durable claim and the start of a process. ` +
        `What is started here, the least that there is, takes ${milliseconds(median(slots.first_line_p50_ms))} more to the first line of its own, while its C library asks the processor what it can do.`,
    );
  if (rest.length > 0) parts.push(section("Connections, streams, latency, slots", rest.join("\n")));
  parts.push(section("Commands", "```\n" + commands(run, machine) + "\n```"));
  return parts.join("\n\n") + "\n";
}

function commands({ command, page, seconds, queue_length }, { cores }) {
  const server = "taskset -c 0 quern serve --config quern.toml        # threads = 1; schema, key, rate and queue limits set";
  const load = "taskset -c 1 wrk -t1 -c64 -d1s -s bench/load/requests.lua URL -- REQUESTS";
  const fill = `taskset -c 1 quern_bench_life --connections 64 --count ${queue_length} --url URL …`;
  if (page === "ten_million") return [command, "", server, fill, load].join("\n");
  return [
    command,
    "",
    "taskset -c 0 nginx -c nginx.conf                    # worker_processes 1; location / { return 200; }",
    server,
    "taskset -c 0 quern_bench_bare --dir FOLDER --key SECRET",
    load,
    fill,
    "redis-server --appendonly yes --appendfsync everysec|always --save '' --maxmemory-policy noeviction",
    "beanstalkd -b FOLDER -f 50|0",
    `node bench/peers/service.mjs bullmq redis://127.0.0.1:PORT ${cores} ${cores}`,
    `quern_bench_life --connections 64 --window 32 --look_ms 20 --warm_seconds 1 --seconds ${seconds + 1} --url URL …`,
  ].join("\n");
}

/** Writes what `results` has; a part that was not measured is left out. @returns {string} the page's path */
export function write_report(results, docs) {
  const { page: page_file, growth: growth_file } = files[results.run.page];
  const path = join(docs, page_file);
  writeFileSync(path, page(results, docs));
  if (results.peers) writeFileSync(join(docs, "bench_throughput.svg"), throughput_plot(results.peers));
  if (results.growth) writeFileSync(join(docs, growth_file), growth_plot(results.growth));
  return path;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [results, docs] = process.argv.slice(2);
  write_report(JSON.parse(readFileSync(results, "utf8")), docs);
}
