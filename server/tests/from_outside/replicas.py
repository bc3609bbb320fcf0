"""Three replicas of the server behind HAProxy and nginx, with the files of deploy/, for tests of both.

Needs haproxy and nginx (Debian's packages), and the programs `server` and `loadtest` that `cargo build` makes, or
those that `ENCDEC_SERVER` and `ENCDEC_LOADTEST` name.
"""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from running_server import ROOT, Server

COUNT = 3
LOADTEST = os.environ.get("ENCDEC_LOADTEST", str(ROOT / "target/debug/loadtest"))
# What HAProxy has in the place of its hash to send to one replica after the other.
IN_TURN = {"balance hash var(txn.source)": "balance roundrobin"}
# What it has in the place of its bound, so that the hash alone decides.
UNBOUND = {"hash-balance-factor 200": "hash-balance-factor 0"}
SETTINGS = """
[server]
drain_delay_s = 1
[telemetry]
vllm_metric_names = true
[model]
threads = 1
[limits]
running_rows = 8
request_rows = 8
"""


def free_ports(count):
    """Ports that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError("it did not come to pass in time")
        time.sleep(0.02)


def ready(port):
    """Whether it answers there that it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def connect(port, body, headers=None):
    """A connection on which a completion was asked for; its answer has not begun."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"content-type": "application/json", **(headers or {})}
    connection.request("POST", "/v1/completions", json.dumps(body), headers)
    return connection


def complete(port, body, headers=None):
    """Status and body of a completion."""
    with contextlib.closing(connect(port, body, headers)) as connection:
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


class Replica:
    """One server that keeps its port when it is restarted."""

    def __init__(self, port, settings):
        self.port, self.settings = port, settings
        self.start()

    def start(self):
        self.server = Server(self.settings, self.port)
        wait_for(lambda: ready(self.port))

    def restart(self):
        """Ends it as an orchestrator does, and starts it again; gives the exit code."""
        self.server.process.send_signal(signal.SIGTERM)
        code = self.server.process.wait(timeout=60)
        self.server.stop()
        self.start()
        return code

    def samples(self):
        """Samples of its metrics: name, labels, value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = (re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? (\S+)", line) for line in lines if not line.startswith("#"))
        return [(one[1], dict(re.findall(r'(\w+)="([^"]*)"', one[2] or "")), float(one[3])) for one in found]

    def value(self, name, **labels):
        """Value of the first sample with these labels."""
        return next(value for own, has, value in self.samples() if own == name and labels.items() <= has.items())


@contextlib.contextmanager
def replicas(settings=SETTINGS):
    """Replicas that are ready."""
    with contextlib.ExitStack() as stack:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            started = list(pool.map(lambda port: Replica(port, settings), free_ports(COUNT)))
        for one in started:
            stack.callback(lambda one=one: one.server.stop())
        yield started


@contextlib.contextmanager
def haproxy(behind, changes=None):
    """Port of HAProxy with its file of deploy/, whose checks are made five times as often, and further changes: what
    stands in the place of a text."""
    text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    text = replaced(text, {"inter 1s": "inter 200ms", **(changes or {})})
    [port] = free_ports(1)
    names = {f"ENCDEC_REPLICA_{place}": f"127.0.0.1:{one.port}" for place, one in enumerate(behind, 1)}
    with proxy(text, ["haproxy", "-q", "-db", "-f"], port, {**names, "ENCDEC_LISTEN": f"127.0.0.1:{port}"}):
        yield port


@contextlib.contextmanager
def nginx(behind, changes=None):
    """Port of nginx with its file of deploy/ and changes: what stands in the place of a text."""
    [port] = free_ports(1)
    places = {f"server 10.0.0.{place}:8080": f"server 127.0.0.1:{one.port}" for place, one in enumerate(behind, 1)}
    own = {"listen 8080;": f"listen 127.0.0.1:{port};", "/run/nginx-encdec.pid": f"/tmp/nginx-encdec-{port}.pid"}
    text = replaced((ROOT / "deploy/nginx/nginx.conf").read_text(), {**places, **own, **(changes or {})})
    with proxy(text, ["nginx", "-e", "stderr", "-g", "daemon off;", "-c"], port):
        yield port


@contextlib.contextmanager
def proxy(text, command, port, environment=None):
    """Runs a proxy with a file of this text until it passes requests on."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "proxy.conf")
        file.write_text(text)
        with open(pathlib.Path(folder, "log"), "w+", encoding="utf-8") as log:
            process = subprocess.Popen([*command, str(file)], env={**os.environ, **(environment or {})},
                                       stdout=subprocess.DEVNULL, stderr=log)
            try:
                wait_for(lambda: ready(port) or process.poll() is not None)
                log.seek(0)
                assert process.poll() is None, log.read()
                yield
            finally:
                process.terminate()
                process.wait(timeout=30)


def replaced(text, changes):
    """The text with something else in the place of what it has."""
    for old, new in changes.items():
        assert old in text, f"{old} is not there"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def load(port, scenario, to_its_end=False):
    """Puts the load of a scenario (a text) on a proxy, until it is left or to the load's end; the dictionary that it
    gives has the figures afterwards."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        file, out = pathlib.Path(folder, "load.toml"), pathlib.Path(folder, "out.json")
        file.write_text(scenario)
        command = [LOADTEST, "--scenario", file, "--url", f"http://127.0.0.1:{port}", "--metrics", "off", "--quiet",
                   "--json", out]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield figures
        finally:
            if not to_its_end:
                # It sends no more, and waits for the answers under way.
                process.send_signal(signal.SIGINT)
            process.wait(timeout=None if to_its_end else 60)
        figures.update(json.loads(out.read_text()))
