// The page: reads the form, asks the server for a streamed answer, and shows it.

import { watch } from "./alternatives.js";
import { ask, messages, storeKey, storedKey } from "./api.js";
import { Choices } from "./choices.js";
import { watchServer } from "./state.js";

const at = (id) => document.getElementById(id);
const form = at("ask");
const fields = [...form.querySelectorAll("[data-param]")];
const EXAMPLE = "A small library that reads and writes calendar files.\n" +
  "It supports recurring events, time zones and reminders, and converts between formats.";
let running = null;
let hasModels = false;

// What is wrong with the form before the server is asked.
class FieldError extends Error {
  constructor(param, message) {
    super(message);
    this.param = param;
  }
}

// The request's body. A seed may have more digits than a number keeps, so it is written as it stands.
function body() {
  const request = {};
  let seed = null;
  for (const field of fields) {
    const param = field.dataset.param;
    if (field.validity.badInput) throw new FieldError(param, `'${param}' has to be a number.`);
    if (param === "stop") {
      const stops = field.value.split("\n").filter((line) => line);
      if (stops.length) request.stop = stops;
    } else if (param === "seed") {
      seed = field.value.trim();
      if (!/^(-?\d+)?$/.test(seed)) throw new FieldError(param, "'seed' has to be a whole number.");
    } else if (field.type === "number") {
      if (field.value !== "") request[param] = Number(field.value);
    } else if (field.value !== "" || param === "prompt") {
      request[param] = field.value;
    }
  }
  if (!request.prompt) throw new FieldError("prompt", "Write a source first: the encoder has nothing to read.");
  if (hasModels) request.model = at("model").value;
  request.echo = request.decoder_prompt !== undefined;
  request.stream = true;
  request.stream_options = { include_usage: true };
  const text = JSON.stringify(request);
  return { request, text: seed ? `${text.slice(0, -1)},"seed":${seed.replace(/^(-?)0+(?=\d)/, "$1")}}` : text };
}

function showProblem(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
  if (error.status === 401) at("access").open = true;
  const name = error.param?.split("[")[0];
  const field = error.status === 401 ? at("key") : fields.find((field) => field.dataset.param === name);
  if (!field) return;
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

function clearProblem() {
  at("problem").hidden = true;
  for (const field of [...fields, at("key")]) field.removeAttribute("aria-invalid");
}

// One request from its press of the button to its end.
async function generate() {
  running?.abort();
  const own = new AbortController();
  running = own;
  clearProblem();
  at("stop").disabled = false;
  at("answer").setAttribute("aria-busy", "true");
  at("summary").textContent = "";
  try {
    await show(own.signal);
  } catch (error) {
    // A later press of the button has the page to itself.
    if (running !== own) return;
    if (error.name === "AbortError") at("summary").textContent = "Stopped.";
    else showProblem(error);
  } finally {
    if (running === own) {
      running = null;
      at("stop").disabled = true;
      at("answer").setAttribute("aria-busy", "false");
    }
  }
}

async function show(signal) {
  const { request, text } = body();
  const began = performance.now();
  at("choices").replaceChildren();
  let choices = null;
  let first = null;
  let usage = null;
  for await (const message of messages("v1/completions", text, signal)) {
    // The answer is laid out when it begins: a refused request has none.
    choices ??= new Choices(at("choices"), request.n ?? 1, [...(request.decoder_prompt ?? "")].length);
    first ??= performance.now();
    choices.add(message);
    usage = message.usage ?? usage;
  }
  at("reading").hidden = request.logprobs === undefined;
  at("summary").textContent = summary(usage, { first: first - began, all: performance.now() - began });
}

function summary(usage, { first, all }) {
  const { prompt_tokens: source, completion_tokens: generated, prompt_tokens_details: details } = usage;
  const rate = all > first && generated > 1 ? ` · ${((generated * 1000) / all).toFixed(0)} tokens a second` : "";
  const cached = details?.cached_tokens ? `, ${details.cached_tokens} of them known already` : "";
  return `${generated} tokens in ${(all / 1000).toFixed(2)} s${rate} · first one after ${first.toFixed(0)} ms · ` +
    `source of ${source} tokens${cached}`;
}

async function loadModels() {
  const { data } = await (await ask("v1/models")).json();
  const select = at("model");
  const chosen = select.value;
  select.replaceChildren(...data.map(({ id }) => new Option(id, id, false, id === chosen)));
  hasModels = data.length > 0;
  at("model-field").hidden = data.length < 2;
  at("server").textContent = data.length === 1 ? `Serving ${data[0].id}` : "";
}

// Learns the models when the server can be reached again: it may be another one.
async function reached(problem) {
  if (problem?.status === 0) {
    hasModels = false;
    at("server").textContent = problem.message;
    return;
  }
  if (hasModels) return;
  try {
    await loadModels();
  } catch (error) {
    at("server").textContent = error.message;
    if (error.status === 401) at("access").open = true;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    generate();
  }
  if (event.key === "Escape") running?.abort();
});
at("stop").addEventListener("click", () => running?.abort());
at("example").addEventListener("click", () => {
  at("source").value = EXAMPLE;
  at("source").focus();
});
at("key").value = storedKey();
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  at("access").open = false;
});
at("key").addEventListener("change", (event) => {
  storeKey(event.target.value.trim());
  hasModels = false;
  reached(null);
});
watch(at("choices"));
watchServer(() => at("model").value, reached);
