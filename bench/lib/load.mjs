// The load generators: wrk for one kind of request, our own for whole lives of tasks.

import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "./child.mjs";

const requests_script = new URL("../load/requests.lua", import.meta.url).pathname;

/** @typedef {{method: string, path: string, key?: string, body?: string}} Request */

export class Load {
  /**
   * folder    for lists of requests
   * programs  where quern_bench_life and its siblings were built
   */
  constructor({ folder, programs }) {
    this.folder = mkdtempSync(join(folder, "load-"));
    this.programs = programs;
    this.lists = new Map();
  }

  program(name) {
    return join(this.programs, `quern_bench_${name}`);
  }

  /**
   * Sends `requests` in turn for `seconds` over `connections`; fails if any answer was an error.
   * @param {Request[]} requests
   */
  async wrk(url, requests, { seconds, connections = 64, core }) {
    const load = ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s"];
    const args = [...load, "-s", requests_script, url, "--", this.list_of(requests)];
    const out = await run("wrk", args, { core, timeout_ms: seconds * 1000 + 30_000 });
    const result = JSON.parse(out.trim().split("\n").pop());
    if (result.bad_answers > 0 || result.broken > 0 || result.requests === 0) {
      const sample = `${requests[0].method} ${requests[0].path}`;
      throw new Error(
        `${sample} at ${url}: of ${result.requests} answers ${result.bad_answers} were errors, ${result.broken} broke`,
      );
    }
    return { ...result, rate: result.requests / result.seconds };
  }

  /** Creates tasks and sees them finished; see load/life.cc for the flags. */
  async life(url, { model, key, body, seconds, warm_seconds = 1, connections = 64, window = 32, look_ms = 20 }) {
    const out = await run(
      this.program("life"),
      flags({ url, model, key, body, seconds, warm_seconds, connections, window, look_ms }),
      { timeout_ms: (seconds + warm_seconds) * 1000 + 30_000 },
    );
    const result = JSON.parse(out);
    return { ...result, rate: result.finished / result.seconds };
  }

  /** Creates `count` tasks and leaves them; on_progress({created, seconds}) is called 20 times. */
  async fill(url, { model, key, body, count, connections = 64, timeout_ms, core }, on_progress = () => {}) {
    const out = await run(this.program("life"), flags({ url, model, key, body, count, connections }), {
      timeout_ms,
      core,
      on_line: (line) => line.includes('"finished"') || on_progress(JSON.parse(line)),
    });
    return JSON.parse(out.trim().split("\n").pop());
  }

  /** Puts jobs into beanstalkd; with `life` takes each out again. */
  async beanstalk(port, { body, seconds, life, connections = 64 }) {
    const given = flags({ port, body, seconds, connections, life: Number(life) });
    const result = JSON.parse(await run(this.program("beanstalk"), given, { timeout_ms: seconds * 1000 + 30_000 }));
    return { ...result, rate: (life ? result.finished : result.put) / result.seconds };
  }

  async fdatasync(folder, seconds, { core, pause_us = 0 } = {}) {
    return JSON.parse(await run(this.program("fdatasync"), flags({ dir: folder, seconds, pause_us }), { core }));
  }

  /** The file that holds `requests`, one a line. */
  list_of(requests) {
    if (!this.lists.has(requests)) {
      const path = join(this.folder, `${this.lists.size}.tsv`);
      const line = ({ method, path, key = "", body = "" }) => `${method}\t${path}\t${key}\t${body}\n`;
      writeFileSync(path, requests.map(line).join(""));
      this.lists.set(requests, path);
    }
    return this.lists.get(requests);
  }
}

const flags = (values) => Object.entries(values).flatMap(([name, value]) => [`--${name}`, String(value)]);
