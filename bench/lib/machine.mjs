// What the figures were measured on, and with.

import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";

import { run } from "./child.mjs";

const first_match = (text, pattern) => pattern.exec(text)?.[1] ?? "unknown";

async function said_by(command, args, pattern) {
  try {
    return first_match(await run(command, args), pattern);
  } catch {
    return "not installed";
  }
}

const version_of_package = (peers, name) =>
  JSON.parse(readFileSync(join(peers, "node_modules", name, "package.json"), "utf8")).version;

// Debian's name for what a package holds; nginx tells its own version on standard error only.
const debian = (name) => said_by("dpkg-query", ["-W", "-f", "${Version}", name], /^(?:\d+:)?([^-+]+)/);

/** @returns {Promise<{cpu, cores, memory_gib, kernel, file_system, date, versions}>} */
export async function describe_machine({ folder, binary, peers }) {
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0].model.replace(/\s+/g, " ").trim(),
    cores: cpus().length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    kernel: release().split("-")[0],
    file_system: (await run("stat", ["-f", "-c", "%T", folder])).trim(),
    versions: {
      Quern: await said_by(binary, ["--version"], /(\d[\w.-]*)/),
      nginx: await debian("nginx-light"),
      wrk: await debian("wrk"),
      Redis: await said_by("redis-server", ["--version"], /v=([\d.]+)/),
      beanstalkd: await debian("beanstalkd"),
      PostgreSQL: await said_by("pg_config", ["--version"], /([\d.]+)/),
      Node: process.version.slice(1),
      Fastify: version_of_package(peers, "fastify"),
      BullMQ: version_of_package(peers, "bullmq"),
      "pg-boss": version_of_package(peers, "pg-boss"),
    },
  };
}
