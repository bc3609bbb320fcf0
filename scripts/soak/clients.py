"""Clients of every kind, each with what it expects of the answers to its requests.

A client is a function that sends one round of requests and counts each in the tally: as answered, as refused with a
status that the case allows, as left on purpose, or as a fault. `CLIENTS` names all of them with their usual pause.
"""
import collections
import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
import urllib.parse

from known import BAD, COPIED, KNOWN, LONG, SCHEMA, SOURCE, STREAMED, compared, streamed_texts, texts

# Seconds in which every client has begun its first round.
FIRST_ROUND_S = 8
# Full queues, and answers that wait too long in them. A client whose keys and limits are right gets no other refusal.
OVERLOAD = {429, 503}
# The codes that a 503 of an overloaded server has.
OVERLOAD_CODES = {"queue_timeout", "form_timeout", "overloaded"}


class Fault(Exception):
    """Something that must not be: it ends the round and is counted."""


class Tally:
    """Numbers of requests by client and outcome, and the first faults in words."""

    def __init__(self):
        self.lock = threading.Lock()
        self.outcomes = collections.defaultdict(collections.Counter)
        self.faults = []

    def add(self, client, outcome):
        with self.lock:
            self.outcomes[client][str(outcome)] += 1

    def fault(self, client, text):
        with self.lock:
            self.outcomes[client]["fault"] += 1
            self.faults.append(f"{client}: {text}"[:500])


class Party:
    """A server as one client sees it: address, key, tally, and a random generator of its own."""

    def __init__(self, address, key, tally, name, asked):
        self.address, self.key, self.tally, self.name = urllib.parse.urlparse(address).netloc, key, tally, name
        self.asked = asked
        self.random = random.Random(f"{name} {asked.seed}")
        self.connection = None
        # Answers to the known requests, which `learn` asks for while nobody else does.
        self.answers = {}

    def headers(self):
        return {"content-type": "application/json", "authorization": f"Bearer {self.key}"}

    def ask(self, method, path, body=None, headers=None):
        """Status and body of the answer, over a connection that is kept for most requests."""
        if self.connection is None or self.random.random() < 0.2:
            self.close()
            self.connection = http.client.HTTPConnection(self.address, timeout=self.asked.patience)
        body = json.dumps(body) if isinstance(body, (dict, list)) else body
        try:
            self.connection.request(method, path, body, {**self.headers(), **(headers or {})})
            response = self.connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Fault(f"{method} {path} was not answered: {error!r}") from error

    def post(self, path, body, allowed=OVERLOAD, headers=None):
        """The answer's object, or None for an allowed refusal. Either is counted."""
        status, text = self.ask("POST", path, body, headers)
        if status == 200:
            self.tally.add(self.name, "answered")
            return json.loads(text)
        code = json.loads(text)["error"]["code"]
        if status not in allowed or (status == 503 and allowed is OVERLOAD and code not in OVERLOAD_CODES):
            raise Fault(f"{path} {json.dumps(body)[:200]}: {status} {text.decode()[:200]}")
        self.tally.add(self.name, status)
        return None

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    @contextlib.contextmanager
    def socket(self):
        with socket.create_connection(tuple(self.address.split(":")), timeout=self.asked.patience) as connection:
            yield connection

    def head(self, path, length):
        return (f"POST {path} HTTP/1.1\r\nhost: {self.address}\r\nauthorization: Bearer {self.key}\r\n"
                f"content-length: {length}\r\n\r\n").encode()

    def send(self, connection, path, body):
        """Sends a request by itself, for clients that then do what no HTTP library does."""
        body = json.dumps(body).encode()
        connection.sendall(self.head(path, len(body)) + body)


def learn(party):
    for name, (path, body) in KNOWN.items():
        answer = party.post(path, body, allowed=())
        party.answers[name] = compared(answer)
        if name in STREAMED:
            party.answers[f"{name}, text"] = texts(answer)


def known(party):
    """One known request, whose answer has to be what it was on an idle server."""
    name = party.random.choice(list(KNOWN))
    path, body = KNOWN[name]
    answer = party.post(path, body)
    if answer is not None and compared(answer) != party.answers[name]:
        raise Fault(f"{name}: another answer than alone: {str(compared(answer))[:300]}")


def idle(party):
    """The same in the background, which gives up rows and pages to others."""
    name = party.random.choice(["greedy", "sampled", "drafts", "beams", "many targets", "log-probabilities", "chat"])
    path, body = KNOWN[name]
    answer = party.post(path, body, headers={"priority": "u=7"})
    if answer is not None and compared(answer) != party.answers[name]:
        raise Fault(f"{name} in the background: another answer than alone: {str(compared(answer))[:300]}")


def streams(party):
    """One known request as a stream, to its end."""
    name = party.random.choice(STREAMED)
    path, body = KNOWN[name]
    status, text = party.ask("POST", path, {**body, "stream": True})
    if status in OVERLOAD:
        party.tally.add(party.name, status)
        return
    lines = [line.removeprefix("data: ") for line in text.decode().split("\n") if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    refused = [event["error"] for event in events if event.get("error")]
    if refused and refused[0].get("code") in OVERLOAD_CODES:
        party.tally.add(party.name, refused[0]["code"])
        return
    is_done = lines and (lines[-1] == "[DONE]" or events[-1]["type"] == "response.completed")
    if status != 200 or refused or not is_done:
        raise Fault(f"{name} as a stream: {status} {text.decode()[-300:]}")
    if streamed_texts(events) != party.answers[f"{name}, text"]:
        raise Fault(f"{name} as a stream: another text than whole: {streamed_texts(events)}")
    party.tally.add(party.name, "answered")


def fresh(party):
    """Sources and forms that nobody asked before: the caches of both fill and evict."""
    number = party.random.getrandbits(40)
    kind = party.random.choice(["source", "source", "expression", "schema", "texts"])
    if kind == "source":
        party.post("/v1/completions", {"prompt": f"{number} {LONG}", "max_tokens": 8, "cache_salt": str(number % 3)})
    elif kind == "expression":
        form = {"regex": f"[a-f]{{2,5}}-{number % 10_000}"}
        answer = party.post("/v1/completions", {"prompt": SOURCE, "max_tokens": 40, "structured_outputs": form})
        if answer is not None and not answer["choices"][0]["text"].endswith(f"-{number % 10_000}"):
            raise Fault(f"{form} was answered {answer['choices'][0]['text']!r}")
    elif kind == "schema":
        schema = {**SCHEMA, "title": str(number % 10_000)}
        party.post("/v1/completions", {"prompt": SOURCE, "max_tokens": 60, "structured_outputs": {"json": schema}})
    else:
        inputs = [f"{number} text {index}" for index in range(party.random.randrange(1, 60))]
        answer = party.post("/v1/embeddings", {"input": inputs})
        if answer is not None and len(answer["data"]) != len(inputs):
            raise Fault(f"{len(inputs)} inputs have {len(answer['data'])} vectors")


def deadlines(party):
    """Requests that are of use for some milliseconds only."""
    body = {"prompt": SOURCE, "max_tokens": 200, "ignore_eos": True, "timeout": party.random.uniform(0.001, 0.6)}
    party.post("/v1/completions", body, allowed={429, 503, 504})


def bad(party):
    """Every bad request once, in any order."""
    for name, method, path, body, headers, expected in party.random.sample(BAD, len(BAD)):
        status, text = party.ask(method, path, body, headers)
        # A full queue, and a busy place for trials of forms, may be told before the mistake.
        if status != expected and status not in OVERLOAD:
            raise Fault(f"{name}: {status} instead of {expected}: {text.decode()[:200]}")
        party.tally.add(party.name, status)


def bursts(party):
    """More sequences at once than there are places for."""
    body = {"prompt": f"{party.random.random()} {SOURCE}", "n": 16, "max_tokens": 16, "ignore_eos": True}

    def one():
        with answering(party):
            single = Party(f"http://{party.address}", party.key, party.tally, party.name, party.asked)
            single.post("/v1/completions", body)
            single.close()

    threads = [threading.Thread(target=one) for _ in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def answering(party):
    """Counts what goes wrong in a round; nothing leaves it."""
    try:
        yield
    except Fault as fault:
        party.tally.fault(party.name, str(fault))
    except Exception as error:  # A soak goes on whatever one round meets.
        party.tally.fault(party.name, repr(error))


HEAVY = [
    ("/v1/completions", {"prompt": LONG, "n": 8, "max_tokens": 300, "ignore_eos": True, "stream": True}),
    ("/v1/completions", {"prompt": LONG, "n": 4, "max_tokens": 100, "ignore_eos": True, "logprobs": 20}),
    ("/v1/completions", {"prompt": SOURCE, "use_beam_search": True, "n": 8, "max_tokens": 100, "stream": True}),
    ("/v1/completions", {**COPIED, "max_tokens": 300, "stream": True}),
    KNOWN["schema"], KNOWN["exact choice"], KNOWN["score"], KNOWN["many targets"], KNOWN["response"],
    ("/v1/embeddings", {"input": [f"{LONG} {index}" for index in range(40)]}),
]


def leaves(party):
    """Clients that close their connection, or its sending side, or reset it, at any moment."""
    path, body = party.random.choice(HEAVY)
    with party.socket() as connection:
        party.send(connection, path, body)
        time.sleep(party.random.choice([0, 0.002, 0.02, 0.1, 0.4]))
        way = party.random.choice(["close", "half", "reset", "read"])
        if way == "half":
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        elif way == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif way == "read":
            connection.recv(1000)
    party.tally.add(party.name, "left")


def hinders(party):
    """Clients that send no whole request, or do not take their answer."""
    way = party.random.choice(["silent", "half a head", "half a body", "no HTTP", "unread", "byte by byte", "in a row"])
    with party.socket() as connection:
        if way == "half a head":
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: ")
        elif way == "half a body":
            connection.sendall(party.head("/v1/completions", 1000) + b'{"prompt": "a')
        elif way == "no HTTP":
            connection.sendall(bytes(party.random.randrange(256) for _ in range(200)) + b"\r\n\r\n")
        elif way == "in a row":
            in_a_row(party, connection)
            return
        elif way != "silent":
            party.send(connection, *party.random.choice(HEAVY))
        for _ in range(30):
            time.sleep(0.1)
            if way == "byte by byte" and not connection.recv(1):
                break
    party.tally.add(party.name, "left")


def in_a_row(party, connection):
    """Three requests before the first answer is read."""
    path, body = KNOWN["greedy"]
    for _ in range(3):
        party.send(connection, path, body)
    reader = connection.makefile("rb")
    for _ in range(3):
        status = int(reader.readline().split()[1])
        length = None
        while (line := reader.readline().strip()):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        answer = json.loads(reader.read(length))
        if status == 200 and compared(answer) != party.answers["greedy"] or status not in {200, *OVERLOAD}:
            raise Fault(f"one of three requests in a row: {status} {answer}")
        party.tally.add(party.name, "answered" if status == 200 else status)


def batches(party):
    """A file of requests, its results or its cancelling, and all of it deleted."""
    count = party.random.randrange(1, 40)
    names = [f"r{index}" for index in range(count)]
    path, body = KNOWN[party.random.choice(["greedy", "sampled", "beams", "log-probabilities"])]
    lines = [json.dumps({"custom_id": name, "method": "POST", "url": path, "body": body}) for name in names]
    file = upload(party, "\n".join(lines).encode())
    batch = need(party, "POST", "/v1/batches",
                 {"input_file_id": file["id"], "endpoint": path, "completion_window": "1h"})
    is_cancelled = party.random.random() < 0.3
    if is_cancelled:
        time.sleep(party.random.choice([0, 0.2]))
        status, text = party.ask("POST", f"/v1/batches/{batch['id']}/cancel")
        if status not in {200, 409}:
            raise Fault(f"cancelling a batch: {status} {text.decode()}")
    until = time.monotonic() + 2 * party.asked.patience
    while batch["status"] in ("validating", "in_progress", "finalizing", "cancelling"):
        if time.monotonic() > until:
            raise Fault(f"a batch of {count} requests does not end: {batch}")
        time.sleep(0.2)
        batch = need(party, "GET", f"/v1/batches/{batch['id']}")
    if batch["status"] not in ("completed", *["cancelled"] * is_cancelled):
        raise Fault(f"a batch has ended as {batch}")
    files = [id for id in (batch["output_file_id"], batch["error_file_id"]) if id]
    results = [json.loads(line) for id in files for line in content(party, id).splitlines()]
    if sorted(result["custom_id"] for result in results) != sorted(names):
        raise Fault(f"{count} requests have {len(results)} results")
    for id in [file["id"], *files]:
        need(party, "DELETE", f"/v1/files/{id}")
    party.tally.add(party.name, batch["status"])


def upload(party, data):
    border = b"border-of-parts"
    part = b'--%s\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    body = (part % (border, b"purpose", b"", b"batch") + part % (border, b"file", b'; filename="a.jsonl"', data) +
            b"--%s--\r\n" % border)
    return need(party, "POST", "/v1/files", body, {"content-type": f"multipart/form-data; boundary={border.decode()}"})


def need(party, method, path, body=None, headers=None):
    """The object that such a request is answered with, once there is room for it."""
    for _ in range(100):
        status, text = party.ask(method, path, body, headers)
        if status not in OVERLOAD:
            break
        time.sleep(0.2)
    if status != 200:
        raise Fault(f"{method} {path}: {status} {text.decode()[:300]}")
    return json.loads(text)


def content(party, id):
    status, text = party.ask("GET", f"/v1/files/{id}/content")
    if status != 200:
        raise Fault(f"the content of {id}: {status}")
    return text.decode()


# Clients with the mean seconds between two of their rounds.
CLIENTS = {
    known: 0.3, streams: 0.5, idle: 0.7, fresh: 0.4, deadlines: 0.5, bad: 10, bursts: 25, leaves: 0.4, hinders: 0.5,
    batches: 3,
}


def run(party, client, pause, end):
    """Sends rounds of a client until `end` is set, the first one soon."""
    wait = party.random.uniform(0, FIRST_ROUND_S)
    while not end.wait(wait):
        wait = party.random.expovariate(1 / pause)
        with answering(party):
            client(party)
        # The server closes connections that are idle for long.
        party.close()
