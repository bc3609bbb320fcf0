"""The dashboard and the rules under deploy/, against a real Prometheus: the rules are valid and alert when they should,
and under load every expression of the dashboard and of the rules returns data.

Needs prometheus and promtool on the path, and the programs that `cargo build` makes. Run by monitoring.sh.
"""
import http.server
import json
import math
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from running_server import ROOT, Server

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus"
LOADTEST = os.environ.get("ENCDEC_LOADTEST", str(ROOT / "target/debug/loadtest"))
# Everything that a metric is about happens within seconds: searches, forms, drafts, encodings.
SETTINGS = """
[server]
drain_delay_s = 0
[model]
dtype = "f32"
threads = 1
[telemetry]
vllm_metric_names = true
otlp_endpoint = "COLLECTOR"
"""
# As many requests on a busy machine as on an idle one, so that each kind is among them.
LOAD = """
url = "URL"
[load]
requests = 60
stages = [{ seconds = 60, clients = 3 }]
[[requests]]
name = "repeated"
source_tokens = 40
max_tokens = 12
repeated = 0.5
repeated_sources = 2
[[requests]]
name = "beams"
source_tokens = 30
max_tokens = 6
beams = 3
[[requests]]
name = "forms"
source_tokens = 20
max_tokens = 8
extra = { structured_outputs = { regex = "[a-z ]{1,40}" } }
[[requests]]
name = "vectors"
endpoint = "embeddings"
source_tokens = 30
"""
# A busy machine takes some tenths of a second for an answer, and no scrape may take longer than its interval.
SCRAPE = "500ms"
PATIENCE = 20


def rules():
    """Every rule as `promtool` understands the files: kind, name, expression."""
    # No YAML reader comes with Python; these files have one key on a line, and folded texts.
    found = []
    for name in ["recording-rules.yml", "alerts.yml"]:
        text = (RULES / name).read_text()
        for block in re.split(r"\n {6}- ", text)[1:]:
            kind, rule = re.match(r"(record|alert): (\S+)", block).groups()
            expression = re.search(r"\n {8}expr: (?:>-\n((?: {10}.*(?:\n|$))+)|(.*))", block)
            found.append((kind, rule, " ".join((expression.group(1) or expression.group(2)).split())))
    return found


def panels():
    """Every expression of the dashboard, with its variables set to everything."""
    dashboard = json.loads((DEPLOY / "grafana/encdec.json").read_text())
    values = {"$instance": ".*", "$model": ".*", "$__rate_interval": "1m"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in values.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def sides(expression):
    """What an alert compares with its thresholds, each without the threshold."""
    for condition in re.split(r"\s+and\s+(?=sum|encdec|process|up|rate|deriv)", expression):
        compared = re.fullmatch(r"(.*) (?:>|<|==) [0-9.e+-]+", condition)
        if not compared:
            raise AssertionError(f"a condition without a threshold: {condition}")
        yield compared.group(1)


def tool(*arguments):
    return subprocess.run(["promtool", *arguments], cwd=RULES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Collector(http.server.ThreadingHTTPServer):
    """Takes traces, and keeps their bytes."""

    def __init__(self):
        self.received = []
        received = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append((self.path, self.headers["content-type"], body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Prometheus:
    """Prometheus on a port of its own, with the rules of this repository and `target` as its only server."""

    def __init__(self, target):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        config = (RULES / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:8080", target).replace("15s", SCRAPE)
        for name in ["recording-rules.yml", "alerts.yml"]:
            config = config.replace(f"- {name}", f"- {RULES / name}")
        (folder / "prometheus.yml").write_text(config)
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=self.log, stderr=subprocess.STDOUT)
        began = time.monotonic()
        while not self.answers("/-/ready"):
            if self.process.poll() is not None or time.monotonic() - began > PATIENCE:
                self.log.seek(0)
                raise SystemExit("Prometheus did not start:\n" + self.log.read())
            time.sleep(0.05)

    def answers(self, path):
        try:
            with urllib.request.urlopen(self.address + path, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def query(self, expression):
        """The values of an instant query."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.address}/api/v1/query?{query}", timeout=10) as answer:
            return [float(sample["value"][1]) for sample in json.load(answer)["data"]["result"]]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)
        self.log.close()
        self.folder.cleanup()


class Files(unittest.TestCase):
    def test_configuration_and_rules_are_valid(self):
        for arguments in [("check", "config", "prometheus.yml"), ("check", "rules", "recording-rules.yml"),
                          ("check", "rules", "alerts.yml")]:
            checked = tool(*arguments)
            self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_every_alert_fires_when_it_should_and_none_without_a_reason(self):
        tested = tool("test", "rules", "alerts-test.yml")
        self.assertEqual(tested.returncode, 0, tested.stdout)
        cases = (RULES / "alerts-test.yml").read_text()
        for kind, name, _ in rules():
            if kind == "alert":
                self.assertIn(f'alertname="{name}"', cases)

    def test_every_alert_has_its_place_in_the_run_book(self):
        page = (ROOT / "docs/operations.md").read_text()
        described = re.findall(r"^### (Encdec\w+)$", page, re.MULTILINE)
        alerts = [name for kind, name, _ in rules() if kind == "alert"]
        self.assertEqual(described, alerts)
        linked = re.findall(r"runbook: docs/operations\.md#(\S+)", (RULES / "alerts.yml").read_text())
        self.assertEqual(linked, [name.lower() for name in alerts])

    def test_panels_do_not_overlap_and_have_ids_of_their_own(self):
        dashboard = json.loads((DEPLOY / "grafana/encdec.json").read_text())
        places, ids = set(), set()
        for panel in dashboard["panels"]:
            self.assertNotIn(panel["id"], ids)
            ids.add(panel["id"])
            grid = panel["gridPos"]
            cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                     for y in range(grid["y"], grid["y"] + grid["h"])}
            self.assertFalse(cells & places, panel["title"])
            self.assertTrue(all(x < 24 for x, _ in cells), panel["title"])
            places |= cells


class UnderLoad(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        port = free_port()
        # It takes five seconds to begin with its targets, in which the server starts.
        cls.prometheus = Prometheus(f"127.0.0.1:{port}")
        cls.addClassCleanup(cls.prometheus.stop)
        cls.collector = Collector()
        cls.addClassCleanup(cls.collector.stop)
        settings = SETTINGS.replace("COLLECTOR", f"http://127.0.0.1:{cls.collector.server_port}")
        cls.server = Server(settings, port=port)
        cls.addClassCleanup(cls.server.stop)
        began = time.monotonic()
        while 1 not in cls.prometheus.query("up"):
            assert time.monotonic() - began < PATIENCE, "Prometheus does not ask the server"
            time.sleep(0.1)
        scenario = pathlib.Path(cls.server.folder.name, "load.toml")
        scenario.write_text(LOAD.replace("URL", cls.server.address))
        cls.load = subprocess.run([LOADTEST, "--scenario", scenario], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=120)
        # A refusal, so that errors by code have a value; the last samples are taken in twice.
        try:
            urllib.request.urlopen(cls.server.address + "/v1/completions", data=b"no JSON", timeout=10)
        except urllib.error.HTTPError as refused:
            assert refused.code == 400, refused
        time.sleep(1)

    def data(self, expression):
        """Waits until the expression has a value that is a number."""
        began = time.monotonic()
        while True:
            values = self.prometheus.query(expression)
            if any(not math.isnan(value) for value in values) or time.monotonic() - began > 1:
                return values
            time.sleep(0.2)

    def assert_data(self, name, expression):
        with self.subTest(name, expression=expression):
            values = self.data(expression)
            self.assertTrue(any(not math.isnan(value) for value in values), values)

    def test_the_load_was_answered(self):
        self.assertEqual(self.load.returncode, 0, self.load.stdout)

    def test_every_panel_of_the_dashboard_has_data(self):
        for title, expression in panels():
            self.assert_data(title, expression)

    def test_every_rule_has_data(self):
        for kind, name, expression in rules():
            if kind == "record":
                self.assert_data(name, name)
            else:
                for side in sides(expression):
                    self.assert_data(name, side)

    def test_vllm_s_names_have_the_same_values(self):
        table = re.findall(r"^\| `(vllm:\w+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
        self.assertGreater(len(table), 20)
        for name in table:
            self.assert_data(name, f'{{__name__=~"{name}(_count)?", model_name="demo"}}')
        differ = 'vllm:generation_tokens_total != on (instance) encdec_generated_tokens_total'
        self.assertEqual(self.prometheus.query(differ), [])

    def test_the_collector_got_a_trace_of_each_request(self):
        began = time.monotonic()
        sent, left = 'encdec_trace_spans_total{outcome="sent"}', 'encdec_trace_spans_total{outcome!="sent"}'
        # Of each request one span at least; a batch lingers for half a second.
        requests = self.prometheus.query("sum(encdec_requests_total)")[0]
        while self.prometheus.query(sent)[0] < requests and time.monotonic() - began < PATIENCE:
            time.sleep(0.2)
        self.assertGreater(self.prometheus.query(sent)[0], requests)
        self.assertEqual(self.prometheus.query(left), [0, 0])
        self.assertEqual({(path, kind) for path, kind, _ in self.collector.received},
                         {("/v1/traces", "application/x-protobuf")})
        spans = b"".join(body for _, _, body in self.collector.received)
        for name in [b"text_completion demo", b"embeddings demo", b"tokenise", b"queue", b"encode", b"first step",
                     b"decode", b"detokenise"]:
            self.assertIn(name, spans)

    def test_no_alert_fires(self):
        self.assertEqual(self.prometheus.query('ALERTS{alertstate="firing"}'), [])


if __name__ == "__main__":
    unittest.main()
