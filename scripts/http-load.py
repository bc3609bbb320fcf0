"""Sends the requests of `server bench --mixed`, all at once, to a server that takes token ids; prints the rate as JSON.

    python3 scripts/http-load.py http://127.0.0.1:8080 [REQUESTS]

Needs nothing but Python. The requests are sent twice, the first time to warm up.
"""
import concurrent.futures
import http.client
import json
import sys
import time
import urllib.parse

MASK = (1 << 64) - 1


def lengths(index):
    return 32 + index * 331 % 833, 16 + index * 151 % 97


def source(number, length, vocab):
    state, ids = number << 32, []
    for _ in range(length):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        ids.append((10 + (mixed >> 27) % (vocab - 10)) % vocab)
    return ids


def ask(address, body):
    connection = http.client.HTTPConnection(address, timeout=600)
    connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {text.decode()}")
    return len(json.loads(text)["choices"][0]["token_ids"])


def run(address, bodies):
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        tokens = sum(pool.map(lambda body: ask(address, body), bodies))
    return time.perf_counter() - start, tokens


def main():
    address = urllib.parse.urlparse(sys.argv[1]).netloc
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 256

    def body(round, index):
        source_len, target_len = lengths(index)
        return json.dumps({"prompt": source(round * count + index, source_len, 256000), "max_tokens": target_len,
                           "temperature": 0, "ignore_eos": True, "return_token_ids": True})

    for round in range(2):
        seconds, tokens = run(address, [body(round, index) for index in range(count)])
    assert tokens == sum(lengths(index)[1] for index in range(count)), tokens
    figures = {"requests": count, "target_tokens": tokens, "seconds": seconds, "target_tokens_per_s": tokens / seconds}
    print(json.dumps(figures))


main()
