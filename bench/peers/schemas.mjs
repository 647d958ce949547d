// Schemas of what the service takes and answers; the latter are what makes Fastify write JSON fast.

const text = { type: "string" };
export const input = {
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
export const created = {
  type: "object",
  properties: { request_id: text, response_url: text, status_url: text, cancel_url: text, queue_position: { type: "integer" } },
};
export const status = {
  type: "object",
  properties: {
    status: text,
    request_id: text,
    response_url: text,
    logs: { type: "null" },
    metrics: { type: "object", properties: { inference_time: { type: "number" } } },
  },
};
export const result = {
  type: "object",
  properties: {
    request_id: text,
    outputs: { type: "array", items: { type: "object", properties: { type: text, text } } },
    metadata: { type: "object", properties: { prompt: text } },
  },
};
