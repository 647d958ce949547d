// Starting and ending the programs of a run: each is ended by its own id, whatever becomes of the run.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const running = new Set();

/** What a program that failed had said, shortened. */
const tail = (text) => text.trim().split("\n").slice(-8).join("\n");

/** core: 0, 1, … pins the program to it; undefined leaves it to the kernel. */
function launch(command, args, { core, cwd, env, stdio }) {
  const words = core === undefined ? [command, ...args] : ["taskset", "-c", String(core), command, ...args];
  const child = spawn(words[0], words.slice(1), { cwd, env: { ...process.env, ...env }, stdio });
  running.add(child);
  child.once("exit", () => running.delete(child));
  child.once("error", () => running.delete(child));
  return child;
}

/**
 * Starts a server and waits for its sign of life.
 *   ready    resolves to a value once it serves: given each line of its standard output, undefined means not yet
 *   probe    instead of ready: asked every 20 ms until it does not throw
 *   log      the file that its standard error goes to
 * @returns {{pid: number, ready: any, stop: (signal?: string, patience_ms?: number) => Promise<void>}}
 */
export async function start_server(command, args, { ready, probe, log, patience_ms = 30_000, ...options }) {
  const child = launch(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  child.stderr.pipe(createWriteStream(log, { flags: "a" }));
  const ended = once(child, "exit").then(([code, signal]) => {
    throw new Error(`${command} ended at its start (${signal ?? code}):\n${tail(readFileSync(log, "utf8"))}`);
  });
  ended.catch(() => {});
  const failed = once(child, "error").then(([error]) => Promise.reject(error));
  failed.catch(() => {});
  const serving = probe ? until_it_answers(probe, patience_ms) : line_of(child.stdout, ready);
  const late = new AbortController();
  const deadline = sleep(patience_ms, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${command} does not serve after ${patience_ms / 1000} s:\n${tail(readFileSync(log, "utf8"))}`);
  });
  deadline.catch(() => {});
  try {
    const value = await Promise.race([serving, ended, failed, deadline]);
    child.stdout.resume();
    return { pid: child.pid, ready: value, stop: (signal, patience) => stop(child, signal, patience) };
  } catch (error) {
    await stop(child, "SIGKILL");
    throw error;
  } finally {
    late.abort();
  }
}

async function until_it_answers(probe, patience_ms) {
  for (const end = Date.now() + patience_ms; ; await sleep(20)) {
    try {
      return await probe();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

function line_of(stream, ready) {
  return new Promise((resolve) => {
    let text = "";
    stream.on("data", (bytes) => {
      text += bytes;
      const lines = text.split("\n");
      text = lines.pop();
      for (const line of lines) {
        const value = ready(line);
        if (value !== undefined) resolve(value);
      }
    });
  });
}

async function stop(child, signal = "SIGTERM", patience_ms = 15_000) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  const force = setTimeout(() => child.kill("SIGKILL"), patience_ms);
  await ended;
  clearTimeout(force);
}

/**
 * Runs a program to its end; its standard output. Fails when it fails, or is not done after timeout_ms.
 *   on_line   called with each line as it comes
 */
export async function run(command, args, { timeout_ms = 120_000, on_line, ...options } = {}) {
  const child = launch(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let errors = "";
  child.stderr.on("data", (bytes) => (errors += bytes));
  child.stdout.on("data", (bytes) => (out += bytes));
  if (on_line) line_of(child.stdout, (line) => void on_line(line));
  const force = setTimeout(() => child.kill("SIGKILL"), timeout_ms);
  try {
    const [code, signal] = await once(child, "close");
    if (code !== 0) throw new Error(`${command} failed (${signal ?? code}): ${tail(errors || out)}`);
    return out;
  } finally {
    clearTimeout(force);
  }
}

/**
 * Starts a program that says "ready" and then waits for the end of its input.
 * @returns {Promise<{finish: () => Promise<string>, ended: Promise<string>}>} finish ends it; what it said last
 */
export async function hold(command, args, options = {}) {
  const child = launch(command, args, { ...options, stdio: ["pipe", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (bytes) => (out += bytes));
  const ended = once(child, "close");
  const failed = ended.then(([code]) => Promise.reject(new Error(`${command} ended early (${code})`)));
  failed.catch(() => {});
  await Promise.race([line_of(child.stdout, (line) => (line === "ready" ? true : undefined)), failed]);
  const last_words = ended.then(() => out.trim().split("\n").pop());
  return {
    ended: last_words,
    finish() {
      child.stdin.end();
      return last_words;
    },
  };
}

/** Ends whatever still runs. */
export async function stop_all() {
  await Promise.all([...running].map((child) => stop(child, "SIGTERM", 3_000)));
}

/** Processor time that a process has used so far, in the program and in the kernel. */
export function cpu_seconds(pid) {
  const ticks_per_second = 100; // USER_HZ of every Linux that Node runs on
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").pop().split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticks_per_second;
}

/** Memory of a process in bytes, as the kernel counts its resident pages. */
export function resident_bytes(pid) {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
}
