"""Runs a server of the demo under everything at once, and judges what it left. Prints figures as JSON.

    python3 scripts/soak [--seconds 1800] [--rate 8] [--json FILE] [--pool-mib 32] [--patience 180]

`loadtest` sends the mix of scenario.toml, and clients.py what `loadtest` cannot: answers that have to be the same as on
an idle server, bad requests, bursts, clients that leave or hinder, batches, deadlines, keys that change on SIGHUP. Each
second /metrics is read. Exit code 0: everything was answered, or refused as it may be; nothing hung or panicked; at
rest every page, connection, process and descriptor was back; resident memory stayed within 2 % from when the caches
were full (judged in runs of at least ten minutes). The rates have to be below what the server can do: on a machine that
is too slow for them, requests in the background never get their turn.

Needs nothing but Python, and the programs `server` and `loadtest` that `cargo build` makes, or those that
`ENCDEC_SERVER` and `ENCDEC_LOADTEST` name. `ENCDEC_SOAK_SECONDS` is another way to give the seconds.
"""
import argparse
import collections
import contextlib
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1] / "server/tests/from_outside")]
from clients import CLIENTS, Party, Tally, learn, run  # noqa: E402
from running_server import ROOT, Server  # noqa: E402
from watch import (  # noqa: E402
    Watch, at_rest, children, descriptors, log_faults, lost_pages, memory, thread_names, warnings)

LOADTEST = os.environ.get("ENCDEC_LOADTEST", str(ROOT / "target/debug/loadtest"))
SECRETS = {"load": "sk-load", "clients": "sk-clients", "batches": "sk-batches"}
# Small caches, so that they are full soon. Queue and places are those of a usual server.
SETTINGS = """
[server]
drain_delay_s = 0
[access]
keys_file = "{folder}/keys"
reload_interval_s = 0
metrics = "open"
[batches]
folder = "{folder}/batches"
[limits]
page_pool_bytes = {pool}
cached_forms = 24
keep_alive_timeout_s = 5
header_timeout_s = 3
"""
# Shortest run whose memory is judged: after the caches are full, others (of allocators, threads) still settle.
JUDGED_S = 600
MOST_CHANGE_PERCENT = 2
# Seconds in which everything comes to rest: idle threads end after ten, idle connections after five.
REST_S = 40
# Most faults of clients that are printed; the file of `--json` has all.
MOST_TOLD = 40
# Classes of loadtest's errors that an overloaded server may cause.
REFUSALS = {"status_429", "status_503"}


def write_keys(folder, further):
    lines = [f"{name}:{hashlib.sha256(secret.encode()).hexdigest()}" for name, secret in {**SECRETS, **further}.items()]
    pathlib.Path(folder, "keys").write_text("\n".join(lines) + "\n")


def change_keys(folder, server, party):
    """A key that is valid from SIGHUP on, and one that is valid no more."""
    old, new = getattr(party, "latest", None), f"sk-{party.random.getrandbits(64)}"
    write_keys(folder, {"latest": new})
    server.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 10
    while party.ask("GET", "/v1/models", headers={"authorization": f"Bearer {new}"})[0] != 200:
        if time.monotonic() > until:
            raise AssertionError("a new key is not valid ten seconds after SIGHUP")
        time.sleep(0.05)
    if old and party.ask("GET", "/v1/models", headers={"authorization": f"Bearer {old}"})[0] != 401:
        raise AssertionError("a key that was taken away is still valid")
    party.latest = new
    party.tally.add(party.name, "answered")


def start_load(asked, address, folder):
    command = [LOADTEST, "--scenario", str(HERE / "scenario.toml"), "--url", address, "--quiet", "--model", "demo",
               "--rate", str(asked.rate), "--duration", str(asked.seconds), "--timeout", str(asked.patience),
               "--json", f"{folder}/load.json", "--jsonl", f"{folder}/load.jsonl"]
    return subprocess.Popen(command, env={**os.environ, "LOADTEST_API_KEY": SECRETS["load"]},
                            stderr=subprocess.DEVNULL)


def load_figures(asked, folder):
    """What `loadtest` saw, and what of it must not be."""
    file = pathlib.Path(folder, "load.json")
    if not file.exists():
        return {}, ["load: loadtest has written no figures"]
    figures = json.loads(file.read_text())
    keys = ["num_prompts", "completed", "failed", "left", "errors", "request_throughput", "p99_ttft_ms", "p99_e2el_ms"]
    faults = [f"load: {error['count']} x {error['class']}: {error['example']}" for error in figures["errors"]
              if error["class"] not in REFUSALS]
    due = round(asked.rate * asked.seconds)
    if figures["num_prompts"] != due:
        faults.append(f"load: {due} requests were due, and {figures['num_prompts']} ended")
    return {key: figures[key] for key in keys}, faults


def soak(asked, server, folder, tally, before):
    """Loads the server for so many seconds; gives the watch, and what `loadtest` saw."""
    parties = {client: Party(server.address, SECRETS["batches" if client.__name__ == "batches" else "clients"], tally,
                             client.__name__, asked) for client in CLIENTS}
    first = next(iter(parties.values()))
    learn(first)
    # Threads for forms are started with the first form, and stay.
    before["threads"] |= collections.Counter({name: number for name, number in thread_names(server.process.pid).items()
                                              if name.startswith("mask-")})
    for party in parties.values():
        party.answers = first.answers
    keys = Party(server.address, SECRETS["clients"], tally, "keys", asked)
    watch, end = Watch(server.address, server.process.pid), threading.Event()
    load = start_load(asked, server.address, folder)
    threads = [threading.Thread(target=run, args=(party, client, CLIENTS[client] * asked.pause, end))
               for client, party in parties.items()]
    threads.append(threading.Thread(target=run, args=(
        keys, lambda party: change_keys(folder, server, party), 15 * asked.pause, end)))
    for thread in threads:
        thread.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = server.process.wait(timeout=asked.seconds)
        tally.fault("server", f"it has ended in the middle of the load, with {code}")
        load.send_signal(signal.SIGINT)
    end.set()
    for thread in threads:
        # Longer than the longest round: a batch that waits.
        thread.join(timeout=600)
        if thread.is_alive():
            tally.fault("driver", "a client did not come to its end: a request hangs")
    load.wait(timeout=600)
    watch.stop()
    figures, faults = load_figures(asked, folder)
    for fault in faults:
        tally.fault("load", fault)
    return watch, figures


def rest(watch, pid, before, pages):
    """What is not back when the server has been idle for a while."""
    until = time.monotonic() + REST_S
    while True:
        try:
            lacks = at_rest(watch.metrics(), pages)
        except OSError as error:
            return [f"/metrics is not answered: {error!r}"]
        if children(pid):
            lacks.append(f"processes {children(pid)} are left")
        # One more connection may be open than when it was counted first: that of the metrics.
        if descriptors(pid) > before["descriptors"] + 1:
            lacks.append(f"{descriptors(pid)} descriptors are open, {before['descriptors']} were at the start")
        further = thread_names(pid) - before["threads"]
        if further:
            lacks.append(f"threads are left: {dict(further)}")
        if not lacks or time.monotonic() > until:
            return lacks
        time.sleep(0.5)


def judged(asked, figures):
    """What is wrong with a run, in sentences."""
    wrong = figures["faults"][:MOST_TOLD] + figures["log_faults"]
    wrong += [f"at rest: {lack}" for lack in figures["at_rest"]]
    if figures["exit_code"] != 0:
        wrong.append(f"the server has ended with {figures['exit_code']}")
    memory = figures["memory"]
    if asked.seconds >= JUDGED_S:
        if "change_percent" not in memory:
            wrong.append("the cache of sources was never full: memory cannot be judged")
        elif abs(memory["change_percent"]) > MOST_CHANGE_PERCENT:
            wrong.append(f"resident memory has changed by {memory['change_percent']} %")
    return wrong


def run_all(asked, folder):
    write_keys(folder, {})
    tally = Tally()
    server = Server(SETTINGS.format(folder=folder, pool=asked.pool_mib << 20))
    try:
        pid = server.process.pid
        pages = int(re.search(r"\bpages=(\d+)", "".join(server.log)).group(1))
        before = {"descriptors": descriptors(pid), "threads": thread_names(pid)}
        watch, load = soak(asked, server, folder, tally, before)
        lacks = rest(watch, pid, before, pages)
    finally:
        server.stop()
        pathlib.Path(folder, "log").write_text("".join(server.log))
    return {
        "seconds": asked.seconds, "pages": pages, "load": load, "memory": memory(watch.samples),
        "clients": {client: dict(outcomes) for client, outcomes in tally.outcomes.items()},
        "faults": tally.faults + watch.faults + lost_pages(watch.samples, pages),
        "log_faults": log_faults(server.log), "warnings": warnings(server.log),
        "at_rest": lacks, "exit_code": server.process.returncode, "before": before, "samples": watch.samples,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("ENCDEC_SOAK_SECONDS", 1800)))
    parser.add_argument("--rate", type=float, default=8, help="requests per second of loadtest's part")
    parser.add_argument("--pause", type=float, default=1, help="factor of the pauses of all other clients")
    parser.add_argument("--pool-mib", type=int, default=32, help="MiB of pages")
    parser.add_argument("--patience", type=int, default=180, help="seconds after which a request counts as hung")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="folder that keeps a line for each request of loadtest, and the log")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures and all samples")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or stack.enter_context(tempfile.TemporaryDirectory())
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        figures = run_all(asked, folder)
    figures["wrong"] = judged(asked, figures)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")
    step = max(1, len(figures["samples"]) // 30)
    series = [(round(sample["seconds"]), sample["resident_mib"]) for sample in figures.pop("samples")[::step]]
    figures["faults"] = figures["faults"][:MOST_TOLD]
    print(json.dumps(figures, indent=1))
    print("seconds and resident MiB:", *[f"{seconds}:{mib}" for seconds, mib in series])
    sys.exit(1 if figures["wrong"] else 0)


if __name__ == "__main__":
    main()
