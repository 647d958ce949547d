// Tasks in pg-boss. A worker fetches and completes whole batches without a pause while there is work (its own
// `work` rests half a second between batches); the echo of a task is read from its input.

import { setTimeout as sleep } from "node:timers/promises";

import PgBoss from "pg-boss";

const batchSize = 200;
const rest_ms = 20;
const statuses = { created: "IN_QUEUE", retry: "IN_QUEUE", active: "IN_PROGRESS", completed: "COMPLETED" };

export async function open(url) {
  const boss = new PgBoss({ connectionString: url, max: 10, schedule: false });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return {
    async prepare() {
      for (const model of ["echo", "hold"]) await boss.createQueue(model);
    },

    submit: (model, input) => boss.send(model, input),

    async find(model, id) {
      const job = await boss.getJobById(model, id);
      if (!job) return undefined;
      const metrics = job.completedOn ? { inference_time: (job.completedOn - job.startedOn) / 1000 } : undefined;
      return { status: statuses[job.state], input: job.data, text: JSON.stringify(job.data), metrics };
    },

    async work(model, handle) {
      void fetch_for_ever(boss, model, handle);
    },
  };
}

async function fetch_for_ever(boss, model, handle) {
  for (;;) {
    const jobs = await boss.fetch(model, { batchSize });
    if (jobs.length === 0) {
      await sleep(rest_ms);
      continue;
    }
    for (const job of jobs) handle(job.data);
    await boss.complete(model, jobs.map((job) => job.id));
  }
}
