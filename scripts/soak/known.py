"""Requests whose answers do not depend on what else the server does, bad requests, and what is compared of an answer.

Tables only: clients.py sends them.
"""
import json
import pathlib

SOURCE = "A small library that reads and writes calendar files."
LONG = "A text editor for the terminal with syntax highlighting that opens large files quickly. " * 12
SCHEMA = json.loads(pathlib.Path(__file__).with_name("schema.json").read_text())
TARGETS = ["library to read and write calendar files", "game of cards", "text editor", "web server", "CSV tools"]
MESSAGES = [{"role": "user", "content": SOURCE}]
# What the demo copies of its source is drafted.
COPIED = {"prompt": LONG, "decoder_prompt": LONG[:200], "max_tokens": 60, "temperature": 0, "ignore_eos": True}


def completion(**fields):
    return "/v1/completions", {"prompt": SOURCE, "max_tokens": 24, "seed": 7, **fields}


def form(**fields):
    return completion(max_tokens=60, structured_outputs=fields)


# Paths and bodies. On the processor the same request has the same answer alone and beside any others.
KNOWN = {
    "greedy": completion(temperature=0),
    "sampled": completion(n=3, top_p=0.9, top_k=40, temperature=1.3),
    "several prompts": completion(prompt=[SOURCE, LONG, "a"], n=2, max_tokens=12),
    "ids": completion(prompt=[2, 295, 1552, 40, 41], temperature=0),
    "best of": completion(n=2, best_of=4, max_tokens=12),
    "penalties": completion(repetition_penalty=1.3, presence_penalty=0.4, frequency_penalty=0.2, min_p=0.01),
    "controls": completion(no_repeat_ngram_size=2, logit_bias={"300": 4, "301": -100}, bad_words=["library"]),
    "stop": completion(temperature=0, stop=["writing", "files"]),
    "log-probabilities": completion(logprobs=5, echo=True, decoder_prompt="library for", prompt_logprobs=2),
    "many targets": completion(decoder_prompt=["library to", "library for", "program"], n=2),
    "drafts": ("/v1/completions", COPIED),
    "beams": completion(use_beam_search=True, n=4, length_penalty=0.7),
    "beams with stop": completion(use_beam_search=True, n=2, best_of=4, stop=[" for"]),
    "schema": form(json=SCHEMA),
    "expression": form(regex="[a-z]{2,9}( [a-z]{2,9}){1,3}"),
    "grammar": form(grammar='start: "a" WORD " b"\nWORD: /[a-z]{1,8}/'),
    "choice": form(choice=TARGETS),
    "exact choice": completion(use_beam_search=True, n=3, structured_outputs={"choice": TARGETS}),
    "allowed targets": completion(allowed_targets=TARGETS),
    "chat": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 24, "temperature": 0}),
    "chat with a schema": ("/v1/chat/completions", {
        "messages": MESSAGES, "max_tokens": 80, "seed": 3, "logprobs": True, "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}),
    "chat continued": ("/v1/chat/completions", {
        "messages": [*MESSAGES, {"role": "assistant", "content": "library"}], "continue_final_message": True,
        "max_tokens": 12, "temperature": 0}),
    "response": ("/v1/responses", {"input": SOURCE, "temperature": 0, "max_output_tokens": 24}),
    "response with a schema": ("/v1/responses", {
        "input": SOURCE, "seed": 4, "max_output_tokens": 80,
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}}),
    "embeddings": ("/v1/embeddings", {"input": [SOURCE, LONG, "a"]}),
    "embeddings in base64": ("/v1/embeddings", {"input": SOURCE, "encoding_format": "base64", "dimensions": 8}),
    "states": ("/v1/encode", {"input": SOURCE}),
    "score": ("/v1/score", {"text_1": SOURCE, "text_2": TARGETS}),
    "similarity": ("/v1/score", {"text_1": SOURCE, "text_2": TARGETS, "method": "embedding"}),
    "rerank": ("/v1/rerank", {"query": SOURCE, "documents": TARGETS, "top_n": 3}),
    "rendered": ("/v1/completions/render", {"prompt": SOURCE}),
    "tokens": ("/tokenize", {"prompt": SOURCE}),
}
# Those that can be streamed: text is compared.
STREAMED = ["greedy", "sampled", "penalties", "stop", "drafts", "beams", "schema", "expression", "allowed targets",
            "chat", "chat continued", "response"]

# Name, method, path, body, headers, status.
BAD = [
    ("no JSON", "POST", "/v1/completions", b"{", {}, 400),
    ("no prompt", "POST", "/v1/completions", {}, {}, 400),
    ("out of range", "POST", "/v1/completions", {"prompt": SOURCE, "top_p": 1.5}, {}, 400),
    ("too many choices", "POST", "/v1/completions", {"prompt": SOURCE, "n": 1000}, {}, 400),
    ("too long a source", "POST", "/v1/completions", {"prompt": "word " * 9000}, {}, 400),
    ("too long a target", "POST", "/v1/completions", {"prompt": SOURCE, "max_tokens": 99999}, {}, 400),
    ("an id outside", "POST", "/v1/completions", {"prompt": [10 ** 9]}, {}, 400),
    ("no such model", "POST", "/v1/completions", {"prompt": SOURCE, "model": "gpt-9"}, {}, 404),
    ("a bad schema", "POST", "/v1/completions", form(json={"type": "nothing"})[1], {}, 400),
    ("a bad expression", "POST", "/v1/completions", form(regex="(?=a)")[1], {}, 400),
    ("a bad grammar", "POST", "/v1/completions", form(grammar="start: start")[1], {}, 400),
    ("tools", "POST", "/v1/chat/completions", {"messages": MESSAGES, "tools": [{"type": "function"}]}, {}, 400),
    ("a stored response", "POST", "/v1/responses", {"input": SOURCE, "store": True}, {}, 400),
    ("no inputs", "POST", "/v1/embeddings", {"input": []}, {}, 400),
    ("no such path", "POST", "/v1/nothing", {"prompt": SOURCE}, {}, 404),
    ("no such method", "GET", "/v1/completions", None, {}, 405),
    ("a large body", "POST", "/v1/completions", b'{"prompt": "' + b"a" * 5_000_000 + b'"}', {}, 413),
    ("an encoding", "POST", "/v1/completions", {"prompt": SOURCE}, {"content-encoding": "br"}, 415),
    ("a wrong key", "POST", "/v1/completions", {"prompt": SOURCE}, {"authorization": "Bearer no"}, 401),
    ("a page's origin", "POST", "/v1/completions", {"prompt": SOURCE}, {"origin": "http://a.example"}, 403),
    ("another host", "POST", "/v1/completions", {"prompt": SOURCE}, {"host": "a.example"}, 403),
    ("no such batch", "GET", "/v1/batches/batch_1", None, {}, 404),
]


def compared(answer):
    """The part of an answer that a request decides: neither ids nor times nor what the cache had."""
    if "output" in answer:
        return [item["content"] for item in answer["output"]]
    for field in ("choices", "data", "results", "tokens"):
        if field in answer:
            return answer[field]
    # Rendered requests are a list.
    return [{**one, "request_id": None} for one in answer]


def texts(answer):
    """The text of each choice of a whole answer."""
    if "output" in answer:
        return ["".join(part["text"] for item in answer["output"] for part in item["content"])]
    return [choice["text"] if "text" in choice else choice["message"]["content"] for choice in answer["choices"]]


def streamed_texts(events):
    """The text of each choice of a stream's events."""
    by_choice = {}
    for event in events:
        if event.get("type") == "response.output_text.delta":
            by_choice[0] = by_choice.get(0, "") + event["delta"]
        for choice in event.get("choices", []):
            piece = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
            by_choice[choice["index"]] = by_choice.get(choice["index"], "") + piece
    return [by_choice[index] for index in sorted(by_choice)]
