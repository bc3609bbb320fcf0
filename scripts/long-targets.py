#!/usr/bin/env python3
"""How many long targets run at once in a page pool, how long they take, and what memory they fill.

    long-targets.py SERVER_BINARY [--shape 2-270m] [--requests 4] [--tokens 8192] [--pool-mib 256]

Starts the server with random int8 weights of the shape and asks for the targets, all at once, of sources of 256 tokens.
Prints a line of JSON: seconds until the last answer, target tokens/s, targets that ran at once in the mean,
preemptions, and how much the resident memory grew, in MiB. Standard library only, Linux.
"""
import argparse
import concurrent.futures
import http.client
import json
import re
import subprocess
import tempfile
import threading
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--shape", default="2-270m")
    parser.add_argument("--requests", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--pool-mib", type=int, default=256)
    return parser.parse_args()


def started(asked, folder):
    """A server on a port of its own choice, and its address."""
    config = f"{folder}/config.toml"
    with open(config, "w") as file:
        file.write(f"[limits]\ntarget_tokens = {asked.tokens + 1}\npage_pool_bytes = {asked.pool_mib << 20}\n")
    command = [asked.server, "serve", "--config", config, "--shape", asked.shape, "--quantize", "int8", "--tokenizer",
               "none", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        found = re.search(r"listens on http://(\S+:\d+)", line)
        if found:
            threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
            return server, found[1]
    raise SystemExit(f"the server ended with status {server.wait()}")


def ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=3600)
    connection.request(method, path, body, {"content-type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {text}")
    return text


def metric(text, name):
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024


def answered(address, request, tokens):
    source = [10 + (request * 7919 + place * 104729) % 250000 for place in range(256)]
    body = {"prompt": source, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    answer = json.loads(ask(address, "POST", "/v1/completions", json.dumps(body)))
    return len(answer["choices"][0]["token_ids"])


def main():
    asked = arguments()
    with tempfile.TemporaryDirectory() as folder:
        server, address = started(asked, folder)
        try:
            answered(address, asked.requests, 4)
            begin, before = time.perf_counter(), resident_mib(server.pid)
            with concurrent.futures.ThreadPoolExecutor(asked.requests) as pool:
                answers = [pool.submit(answered, address, request, asked.tokens) for request in range(asked.requests)]
                running, resident = [], before
                while concurrent.futures.wait(answers, timeout=1).not_done:
                    running.append(metric(ask(address, "GET", "/metrics"), "encdec_running_rows"))
                    resident = max(resident, resident_mib(server.pid))
                tokens = sum(answer.result() for answer in answers)
            seconds = time.perf_counter() - begin
            preemptions = metric(ask(address, "GET", "/metrics"), "encdec_preemptions_total")
        finally:
            server.terminate()
            server.wait()
    print(json.dumps({
        "shape": asked.shape, "requests": asked.requests, "tokens": asked.tokens, "pool_mib": asked.pool_mib,
        "seconds": round(seconds, 1), "tokens_per_s": round(tokens / seconds, 1),
        "mean_running": round(sum(running) / max(1, len(running)), 2), "preemptions": preemptions,
        "resident_growth_mib": round(resident - before),
    }))


main()
