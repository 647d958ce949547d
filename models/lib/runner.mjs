// The program's side of the runner protocol, shared by the example models.
//
//   await serve(async ({ input, output_dir }) => {
//     progress(0.5);
//     output({ type: "text", text: "hello" });
//   });
//
// The task is one JSON object on stdin, the answers are JSON lines on stdout. What the caller got
// wrong ends the task through reject(); all other errors that are thrown become one error line too.

import { spawn } from "node:child_process";

/** An expected end of the task: its text and type are what the caller reads. */
export class TaskError extends Error {
  constructor(message, type = "INFERENCE_FAILURE") {
    super(message);
    this.type = type;
  }
}

/** Ends the task because the caller's `field` cannot be used. */
export function reject(field, problem) {
  throw new TaskError(`${field}: ${problem}`, "REQUEST_INVALID");
}

const send = (message) => process.stdout.write(JSON.stringify(message) + "\n");

/** fraction: 0 to 1. */
export const progress = (fraction) => send({ progress: Math.min(1, Math.max(0, fraction)) });
export const log = (message, level = "INFO") => send({ log: message, level });
export const output = (record) => send({ output: record });
export const metadata = (facts) => send({ metadata: facts });

/** Reads the task, gives it to `handle`, and ends the process: 0 on success, 1 after an error line. */
export async function serve(handle) {
  try {
    await handle(JSON.parse((await readAll(process.stdin)).toString("utf8")));
  } catch (error) {
    const expected = error instanceof TaskError;
    if (!expected) console.error(error);
    send({
      error: expected ? error.message : `Unexpected failure: ${error.message}`,
      error_type: expected ? error.type : "INFERENCE_FAILURE",
    });
    process.exitCode = 1;
  }
}

async function readAll(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const children = new Set();
let isStopping = false;

// Installed only while children run: without it a SIGTERM ends this process by itself, even in the
// middle of a long computation. Nothing of a stopped task is kept, so children need no time to tidy up.
function stop() {
  isStopping = true;
  for (const child of children) child.kill("SIGKILL");
}

function track(child) {
  if (children.size === 0) process.on("SIGTERM", stop).on("SIGINT", stop);
  children.add(child);
  child.once("close", () => {
    children.delete(child);
    if (children.size > 0) return;
    if (isStopping) process.exit(143);
    process.off("SIGTERM", stop).off("SIGINT", stop);
  });
}

/**
 * Runs a program to its end and returns { ok, stdout: Buffer, stderr: string }.
 *
 * input   bytes or text for its stdin
 * onLine  is called with each line of its stdout as it comes; stdout is then not collected
 */
export async function run(command, args, { input = "", onLine } = {}) {
  const child = spawn(command, args);
  track(child);
  const ended = new Promise((resolve, fail) => {
    child.once("error", () => fail(new TaskError(`${command} could not be started`)));
    child.once("close", (code) => resolve(code === 0));
  });
  child.stdin.on("error", () => {}); // It may end without reading; its exit code says whether that is bad.
  child.stdin.end(input);
  const stdout = onLine ? forEachLine(child.stdout, onLine) : readAll(child.stdout);
  const [ok, out, err] = await Promise.all([ended, stdout, readAll(child.stderr)]);
  return { ok, stdout: out, stderr: err.toString("utf8") };
}

/** Like run(), but a program that fails ends the task. */
export async function mustRun(command, args, options) {
  const result = await run(command, args, options);
  if (!result.ok) throw new TaskError(`${command} failed: ${lastLine(result.stderr)}`);
  return result;
}

async function forEachLine(stream, onLine) {
  let rest = "";
  for await (const chunk of stream.setEncoding("utf8")) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    lines.forEach(onLine);
  }
}

// The last line of an error output mostly names the cause. Folders of this machine are not the caller's concern.
function lastLine(text) {
  const line = text.trim().split("\n").pop();
  return line.replace(/\/\S*\//g, "") || "no message";
}
