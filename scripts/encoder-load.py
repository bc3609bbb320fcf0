"""Measures how well small requests fill encoder batches: texts/s of many concurrent requests of one text each, against
one request with all the texts. Prints the figures as JSON.

    python3 scripts/encoder-load.py http://127.0.0.1:8080 [CONCURRENCY [TOKENS [ROUNDS]]]

Needs nothing but Python, and a server that takes token ids of a vocabulary of at least 4000. Connections are kept
alive, as clients of a service keep them. Both ways send the same texts, the first round to warm up.
"""
import http.client
import json
import statistics
import sys
import threading
import time
import urllib.parse

HEADERS = {"content-type": "application/json"}


def text(number, tokens):
    return [10 + (number * 7919 + index * 104729) % 3900 for index in range(tokens)]


def embed(connection, inputs):
    connection.request("POST", "/v1/embeddings", json.dumps({"input": inputs, "encoding_format": "base64"}), HEADERS)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {body.decode()}")
    return body


def together(address, texts, rounds):
    """Texts/s of requests with all texts, one after the other; the median of the rounds."""
    connection = http.client.HTTPConnection(address, timeout=600)
    rates = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        embed(connection, texts)
        rates.append(len(texts) / (time.perf_counter() - start))
    return statistics.median(rates[1:])


def concurrent(address, texts, rounds):
    """Texts/s of as many clients as there are texts, each of which sends its text again and again."""
    barrier = threading.Barrier(len(texts) + 1)

    def client(own):
        connection = http.client.HTTPConnection(address, timeout=600)
        embed(connection, own)
        barrier.wait()
        for _ in range(rounds):
            embed(connection, own)
        barrier.wait()

    threads = [threading.Thread(target=client, args=(own,)) for own in texts]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - start
    for thread in threads:
        thread.join()
    return len(texts) * rounds / seconds


def main():
    address = urllib.parse.urlparse(sys.argv[1]).netloc
    clients, tokens, rounds = (int(given) for given in (*sys.argv[2:], *["64", "32", "8"][len(sys.argv) - 2:]))
    texts = [text(number, tokens) for number in range(clients)]
    whole, single = together(address, texts, rounds), concurrent(address, texts, rounds)
    figures = {"clients": clients, "tokens": tokens, "texts_per_s_in_one_request": whole,
               "texts_per_s_concurrent": single, "ratio": single / whole}
    print(json.dumps(figures))


main()
