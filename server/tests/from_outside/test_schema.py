"""The server's own description, against which its answers are held: it is valid OpenAPI 3.1, and no generated request
gets an answer that it does not describe, or an error of the server itself.

Needs schemathesis and openapi-spec-validator, in the versions of schema-requirements.txt. Run by schema.sh.
"""
import hashlib
import json
import pathlib
import subprocess
import sys
import unittest
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from running_server import Server

# All checks but `positive_data_acceptance`: a request that is in order for the description may still be refused. Some
# rules compare numbers or counts (`min_tokens` with `max_tokens`, prompts times `n`, `text_1` with `text_2`), some need
# the model (ids within its vocabulary, texts no longer than its source), and JSON Schema can say neither. As long as
# any such rule is left, the check fails, so rules that a schema could say (`stream_options` only with `stream`) would
# not make it pass.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
]
# Small answers, so that many requests fit into the time.
SETTINGS = """
[model]
dtype = "f32"
[limits]
target_tokens = 64
source_tokens = 512
choices = 2
prompts = 4
queue_timeout_s = 10
"""
SECONDS = 50
# A request may ask for its answer within a millisecond: 504 is the right answer to that.
CONFIGURATION = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""

SECRET = "sk-encdec-test"
KEYS = {"ENCDEC_API_KEYS": "test:" + hashlib.sha256(SECRET.encode()).hexdigest()}


class Description(unittest.TestCase):
    def setUp(self):
        self.server = Server(SETTINGS, environment=KEYS)
        self.addCleanup(self.server.stop)

    def test_it_is_valid_and_has_every_path(self):
        request = urllib.request.Request(self.server.address + "/openapi.json",
                                         headers={"authorization": "Bearer " + SECRET})
        with urllib.request.urlopen(request) as answer:
            description = json.load(answer)
        validate(description, cls=OpenAPIV31SpecValidator)
        self.assertEqual(description["openapi"], "3.1.0")
        self.assertIn("/v1/completions", description["paths"])

    def test_generated_requests_get_the_described_answers(self):
        command = [
            str(pathlib.Path(sys.executable).with_name("schemathesis")),
            "run",
            self.server.address + "/openapi.json",
            "--header=Authorization: Bearer " + SECRET,
            "--checks=" + ",".join(CHECKS),
            "--phases=examples,coverage,fuzzing",
            "--max-examples=40",
            f"--max-time={SECONDS}",
            "--request-timeout=20",
            "--seed=1",
            "--no-color",
        ]
        # It reads its configuration where it runs, and keeps there what it found.
        pathlib.Path(self.server.folder.name, "schemathesis.toml").write_text(CONFIGURATION, encoding="utf-8")
        found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                               cwd=self.server.folder.name)
        self.assertEqual(found.returncode, 0, found.stdout[-8000:])


if __name__ == "__main__":
    unittest.main()
