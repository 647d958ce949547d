// Tasks in BullMQ. Jobs are kept when they end, as Quern keeps them, and a poll reads the job itself: one
// HGETALL, where Job.getState() searches the list of waiting jobs.

import { Queue, Worker } from "bullmq";

const concurrency = 100;

export async function open(url) {
  const { hostname: host, port } = new URL(url);
  const connection = { host, port: Number(port) };
  const queues = new Map(["echo", "hold"].map((model) => [model, new Queue(model, { connection })]));
  return {
    async prepare() {
      for (const queue of queues.values()) await queue.waitUntilReady();
    },

    async submit(model, input) {
      return (await queues.get(model).add("task", input)).id;
    },

    async find(model, id) {
      const job = await queues.get(model).getJob(id);
      if (!job) return undefined;
      const input = job.data;
      if (!job.finishedOn) return { status: job.processedOn ? "IN_PROGRESS" : "IN_QUEUE", input };
      const metrics = { inference_time: (job.finishedOn - job.processedOn) / 1000 };
      return { status: "COMPLETED", input, text: job.returnvalue, metrics };
    },

    async work(model, handle) {
      await new Worker(model, async (job) => handle(job.data), { connection, concurrency }).waitUntilReady();
    },
  };
}
