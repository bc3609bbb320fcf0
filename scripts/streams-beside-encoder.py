"""Measures what a flood of encoder requests does to running streams, and what the streams leave of it. Prints the
figures of three phases as JSON: streams alone, the flood alone, and both together.

    python3 scripts/streams-beside-encoder.py http://127.0.0.1:8080 [STREAMS [CLIENTS [TOKENS [SECONDS]]]]

STREAMS clients read streams of 128 tokens of /v1/completions, one after the other; the wait between two tokens of a
stream is what their readers see. CLIENTS clients send one text of TOKENS tokens each to /v1/embeddings, again and
again. A phase counts SECONDS seconds, after two that warm up.

Needs nothing but Python, and a server that takes token ids of a vocabulary of at least 4000 and targets of 128 tokens.
Each kind of client has a process of its own. Beside the server, they take part of the same cores, and the smaller the
model is, the more of them.
"""
import http.client
import json
import multiprocessing
import queue
import sys
import threading
import time
import urllib.parse

HEADERS = {"content-type": "application/json"}
WARM_UP = 2
STREAM_TOKENS = 128


def text(number, tokens):
    return [10 + (number * 7919 + index * 104729) % 3900 for index in range(tokens)]


def ask(connection, path, body):
    connection.request("POST", path, json.dumps(body), HEADERS)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{path}: {response.status}: {response.read().decode()}")
    return response


def streams_of_one(address, number, until, events):
    """Adds each token of one stream after the other to the events: seconds since the token before it, and its time."""
    connection = http.client.HTTPConnection(address, timeout=600)
    count = 0
    while time.monotonic() < until:
        count += 1
        # Every stream has a source of its own, which no other has left encoded.
        body = {"prompt": text(number + 1000 * count, 32), "max_tokens": STREAM_TOKENS, "ignore_eos": True,
                "temperature": 0, "stream": True}
        response = ask(connection, "/v1/completions", body)
        before = None
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            now = time.monotonic()
            events.append((None if before is None else now - before, now))
            before = now


def texts_of_one(address, number, tokens, until, events):
    """Adds each answer about a text to the events: the seconds that it took, and its time."""
    connection = http.client.HTTPConnection(address, timeout=600)
    body = {"input": text(number, tokens), "encoding_format": "base64"}
    while time.monotonic() < until:
        start = time.monotonic()
        ask(connection, "/v1/embeddings", body).read()
        now = time.monotonic()
        events.append((now - start, now))


def run(client, arguments, count, seconds, result):
    """Runs so many clients at once, and gives the events after the time to warm up."""
    start = time.monotonic()
    counted, until = start + WARM_UP, start + WARM_UP + seconds
    events = [[] for _ in range(count)]
    threads = [threading.Thread(target=client, args=(*arguments[:1], number, *arguments[1:], until, events[number]))
               for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.put([waited for own in events for waited, when in own if counted <= when < until])


def figures(name, waits, seconds):
    times = sorted(wait for wait in waits if wait is not None)
    if not times:
        raise SystemExit(f"no {name} came in {seconds} seconds: give more")
    at = lambda share: round(1e3 * times[min(len(times) - 1, int(share * len(times)))], 1)
    return {f"{name}_per_s": round(len(waits) / seconds, 1),
            "wait_ms": {"median": at(0.5), "p95": at(0.95), "p99": at(0.99), "longest": at(1)}}


def main():
    address = urllib.parse.urlparse(sys.argv[1]).netloc
    given = (*sys.argv[2:], *["8", "32", "128", "20"][len(sys.argv) - 2:])
    streams, clients, tokens, seconds = map(int, given)
    kinds = {"tokens": (streams_of_one, (address,), streams), "texts": (texts_of_one, (address, tokens), clients)}
    printed = {"streams": streams, "clients": clients, "tokens_of_a_text": tokens, "seconds": seconds}
    for phase, names in [("streams_alone", ["tokens"]), ("flood_alone", ["texts"]), ("together", ["tokens", "texts"])]:
        results = {name: multiprocessing.Queue() for name in names}
        processes = [
            multiprocessing.Process(target=run, args=(*kinds[name], seconds, results[name])) for name in names
        ]
        for process in processes:
            process.start()
        waits = {}
        for name in names:
            while name not in waits:
                try:
                    waits[name] = results[name].get(timeout=1)
                except queue.Empty:
                    if not any(process.is_alive() for process in processes):
                        raise SystemExit("a client failed: see above")
        for process in processes:
            process.join()
        printed[phase] = {name: figures(name, waits[name], seconds) for name in names}
    print(json.dumps(printed, indent=1))


main()
