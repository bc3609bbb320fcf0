#!/usr/bin/env python3
"""Restarts two servers behind HAProxy in turn, under short requests and a long stream, and counts what failed.

    scripts/rolling-restart.py SERVER [--delay SECONDS] [--rounds COUNT]

HAProxy (Debian's package) checks /ready every two seconds and gives a server up after three failures; it repeats no
request. Everything listens on loopback. Prints one JSON object; exits 1 when a request failed.
"""
import argparse
import http.client
import json
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

HAPROXY = """
global
    maxconn 256
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{front}
    default_backend servers
backend servers
    option httpchk GET /ready
    http-check expect status 200
    default-server check inter 2s fall 3 rise 1
    server a 127.0.0.1:{a}
    server b 127.0.0.1:{b}
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ready(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise SystemExit("it did not come up")
        time.sleep(0.05)


class Server:
    def __init__(self, binary, port, settings):
        options = ["--port", str(port), "--threads", "1", "--config", settings, "--log-level", "warn"]
        self.command = [binary, "serve", *options]
        self.port = port
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        wait_for(lambda: ready(self.port))

    def restart(self):
        self.process.terminate()
        code = self.process.wait()
        if code != 0:
            raise SystemExit(f"a server ended with {code}")
        self.start()


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, port):
        self.port, self.stop, self.lock = port, False, threading.Lock()
        self.answered, self.failed = 0, []
        self.threads = [threading.Thread(target=self.ask, args=(self.short, 0.02)) for _ in range(4)]
        self.threads.append(threading.Thread(target=self.ask, args=(self.stream, 0)))
        for thread in self.threads:
            thread.start()

    def ask(self, kind, pause):
        while not self.stop:
            try:
                problem = kind()
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
            with self.lock:
                self.answered += problem is None
                if problem is not None:
                    self.failed.append(problem)
            time.sleep(pause)

    def request(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def short(self):
        status, text = self.request({"prompt": "a small library", "max_tokens": 4, "temperature": 0})
        return None if status == 200 else f"{status}: {text[:120]}"

    def stream(self):
        body = {"prompt": "a small library", "max_tokens": 900, "n": 4, "ignore_eos": True, "stream": True}
        status, text = self.request(body)
        return None if status == 200 and text.endswith("data: [DONE]\n\n") else f"stream {status}: {text[-120:]}"

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--delay", type=int, default=None, help="drain_delay_s; the default of config.toml without")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        settings = folder / "server.toml"
        settings.write_text("" if asked.delay is None else f"[server]\ndrain_delay_s = {asked.delay}\n")
        front, a, b = free_port(), free_port(), free_port()
        (folder / "haproxy.cfg").write_text(HAPROXY.format(front=front, a=a, b=b))
        servers = [Server(asked.server, port, settings) for port in (a, b)]
        proxy = subprocess.Popen(["haproxy", "-db", "-f", folder / "haproxy.cfg"], stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: ready(front))
            load = Load(front)
            for _ in range(asked.rounds):
                for server in servers:
                    server.restart()
                    # The proxy has to see it again before the other one goes.
                    time.sleep(5)
            load.end()
        finally:
            proxy.kill()
            for server in servers:
                server.process.terminate()
        print(json.dumps({
            "drain_delay_s": asked.delay, "restarts": 2 * asked.rounds, "answered": load.answered,
            "failed": len(load.failed), "problems": sorted(set(load.failed))[:5],
        }))
        raise SystemExit(1 if load.failed else 0)


if __name__ == "__main__":
    main()
