// The servers that are measured: nginx as the limit, Quern, and the peers. Each start_… returns
// {url, pid, stop()}; all listen on loopback and keep their data in a folder of their own under `folder`.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";

import { run, start_server } from "./child.mjs";

export const key = "bench-secret-0";
export const body = JSON.stringify({
  prompt: "A lighthouse on a cliff at dusk, long exposure, soft light over a calm sea, film grain, wide angle",
  seed: 42,
  width: 1024,
  height: 768,
  guidance: 7.5,
});

const schema = {
  type: "object",
  required: ["prompt"],
  additionalProperties: false,
  properties: {
    prompt: { type: "string", maxLength: 4000 },
    seed: { type: "integer" },
    width: { type: "integer", minimum: 64, maximum: 4096 },
    height: { type: "integer", minimum: 64, maximum: 4096 },
    guidance: { type: "number", minimum: 0, maximum: 50 },
  },
};

export const key_of = (index) => `bench-secret-${index}`;
export const model_of = (index) => `echo-${index}`;

const new_folder = (folder, name) => mkdtempSync(join(folder, `${name}-`));

async function free_port() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function can_connect(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
  } finally {
    socket.destroy();
  }
}

/** One worker that answers 200 at once: what HTTP alone costs. */
export async function start_nginx(folder, { core } = {}) {
  const home = new_folder(folder, "nginx");
  const port = await free_port();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${home};`);
  const config = `
    worker_processes 1;
    daemon off;
    pid ${home}/pid;
    error_log stderr warn;
    worker_rlimit_nofile 20000;
    events { worker_connections 16000; }
    http {
      access_log off;
      ${temporary.join(" ")}
      keepalive_timeout 600s;
      keepalive_requests 1000000000;
      server { listen 127.0.0.1:${port}; location / { return 200; } }
    }`;
  writeFileSync(join(home, "nginx.conf"), config);
  const args = ["-e", "stderr", "-p", home, "-c", join(home, "nginx.conf")];
  const server = await start_server("nginx", args, { core, log: join(home, "stderr.log"), probe: () => can_connect(port) });
  return { ...server, url: `http://127.0.0.1:${port}` };
}

/** The prototype of a durable queue, see bare_queue.cc; commits() answers how many it has made. */
export async function start_bare(folder, program, { core } = {}) {
  const home = new_folder(folder, "bare");
  const server = await start_server(program, ["--dir", home, "--key", key], {
    core,
    log: join(home, "stderr.log"),
    ready: (line) => /listening on (http:\S+)/.exec(line)?.[1],
  });
  const commits = async () => (await (await fetch(`${server.ready}/commits`)).json()).commits;
  return { ...server, url: server.ready, commits };
}

/**
 * Quern with everything on. Models: `echo`; `hold`, whose tasks wait behind one that never ends; `run`, whose
 * tasks run and do not end; `tell`, whose tasks also tell of their progress once a second; echo-0 … for `models`;
 * and `stamp` if there is a program for it.
 */
export function make_quern(folder, binary, { threads = 1, keys = 1, models = 0, log_level = "warn", stamp } = {}) {
  const home = new_folder(folder, "quern");
  writeFileSync(join(home, "schema.json"), JSON.stringify(schema));
  const sleeping = 'executor = { kind = "process", command = ["/bin/sleep", "3600"] }\ntimeout = "2h"\ngrace = "10ms"';
  const telling = "i=10; while :; do i=$(( (i - 9) % 90 + 10 )); echo {\\\"progress\\\":0.$i}; sleep 1; done";
  const model = (id, rest) => `[[model]]\nid = "${id}"\nqueued_max = 1000000000\n${rest}\n`;
  const echo = (slots) => `executor = { kind = "echo" }\nschema = "schema.json"\nconcurrency = ${slots}`;
  const lines = [
    `[server]\nlisten = "127.0.0.1:0"\nthreads = ${threads}\nlog_level = "${log_level}"\ndrain_timeout = "0s"\nidle_timeout = "1h"\n`,
    '[store]\nurl = "sqlite:data"\n',
    ...Array.from({ length: keys }, (_, i) => quern_key(i)),
    model("echo", echo(64)),
    model("hold", `${sleeping}\nschema = "schema.json"`),
    model("run", `${sleeping}\nschema = "schema.json"\nconcurrency = 64`),
    model("tell", `executor = { kind = "process", command = ["/bin/sh", "-c", '${telling}'] }\ntimeout = "2h"\ngrace = "10ms"\nconcurrency = 64`),
    ...Array.from({ length: models }, (_, i) => model(model_of(i), `executor = { kind = "echo" }\nschema = "schema.json"`)),
  ];
  if (stamp) {
    const command = JSON.stringify([stamp.program, stamp.file]);
    lines.push(model("stamp", `executor = { kind = "process", command = ${command} }`));
  }
  writeFileSync(join(home, "quern.toml"), lines.join("\n"));
  return {
    home,
    async start({ core, patience_ms } = {}) {
      const server = await start_server(binary, ["serve", "--config", join(home, "quern.toml")], {
        core,
        patience_ms,
        log: join(home, "stderr.log"),
        ready: (line) => /listening on (http:\S+)/.exec(line)?.[1],
      });
      return { ...server, url: server.ready };
    },
  };
}

function quern_key(index) {
  const digest = createHash("sha256").update(key_of(index)).digest("hex");
  const limits = 'rate = "1000000000/s"\nqueued_max = 1000000000';
  return `[[key]]\nid = "key-${index}"\nsecret = "sha256:${digest}"\n${limits}\nadmin = ${index === 0}\n`;
}

export const start_quern = (folder, binary, options = {}) => make_quern(folder, binary, options).start(options);

/** Fastify and BullMQ on Redis; fsync: "everysec", as BullMQ advises, or "always". */
export async function start_bullmq(folder, peers, { fsync }) {
  const home = new_folder(folder, "redis");
  const port = await free_port();
  const settings = { bind: "127.0.0.1", port, dir: home, save: "", appendonly: "yes", appendfsync: fsync };
  const args = Object.entries({ ...settings, "maxmemory-policy": "noeviction" }).flatMap(([k, v]) => [`--${k}`, String(v)]);
  const redis = await start_server("redis-server", args, { log: join(home, "stderr.log"), probe: () => can_connect(port) });
  return start_service(peers, home, "bullmq", `redis://127.0.0.1:${port}`, redis);
}

/** beanstalkd over its own protocol; fsync_ms: 0 for each change, 50 as it does by default. No HTTP, no polls. */
export async function start_beanstalkd(folder, { fsync_ms }) {
  const home = new_folder(folder, "beanstalkd");
  const port = await free_port();
  const args = ["-l", "127.0.0.1", "-p", String(port), "-b", home, "-f", String(fsync_ms)];
  const server = await start_server("beanstalkd", args, { log: join(home, "stderr.log"), probe: () => can_connect(port) });
  return { ...server, port };
}

/** Fastify and pg-boss on PostgreSQL with a quarter of the memory, up to 2 GiB, as shared buffers. */
export async function start_pg_boss(folder, peers) {
  const programs = (await run("pg_config", ["--bindir"])).trim();
  // PostgreSQL refuses to be run by root, and its own user may not be let into our folder.
  const as_root = process.getuid() === 0;
  const home = new_folder(as_root ? "/var/tmp" : folder, "quern-bench-postgres");
  process.once("exit", () => rmSync(home, { recursive: true, force: true }));
  const [user, group] = as_root ? await ids_of("postgres") : [];
  if (as_root) chownSync(home, user, group);
  chmodSync(home, 0o700);
  const as_user = as_root ? ["setpriv", `--reuid=${user}`, `--regid=${group}`, "--clear-groups"] : [];
  const command = (name, args) => {
    const [first, ...rest] = [...as_user, join(programs, name), ...args];
    return [first, rest];
  };
  const data = join(home, "data");
  await run(...command("initdb", ["-D", data, "-U", "bench", "-A", "trust", "--no-sync"]));
  const port = await free_port();
  const buffers_mib = Math.min(2048, Math.floor(totalmem() / 4 / 1048576));
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    shared_buffers: `${buffers_mib}MB`,
    max_wal_size: "4GB",
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const ready = () => run(join(programs, "pg_isready"), ["-h", "127.0.0.1", "-p", String(port)]);
  const postgres = await start_server(...command("postgres", ["-D", data, ...args]), { log: join(home, "stderr.log"), probe: ready });
  const graceful = { ...postgres, stop: () => postgres.stop("SIGINT") };
  return start_service(peers, home, "pg-boss", `postgres://bench@127.0.0.1:${port}/postgres`, graceful);
}

async function ids_of(name) {
  const fields = (await run("getent", ["passwd", name])).split(":");
  return [Number(fields[2]), Number(fields[3])];
}

// One web process and one worker process a core.
async function start_service(peers, home, library, store_url, store) {
  const each = String(cpus().length);
  try {
    const service = await start_server("node", [join(peers, "service.mjs"), library, store_url, each, each], {
      env: { BENCH_KEY: key, NODE_ENV: "production" },
      log: join(home, "service.log"),
      ready: (line) => /listening on (http:\S+)/.exec(line)?.[1],
    });
    const stop = async () => {
      await service.stop();
      await store.stop();
    };
    return { ...service, url: service.ready, stop };
  } catch (error) {
    await store.stop();
    throw error;
  }
}
