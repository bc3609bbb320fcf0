// The form: which of its fields a method of decoding takes, and the request's body.

const at = (id) => document.getElementById(id);
const fields = [...at("ask").querySelectorAll("[data-param]")];
// A disabled field is of the other method.
const taken = () => fields.filter((field) => !field.matches(":disabled"));

// What is wrong with the form before the server is asked.
export class FieldError extends Error {
  constructor(param, message) {
    super(message);
    this.param = param;
  }
}

// The request, and its body as text. A seed may have more digits than a number keeps, so it is written as it stands.
export function readForm(model) {
  const request = {};
  let seed = null;
  for (const field of taken()) {
    const param = field.dataset.param;
    if (field.validity.badInput) throw new FieldError(param, `'${param}' has to be a number.`);
    if (param === "stop") {
      const stops = field.value.split("\n").filter((line) => line);
      if (stops.length) request.stop = stops;
    } else if (param === "seed") {
      seed = field.value.trim();
      if (!/^(-?\d+)?$/.test(seed)) throw new FieldError(param, "'seed' has to be a whole number.");
    } else if (field.tagName === "SELECT") {
      // A string is written with its quotes.
      if (field.value !== "") request[param] = JSON.parse(field.value);
    } else if (field.type === "number") {
      if (field.value !== "") request[param] = Number(field.value);
    } else if (field.value !== "" || param === "prompt") {
      request[param] = field.value;
    }
  }
  if (!request.prompt) throw new FieldError("prompt", "Write a source first: the encoder has nothing to read.");
  if (model) request.model = model;
  request.echo = request.decoder_prompt !== undefined;
  request.stream = true;
  request.stream_options = { include_usage: true };
  const text = JSON.stringify(request);
  return { request, text: seed ? `${text.slice(0, -1)},"seed":${seed.replace(/^(-?)0+(?=\d)/, "$1")}}` : text };
}

// Leads to the field of `param`, if there is one.
export function markField(param) {
  const name = param?.split("[")[0];
  mark(taken().find((field) => field.dataset.param === name));
}

export function mark(field) {
  field?.setAttribute("aria-invalid", "true");
  field?.focus();
}

export function clearMarks() {
  for (const field of [...fields, at("key")]) field.removeAttribute("aria-invalid");
}

// Offers the fields of the chosen method. Those of sampling stay in sight, with the reason why they are off.
function offer() {
  const isSearch = at("method").value !== "";
  at("search").hidden = at("search").disabled = !isSearch;
  at("sampling").disabled = isSearch;
  at("not-sampled").hidden = !isSearch;
}

at("method").addEventListener("change", offer);
offer();
