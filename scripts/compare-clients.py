#!/usr/bin/env python3
"""Gives a server the same load by `loadtest` and by other clients in turn, and compares what they measured.

    scripts/compare-clients.py [--aiperf PROGRAM] [--rounds 5] [--rate 20] [--requests 200] [--tokens 32] [--within 3]

The clients are `loadtest`, the asyncio client of this file and, with `--aiperf`, aiperf (`pip install aiperf==0.13.0`).
Each run of a round sends as many streamed completions at equal intervals, for sources that nobody asked before and
answers of exactly so many tokens. The order changes from round to round. Prints a table of the medians over the rounds
in Markdown, and fails if another client differs from `loadtest` by more percent than `--within`.

Without `--url` it starts a server of the demo: `server` and `loadtest` are those that `cargo build` makes, or those
that `ENCDEC_SERVER` and `ENCDEC_LOADTEST` name. Needs nothing else but Python. `loadtest` counts latencies from when a
request was due; the mean time from there to its sending is taken off, because the others count from the sending.
"""
import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "server/tests/from_outside"))
from running_server import ROOT, Server  # noqa: E402

LOADTEST = os.environ.get("ENCDEC_LOADTEST", str(ROOT / "target/debug/loadtest"))
FIGURES = ["first text, ms", "between pieces, ms", "to the end, ms", "requests/s"]
EXTRA = {"ignore_eos": True, "temperature": 0, "speculation": "off"}


def write_prompts(path, asked, run):
    """A file that both `loadtest` and aiperf read, with sources that no other run has."""
    words = "A small text editor for the terminal with syntax highlighting. It opens large files quickly."
    lines = [json.dumps({"text": f"{run} {index} {words}"}) for index in range(asked.requests)]
    path.write_text("\n".join(lines) + "\n")


def with_loadtest(asked, url, prompts, folder):
    command = [LOADTEST, "--url", url, "--rate", str(asked.rate), "--requests", str(asked.requests), "--arrivals",
               "constant", "--prompts", str(prompts), "--max-tokens", str(asked.tokens), "--extra", json.dumps(EXTRA),
               "--metrics", "off", "--quiet", "--json", f"{folder}/loadtest.json"]
    subprocess.run(command, check=True)
    figures = json.loads(pathlib.Path(folder, "loadtest.json").read_text())
    lag = figures["mean_send_lag_ms"]
    return [figures["mean_ttft_ms"] - lag, figures["mean_itl_ms"], figures["mean_e2el_ms"] - lag,
            figures["request_throughput"]]


def with_aiperf(asked, url, prompts, folder):
    command = [asked.aiperf, "profile", "--model", asked.model, "--url", url, "--endpoint-type", "completions",
               "--streaming", "--request-rate", str(asked.rate), "--arrival-pattern", "constant", "--request-count",
               str(asked.requests), "--input-file", str(prompts), "--custom-dataset-type", "single_turn",
               "--tokenizer", asked.tokenizer, "--use-server-token-count", "--ui", "none",
               "--artifact-dir", f"{folder}/aiperf"]
    for name, value in {**EXTRA, "max_tokens": asked.tokens}.items():
        command += ["--extra-inputs", f"{name}:{json.dumps(value) if not isinstance(value, str) else value}"]
    log = pathlib.Path(folder, "aiperf.log")
    with log.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    if done.returncode:
        raise SystemExit(f"aiperf failed:\n{log.read_text()[-3000:]}")
    [export] = pathlib.Path(folder, "aiperf").rglob("profile_export_aiperf.json")
    figures = json.loads(export.read_text())
    count = figures["request_count"]["avg"]
    if count != asked.requests:
        raise SystemExit(f"aiperf counts {count} whole answers of {asked.requests}")
    keys = ["time_to_first_token", "inter_token_latency", "request_latency", "request_throughput"]
    return [figures[key]["avg"] for key in keys]


async def ask(address, body):
    """Times of the pieces of one answer, from its sending."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"POST /v1/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n"
                 f"content-length: {len(body)}\r\n\r\n".encode() + body)
    times, is_done = [], False
    async for line in reader:
        now = time.perf_counter() - begun
        is_done |= line.startswith(b"data: [DONE]")
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["text"]:
            times.append(now)
    end = time.perf_counter() - begun
    writer.close()
    if not is_done:
        raise SystemExit("an answer was not whole")
    return times, end


async def all_answers(asked, url, prompts):
    address = urllib.parse.urlparse(url).netloc
    texts = [json.loads(line)["text"] for line in prompts.read_text().splitlines()]
    bodies = [json.dumps({"model": asked.model, "prompt": text, "max_tokens": asked.tokens, "stream": True, **EXTRA})
              for text in texts]
    start = time.perf_counter()

    async def one(index, body):
        await asyncio.sleep(start + index / asked.rate - time.perf_counter())
        return await ask(address, body.encode())

    answers = await asyncio.gather(*(one(index, body) for index, body in enumerate(bodies)))
    return answers, time.perf_counter() - start


def with_asyncio(asked, url, prompts, _folder):
    answers, seconds = asyncio.run(all_answers(asked, url, prompts))
    gaps = [after - before for times, _ in answers for before, after in zip(times, times[1:])]
    means = [statistics.mean(times[0] for times, _ in answers), statistics.mean(gaps),
             statistics.mean(end for _, end in answers)]
    return [1e3 * mean for mean in means] + [len(answers) / seconds]


def measure(asked, url):
    """Figures of each client, a list for each round."""
    clients = {"loadtest": with_loadtest, "asyncio": with_asyncio, **({"aiperf": with_aiperf} if asked.aiperf else {})}
    measured = {name: [] for name in clients}
    for number in range(-1, asked.rounds):
        names = list(clients)
        for name in names[number % len(names):] + names[:number % len(names)]:
            with tempfile.TemporaryDirectory() as folder:
                prompts = pathlib.Path(folder, "prompts.jsonl")
                write_prompts(prompts, asked, f"{number} {name} {time.time_ns()}")
                figures = clients[name](asked, url, prompts, folder)
            # The round before the first warms up.
            if number >= 0:
                measured[name].append(figures)
                print(f"round {number} {name}: {[round(figure, 3) for figure in figures]}", file=sys.stderr, flush=True)
    return measured


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running server, instead of one of the demo")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--aiperf")
    parser.add_argument("--tokenizer", default=str(ROOT / "model/demo"), help="folder that aiperf loads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--within", type=float, default=3, help="percent")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        measured = measure(asked, asked.url or stack.enter_context(Server()).address)
    medians = {name: [statistics.median(column) for column in zip(*rounds)] for name, rounds in measured.items()}
    print("| Client |", " | ".join(FIGURES), "|\n|---|" + "---|" * len(FIGURES))
    far = []
    for name, figures in medians.items():
        differences = [100 * (other / own - 1) for other, own in zip(figures, medians["loadtest"])]
        cells = [f"{figure:.2f}" + (f" ({difference:+.1f} %)" if name != "loadtest" else "")
                 for figure, difference in zip(figures, differences)]
        print(f"| {name} |", " | ".join(cells), "|")
        far += [
            f"{name}: {figure}" for figure, difference in zip(FIGURES, differences) if abs(difference) > asked.within
        ]
    if far:
        raise SystemExit(f"more than {asked.within:g} % apart: {', '.join(far)}")


if __name__ == "__main__":
    main()
