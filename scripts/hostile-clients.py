#!/usr/bin/env python3
"""Attacks a server of the demo on loopback, and prints what other clients notice as one JSON object.

    scripts/hostile-clients.py SERVER

A request of 64 prompts with n = 16 beside short ones; twelve clients that never read answers of many log-probabilities;
500 silent connections. About half a minute.
"""
import argparse
import http.client
import json
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import threading
import time

SHORT = {"prompt": "a small library", "max_tokens": 4, "temperature": 0}
MANY = {"prompt": [f"text number {index}" for index in range(64)], "n": 16, "max_tokens": 64, "ignore_eos": True}
LARGE = {"prompt": "a", "n": 16, "max_tokens": 900, "ignore_eos": True, "logprobs": 20}


def connection(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=120)


def milliseconds(port, path, body=None):
    began = time.monotonic()
    client = connection(port)
    client.request("POST" if body else "GET", path, json.dumps(body) if body else None)
    answer = client.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status}")
    return (time.monotonic() - began) * 1e3


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) >> 10


def beside_many(port):
    alone = [milliseconds(port, "/v1/completions", SHORT) for _ in range(20)]
    many = threading.Thread(target=milliseconds, args=(port, "/v1/completions", MANY))
    many.start()
    time.sleep(0.3)
    beside = []
    while many.is_alive():
        beside.append(milliseconds(port, "/v1/completions", SHORT))
        time.sleep(0.01)
    return {"alone_ms": statistics.median(alone), "beside_ms": statistics.median(beside), "beside_most_ms": max(beside)}


def unread(port, process):
    before, peak, clients = resident_mib(process), 0, []
    body = json.dumps(LARGE).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
    for _ in range(12):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(head + body)
        clients.append(client)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        peak = max(peak, resident_mib(process))
        time.sleep(0.1)
    health = milliseconds(port, "/health")
    for client in clients:
        client.close()
    return {"before_mib": before, "peak_mib": peak, "health_ms": health}


def silent(port):
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(500)]
    health = milliseconds(port, "/health")
    for client in clients:
        client.close()
    return {"health_ms": health}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings, log = pathlib.Path(folder, "server.toml"), pathlib.Path(folder, "log")
        settings.write_text("[server]\ndrain_delay_s = 0\n")
        with log.open("w") as stderr:
            process = subprocess.Popen([asked.server, "serve", "--port", "0", "--config", settings], stderr=stderr)
        try:
            listens = None
            while not listens:
                time.sleep(0.05)
                listens = re.search(r" listens on http://127\.0\.0\.1:(\d+)", log.read_text())
            port = int(listens.group(1))
            print(json.dumps({
                "many_sequences": beside_many(port),
                "unread_answers": unread(port, process),
                "silent_connections": silent(port),
            }, indent=1))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
