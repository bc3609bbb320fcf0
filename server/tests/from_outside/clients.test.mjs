// OpenAI's package for Node, unchanged, against the running server that ENCDEC_URL names.
import assert from "node:assert/strict";
import test from "node:test";

import OpenAI from "openai";

const SOURCE = "A small library that reads and writes calendar files.";
const ANSWER = "library for reading and writing CSV files";
const client = new OpenAI({ baseURL: `${process.env.ENCDEC_URL}/v1`, apiKey: "any" });
const asked = { model: "demo", prompt: SOURCE, temperature: 0, max_tokens: 24 };

test("models are listed", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ["demo"]);
  assert.equal((await client.models.retrieve("demo")).object, "model");
});

test("a completion has text, usage and log-probabilities", async () => {
  const { choices: [choice], usage } = await client.completions.create({ ...asked, logprobs: 2 });
  assert.deepEqual([choice.text, choice.finish_reason], [ANSWER, "stop"]);
  assert.equal(choice.logprobs.tokens.length, usage.completion_tokens);
});

test("a stream has the text piece by piece and the usage at its end", async () => {
  const stream = await client.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, ANSWER);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
});

test("a chat is answered whole and streamed", async () => {
  const chat = { model: "demo", messages: [{ role: "user", content: SOURCE }], temperature: 0 };
  const { choices: [choice] } = await client.chat.completions.create(chat);
  assert.deepEqual([choice.message.role, choice.message.content, choice.finish_reason], ["assistant", ANSWER, "stop"]);
  const stream = client.chat.completions.stream(chat);
  assert.equal(await stream.finalContent(), ANSWER);
});

test("a response is answered whole and streamed", async () => {
  const asked = { model: "demo", input: SOURCE, temperature: 0 };
  const response = await client.responses.create(asked);
  assert.deepEqual([response.output_text, response.status], [ANSWER, "completed"]);
  let text = "";
  let last;
  for await (const event of await client.responses.create({ ...asked, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event;
  }
  assert.deepEqual([text, last.type, last.response.usage.output_tokens], [ANSWER, "response.completed", 10]);
  const stream = client.responses.stream(asked);
  assert.equal((await stream.finalResponse()).output_text, ANSWER);
});

test("embeddings have length one", async () => {
  const { data } = await client.embeddings.create({ model: "demo", input: [SOURCE, "A game of cards."] });
  for (const { embedding } of data) {
    assert.ok(Math.abs(embedding.reduce((sum, number) => sum + number * number, 0) - 1) < 1e-5);
  }
});

test("a stream can be left", async () => {
  const long = { ...asked, max_tokens: 1000, ignore_eos: true, speculation: 'off' };
  const stream = await client.completions.create({ ...long, stream: true });
  for await (const _ of stream) break;
  assert.ok(stream.controller.signal.aborted);
});

test("errors have their classes and name the field", async () => {
  await assert.rejects(client.completions.create({ ...asked, top_p: 1.5 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "top_p");
    return true;
  });
  await assert.rejects(client.completions.create({ ...asked, model: "gpt-9" }), OpenAI.NotFoundError);
  await assert.rejects(client.responses.create({ model: "demo", input: SOURCE, store: true }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "store");
    return true;
  });
  await assert.rejects(client.responses.retrieve("resp_1"), OpenAI.NotFoundError);
});
