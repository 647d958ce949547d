// node bench/main.mjs --binary QUERN --programs FOLDER --docs FOLDER --work FOLDER [--quick] [--ten_million]
//                     [--only SECTION,…] [--peers NAME,…] [--rounds N]
//
// Measures, keeps the figures in WORK/results.json, and writes the report; into WORK too when a section failed.
// Ten million waiting tasks are measured alone, and told of on a page of their own.
// scripts/bench gives the folders.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { stop_all } from "./lib/child.mjs";
import { Load } from "./lib/load.mjs";
import { describe_machine } from "./lib/machine.mjs";
import { write_report } from "./report.mjs";
import { measure_connections } from "./sections/connections.mjs";
import { measure_keys_and_models, measure_queue_length } from "./sections/growth.mjs";
import { measure_latency } from "./sections/latency.mjs";
import { measure_one_core } from "./sections/one_core.mjs";
import { measure_peers, peer_names } from "./sections/peers.mjs";
import { measure_slots } from "./sections/slots.mjs";
import { measure_streams } from "./sections/streams.mjs";

const sections = {
  one_core: measure_one_core,
  peers: measure_peers,
  growth: measure_queue_length,
  spread_out: measure_keys_and_models,
  connections: measure_connections,
  streams: measure_streams,
  latency: measure_latency,
  slots: measure_slots,
};

const full = { page: "whole", rounds: 3, seconds: 3, queue_length: 1_000_000, slot_tasks: 300 };
const quick = { page: "whole", rounds: 1, seconds: 1, queue_length: 50_000, slot_tasks: 50 };

function read_flags() {
  const text = { type: "string" };
  const flag = { type: "boolean", default: false };
  const options = { binary: text, programs: text, docs: text, work: text, only: text, peers: text, rounds: text, quick: flag, ten_million: flag };
  const { values } = parseArgs({ options });
  const pick = (list, all) => {
    const wanted = list ? list.split(",") : all;
    for (const name of wanted) if (!all.includes(name)) throw new Error(`unknown '${name}': choose of ${all.join(", ")}`);
    return wanted;
  };
  const size = { ...(values.quick ? quick : full) };
  const all = values.ten_million ? ["growth"] : Object.keys(sections);
  if (values.ten_million) Object.assign(size, { queue_length: 10_000_000, page: "ten_million" });
  if (values.rounds) size.rounds = Number(values.rounds);
  const folders = ["binary", "programs", "docs", "work"].map((name) => [name, resolve(values[name])]);
  return { ...Object.fromEntries(folders), size, only: pick(values.only, all), wanted: pick(values.peers, peer_names) };
}

async function measure(flags, folder) {
  const run = {
    ...flags.size,
    folder,
    binary: flags.binary,
    peers: new URL("./peers", import.meta.url).pathname,
    wanted: flags.wanted,
    load: new Load({ folder, programs: flags.programs }),
    say: (words) => console.log(`${new Date().toTimeString().slice(0, 8)}  ${words}`),
  };
  const command = ["scripts/bench", ...process.argv.slice(2).filter((word, i, all) => !is_folder(word, all[i - 1]))].join(" ");
  const results = { run: { ...flags.size, command }, machine: await describe_machine(run) };
  let is_whole = true;
  for (const name of flags.only) {
    try {
      results[name] = await sections[name](run);
    } catch (error) {
      // The other sections are worth having.
      console.error(`${name} failed: ${error.stack}`);
      is_whole = false;
      await stop_all();
    }
  }
  return { results, is_whole };
}

const folder_flags = ["--binary", "--programs", "--docs", "--work"];
const is_folder = (word, before) => folder_flags.includes(word) || folder_flags.includes(before);

async function main() {
  const flags = read_flags();
  mkdirSync(flags.work, { recursive: true });
  const folder = mkdtempSync(join(flags.work, "run-"));
  const clean_up = async () => {
    await stop_all();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.once(signal, () => void clean_up().then(() => process.exit(130)));
  try {
    const { results, is_whole } = await measure(flags, folder);
    writeFileSync(join(flags.work, "results.json"), JSON.stringify(results, null, 1));
    const docs = is_whole ? flags.docs : flags.work;
    console.log(`wrote ${write_report(results, docs)}`);
    if (!is_whole) process.exitCode = 1;
  } finally {
    await clean_up();
  }
}

await main();
