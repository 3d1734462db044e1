// Calls Python tools from Node over AMQP: enqueue, wait, give what the tool returned. Copy it.
import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const QUEUE = "stepflow";

/** A tool did not succeed; `reply` is the whole `ExecutionResult`. */
export class ToolError extends Error {
  constructor(reply) {
    super(`execution ${reply.execution_id}: ${reply.status}: ${reply.error.message}`);
    this.reply = reply;
  }
}

/** No result came in time. */
export class NoAnswerError extends Error {}

/**
 * Send an `ExecutionRequest`, wait for its end.
 *
 * @param {string} url of the broker, whose workers have the result backend `rpc://`
 * @param {object} request with `code`, `function_name`, `parameters`; an `execution_id` of your own makes it run once
 * @param {{ timeoutMs: number }} options how long to wait
 * @returns what the tool returned
 * @throws {ToolError} it did not succeed
 * @throws {NoAnswerError} it has not ended in time, or there is no queue to send it to
 */
export async function call(url, request, { timeoutMs }) {
  const connection = await amqp.connect(url);
  try {
    const channel = await connection.createConfirmChannel();
    const id = request.execution_id ?? randomUUID();
    const { queue: replyTo } = await channel.assertQueue("", { exclusive: true });
    const reply = new Promise((resolve) => channel.consume(replyTo, resolve, { noAck: true }));
    const returned = new Promise((resolve) => channel.once("return", resolve));
    send(channel, { ...request, execution_id: id }, { replyTo, timeoutMs });
    await channel.waitForConfirms();
    const first = await Promise.race([
      reply.then((message) => ({ answer: JSON.parse(message.content.toString()) })),
      returned.then(() => ({ why: `there is no queue "${QUEUE}": no worker has run on this broker` })),
      wait(timeoutMs).then(async () => ({ why: `no result within ${timeoutMs} ms: ${await situation(connection)}` })),
    ]);
    if (first.why) throw new NoAnswerError(`execution ${id}: ${first.why}`);
    // A fault of the worker's own; a tool's failure is a result.
    if (first.answer.status !== "SUCCESS") throw new NoAnswerError(`execution ${id}: ${JSON.stringify(first.answer)}`);
    if (first.answer.result.status !== "succeeded") throw new ToolError(first.answer.result);
    return first.answer.result.result;
  } finally {
    await connection.close();
  }
}

/** One message of Celery's protocol 2, to the queue by its name: workers have declared it. */
function send(channel, request, { replyTo, timeoutMs }) {
  const id = request.execution_id;
  // A message that nobody has taken by then is dropped, so that nothing runs that nobody waits for.
  const expires = new Date(Date.now() + timeoutMs).toISOString().replace("Z", "+00:00");
  const headers = { lang: "py", task: "stepflow.execute", id, root_id: id, parent_id: null, group: null, expires };
  const body = [[request], {}, { callbacks: null, errbacks: null, chain: null, chord: null }];
  channel.publish("", QUEUE, Buffer.from(JSON.stringify(body)), {
    contentType: "application/json",
    contentEncoding: "utf-8",
    correlationId: id,
    replyTo,
    headers,
    persistent: true,
    mandatory: true,
  });
}

/** Why nothing came, as far as the broker says. */
async function situation(connection) {
  const channel = await connection.createChannel();
  const { consumerCount, messageCount } = await channel.checkQueue(QUEUE);
  if (consumerCount === 0) return `no worker takes from the queue "${QUEUE}"`;
  return `it waits or runs on one of ${consumerCount} workers, ${messageCount} wait`;
}

/** So many milliseconds. */
function wait(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
