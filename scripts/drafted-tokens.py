#!/usr/bin/env python3
"""Tokens/s with and without drafts, for docs/benchmarks.md. Standard library only.

    target/release/server serve --shape s-s --quantize int8 --tokenizer none
    python3 scripts/drafted-tokens.py http://127.0.0.1:8080 [TOKENS [ROUNDS]]

Runs with `speculation` "off" and "auto" alternate. Greedy texts of random weights begin to repeat themselves; at
temperature 1 they do not. The texts of both are compared: they have to be the same.
"""

import concurrent.futures
import json
import statistics
import sys
import time
import urllib.request

SOURCE_TOKENS = 200
CASES = [
    ("repeats itself", 1, {"temperature": 0}),
    ("copies nothing", 1, {"temperature": 1, "seed": 7}),
    ("copies nothing", 32, {"temperature": 1, "seed": 7}),
]


def ask(url, body):
    """The answer to a completion."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def run(url, bodies):
    """Tokens/s of requests that run at once, their token ids, and the drafted tokens that were right and wrong."""
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as clients:
        answers = list(clients.map(lambda body: ask(url, body), bodies))
    seconds = time.monotonic() - start
    usages = [answer["usage"] for answer in answers]
    details = [usage.get("completion_tokens_details", {}) for usage in usages]
    drafts = [sum(one.get(f"{kind}_prediction_tokens", 0) for one in details) for kind in ("accepted", "rejected")]
    ids = [choice["token_ids"] for answer in answers for choice in answer["choices"]]
    return sum(usage["completion_tokens"] for usage in usages) / seconds, ids, drafts


def main(url, tokens="120", rounds="3"):
    """Prints one line for each case."""
    source = [2] + [index * 7919 % 3000 + 100 for index in range(SOURCE_TOKENS - 1)]
    asked = {"max_tokens": int(tokens), "ignore_eos": True, "return_token_ids": True}
    for text, batch, sampling in CASES:
        rates, ids, drafts = {"off": [], "auto": []}, {}, []
        for _ in range(int(rounds)):
            for mode in rates:
                prompts = [source[:1] + source[1 + number :] for number in range(batch)]
                bodies = [{**asked, **sampling, "prompt": prompt, "speculation": mode} for prompt in prompts]
                rate, ids[mode], drafts = run(url, bodies)
                rates[mode].append(rate)
        off, auto = (statistics.median(rates[mode]) for mode in ("off", "auto"))
        same = "the same tokens" if ids["off"] == ids["auto"] else "OTHER TOKENS"
        accepted, rejected = drafts
        print(f"{text}, {batch} at once: off {off:.0f}, auto {auto:.0f}, ratio {auto / off:.2f}, {same}, "
              f"accepted {accepted}, rejected {rejected}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
