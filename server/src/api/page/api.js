// Requests to the server that this page comes from, with the API key if one was given.

const KEY = "encdec-api-key";

export const storedKey = () => sessionStorage.getItem(KEY) ?? "";

export function storeKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

// An answer that is an error: `param` is the field at fault, `status` 0 where the server could not be reached.
export class ServerError extends Error {
  constructor(message, { status = 0, param = null } = {}) {
    super(message);
    this.status = status;
    this.param = param;
  }

  static of(error, status) {
    return new ServerError(error.message ?? `The server answered ${status}.`, { status, param: error.param ?? null });
  }
}

// The response to a request, which succeeded.
export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  const key = storedKey();
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached.");
  }
  if (response.ok) return response;
  const text = await response.text();
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // A proxy in between answers in a form of its own.
  }
  throw ServerError.of(error, response.status);
}

// The messages of a streamed answer, one by one.
export async function* messages(path, body, signal) {
  const response = await ask(path, { method: "POST", body, signal });
  let rest = "";
  try {
    for await (const text of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
      const events = (rest + text).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        if (!event.startsWith("data: ")) continue;
        const data = event.slice("data: ".length);
        if (data === "[DONE]") return;
        const message = JSON.parse(data);
        if (message.error) throw ServerError.of(message.error, response.status);
        yield message;
      }
    }
  } catch (error) {
    if (error instanceof ServerError || error.name === "AbortError") throw error;
    throw new ServerError("The connection broke before the answer was complete.");
  }
  throw new ServerError("The answer ended before it was complete.");
}

// Not every browser can iterate over a stream by itself.
async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}
