// A queue service as teams build it on Node: Fastify in front, a queue library behind, the same routes as
// Quern's queue dialect. Clustered, as Fastify and BullMQ both advise, with workers in processes of their own.
//
//   node service.mjs bullmq|pg-boss STORE_URL WEB_PROCESSES WORKER_PROCESSES
//
// Prints "listening on URL" once all processes stand. Models: `echo` is worked on, `hold` is not.

import cluster from "node:cluster";
import { once } from "node:events";

import Fastify from "fastify";

import { created, input, result, status } from "./schemas.mjs";

const [library, store, web, workers] = process.argv.slice(2);
const { open } = await import(library === "bullmq" ? "./bullmq.mjs" : "./pg_boss.mjs");
const secrets = new Set([`Key ${process.env.BENCH_KEY}`]);

if (cluster.isPrimary) await lead();
else if (process.env.BENCH_ROLE === "web") await serve();
else await work();

async function lead() {
  await (await open(store)).prepare();
  for (let i = 0; i < Number(workers); ++i) await start("worker");
  let url;
  for (let i = 0; i < Number(web); ++i) url = await start("web");
  console.log(`listening on ${url}`);
  process.once("SIGTERM", () => {
    for (const child of Object.values(cluster.workers)) child.process.kill("SIGKILL");
    process.exit(0);
  });
}

async function start(role) {
  const child = cluster.fork({ BENCH_ROLE: role });
  child.once("exit", () => process.exit(1));
  const [message] = await once(child, "message");
  return message;
}

async function work() {
  await (await open(store)).work("echo", (input) => JSON.stringify(input));
  process.send("works");
}

async function serve() {
  const queue = await open(store);
  const app = Fastify({ logger: false });
  app.addHook("onRequest", (request, reply, done) => {
    if (secrets.has(request.headers.authorization)) done();
    else reply.code(401).send({ detail: "Invalid API key" });
  });

  app.post("/v1/queue/:model", { schema: { body: input, response: { 200: created } } }, async (request) => {
    const { model } = request.params;
    const id = await queue.submit(model, request.body);
    const base = `http://${request.headers.host}/v1/queue/${model}/requests/${id}`;
    return {
      request_id: id,
      response_url: `${base}/response`,
      status_url: `${base}/status`,
      cancel_url: `${base}/cancel`,
      queue_position: 0,
    };
  });

  const task = "/v1/queue/:model/requests/:id";
  app.get(`${task}/status`, { schema: { response: { 200: status } } }, async (request, reply) => {
    const { model, id } = request.params;
    const found = await queue.find(model, id);
    if (!found) return reply.code(404).send({ detail: "Request not found" });
    const response_url = `http://${request.headers.host}/v1/queue/${model}/requests/${id}/response`;
    return { status: found.status, request_id: id, response_url, logs: null, metrics: found.metrics };
  });

  app.get(`${task}/response`, { schema: { response: { 200: result } } }, async (request, reply) => {
    const { model, id } = request.params;
    const found = await queue.find(model, id);
    if (!found) return reply.code(404).send({ detail: "Request not found" });
    if (found.status !== "COMPLETED") return reply.code(202).send({ status: found.status });
    return {
      request_id: id,
      outputs: [{ type: "text", text: found.text }],
      metadata: { prompt: found.input.prompt },
    };
  });

  process.send(await app.listen({ host: "127.0.0.1", port: 0 }));
}
