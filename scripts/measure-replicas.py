#!/usr/bin/env python3
"""Measures three replicas of the demo behind HAProxy and nginx, with the files of deploy/.

    scripts/measure-replicas.py restarts [--rate 20] [--rounds 1]
    scripts/measure-replicas.py hits [--requests 1000] [--clients 8]

`restarts` counts answers and failures while the replicas are restarted in turn, with and without a delay before the
drain, and with and without requests that the proxy repeats. `hits` counts how many requests found their source in the
cache of the replica that they reached: by hash and in turn, with caches that hold all sources and caches that hold 66.
Prints tables in Markdown. server/tests/from_outside/replicas.py says what it needs.
"""
import argparse
import pathlib
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "server/tests/from_outside"))
import replicas  # noqa: E402

RESTARTS = """
[load]
stages = [{{ seconds = 3600, rate = {rate} }}]
[[requests]]
repeated = 0.5
max_tokens = 60
ignore_eos = true
[[requests]]
weight = 3
stream = false
max_tokens = 4
"""
NO_RETRIES = [
    {"retry-on conn-failure 503": "retry-on none", "option redispatch 1": "no option redispatch"},
    {"proxy_next_upstream error timeout http_503 non_idempotent": "proxy_next_upstream off"},
]
# Nine of ten requests ask one of the repeated sources.
HITS = """
[load]
requests = {requests}
stages = [{{ seconds = 3600, clients = {clients} }}]
[[requests]]
stream = false
max_tokens = 1
source_tokens = 64
repeated = 0.9
repeated_sources = 100
"""
# Of pages of the demo: a source of 64 words takes three.
SMALL = "page_pool_bytes = {bytes}\nsource_tokens = 256\ntarget_tokens = 32\n"
PAGE_BYTES, SMALL_PAGES = 17_408, 200


def restarts(asked):
    print("| `drain_delay_s` | Requests repeated | Proxy | Answered | Failed |\n|---|---|---|---|---|")
    for delay in [1, 0]:
        for changes in [[None, None], NO_RETRIES]:
            settings = replicas.replaced(replicas.SETTINGS, {"drain_delay_s = 1": f"drain_delay_s = {delay}"})
            scenario = RESTARTS.format(rate=asked.rate)
            with (replicas.replicas(settings) as running,
                  replicas.haproxy(running, changes[0]) as haproxy, replicas.nginx(running, changes[1]) as nginx,
                  replicas.load(haproxy, scenario) as by_haproxy, replicas.load(nginx, scenario) as by_nginx):
                for replica in asked.rounds * running:
                    replica.restart()
                    time.sleep(0.6)
            for name, figures in [("HAProxy", by_haproxy), ("nginx", by_nginx)]:
                repeated = "no" if changes[0] else "yes"
                print(f"| {delay} | {repeated} | {name} | {figures['completed']} | {figures['failed']} |", flush=True)


def hits(asked):
    print("| Cache of a replica | Proxy | Hits | Requests of the replicas |\n|---|---|---|---|")
    hashes = {"HAProxy, by hash": (replicas.haproxy, None), "nginx, by hash": (replicas.nginx, None)}
    for size, limits in [("all sources", ""), ("66 sources", SMALL.format(bytes=PAGE_BYTES * SMALL_PAGES))]:
        settings = replicas.replaced(replicas.SETTINGS, {"running_rows = 8\nrequest_rows = 8\n": limits})
        for name, (proxy, changes) in {**hashes, "HAProxy, in turn": (replicas.haproxy, replicas.IN_TURN)}.items():
            scenario = HITS.format(requests=asked.requests, clients=asked.clients)
            with replicas.replicas(settings) as running, proxy(running, changes) as port:
                with replicas.load(port, scenario, to_its_end=True) as figures:
                    pass
                found = sum(one.value("encdec_cross_cache_hits_total") for one in running)
                encoded = sum(one.value("encdec_cross_cache_misses_total") for one in running)
                parts = ", ".join(f"{one.value('encdec_requests_total', outcome='completed'):.0f}" for one in running)
            assert figures["failed"] == 0, figures["errors"]
            print(f"| {size} | {name} | {100 * found / (found + encoded):.0f} % | {parts} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("restarts")
    command.add_argument("--rate", type=float, default=20, help="requests per second through each proxy")
    command.add_argument("--rounds", type=int, default=1)
    command.set_defaults(run=restarts)
    command = commands.add_parser("hits")
    command.add_argument("--requests", type=int, default=1000)
    command.add_argument("--clients", type=int, default=8)
    command.set_defaults(run=hits)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
