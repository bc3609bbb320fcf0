// The page: reads the form, asks the server for a streamed answer, and shows it.

import { watch } from "./alternatives.js";
import { ask, messages, storeKey, storedKey } from "./api.js";
import { Choices } from "./choices.js";
import { clearMarks, mark, markField, readForm } from "./form.js";
import { Hypotheses } from "./hypotheses.js";
import { watchServer } from "./state.js";

const at = (id) => document.getElementById(id);
const form = at("ask");
const EXAMPLE = "A small library that reads and writes calendar files.\n" +
  "It supports recurring events, time zones and reminders, and converts between formats.";
let running = null;
let hasModels = false;

function showProblem(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
  if (error.status === 401) {
    at("access").open = true;
    mark(at("key"));
  } else {
    markField(error.param);
  }
}

function clearProblem() {
  at("problem").hidden = true;
  clearMarks();
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
  const { request, text } = readForm(hasModels ? at("model").value : null);
  const began = performance.now();
  at("choices").replaceChildren();
  at("reading").hidden = at("comparing").hidden = true;
  let choices = null;
  let first = null;
  let usage = null;
  for await (const message of messages("v1/completions", text, signal)) {
    // The answer is laid out when it begins: a refused request has none.
    choices ??= layOut(request);
    first ??= performance.now();
    choices.add(message);
    usage = message.usage ?? usage;
  }
  choices?.finish();
  at("reading").hidden = request.logprobs === undefined;
  at("comparing").hidden = !request.use_beam_search;
  at("summary").textContent = summary(usage, { first: first - began, all: performance.now() - began });
}

function layOut(request) {
  const count = request.n ?? 1;
  if (request.use_beam_search) return new Hypotheses(at("choices"), count);
  return Choices.sampled(at("choices"), count, [...(request.decoder_prompt ?? "")].length);
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
