"""Measures a program built with CUDA on a GPU, and compares it with the goals: a table, and a JSON report.

    python3 scripts/gpu-bench.py PROGRAM REPORT [PEERS]

Needs nothing but Python, the GPU's driver and cuBLASLt. Every figure has its ceiling from the same run: bytes over the
speed of copies, or operations over the rate of large products. PEERS has the times of transformers on the same GPU, one
JSON object per line: engine (hf-eager or hf-compiled), shape, source, batch, step_ms. Called by scripts/gpu-check.sh. A
part that fails is reported as failed, and the others go on. The report is rewritten after each part, so that a run
which is cut short leaves what it has measured.
"""
import datetime
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
DEVICE = ["--device", "cuda"]
# The encoder takes a whole batch at once, and a page pool that holds it.
SETTINGS = """
[limits]
step_encoder_tokens = 32768
page_pool_bytes = 17179869184
running_rows = 256
step_rows = 256
[cuda]
step_row_buckets = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192]
"""


def lines(program, *arguments):
    command = [program, *arguments]
    print("$", *command, flush=True)
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, timeout=400)
    print(done.stdout, flush=True)
    if done.returncode:
        raise RuntimeError(f"ended with {done.returncode}")
    return done.stdout


def steps(program, settings, shape, source, batches, extra=()):
    text = lines(program, "bench", *DEVICE, "--config", settings, "--shape", shape, "--source", str(source), "--batch",
                 ",".join(map(str, batches)), *extra)
    return [json.loads(line) for line in text.splitlines()]


def profile(program, settings, batch):
    """Calls, time, bytes and share of the bandwidth of each kernel of each op, for the encoder and a decode step."""
    return tables(lines(program, "bench", *DEVICE, "--config", settings, "--shape", "2b-2b",
                        "--source", "1024", "--target", "16",
                        "--profile", "--batch", str(batch)))


def over_floor(step):
    """The time of a step over the floor that the memory sets."""
    return f"{step['step_ms']} ms / {step['floor_ms']} ms = {step['step_ms'] / step['floor_ms']:.2f}"


def tables(text):
    """Rows of the tables of `bench --profile`, by their titles; without the time outside the ops."""
    about, *rest = text.strip().split("\n\n")
    found = {"about": about}
    for table in rest:
        title, head, *rows = table.splitlines()
        names = [name.strip() for name in re.split("  +", head)]
        cells = (re.split("  +", row.strip()) for row in rows)
        found[title] = [dict(zip(names, row)) for row in cells if len(row) == len(names)]
    return found


def mixed(program, settings):
    return json.loads(lines(program, "bench", *DEVICE, "--config", settings, "--shape", "2b-2b", "--mixed", "256"))


def http(program, settings):
    command = [program, "serve", *DEVICE, "--config", settings, "--shape", "2b-2b", "--port", "0"]
    server = subprocess.Popen(command, text=True, stderr=subprocess.PIPE)
    try:
        said = next(match for match in (re.search(r"listens on (http://\S+)", line) for line in server.stderr) if match)
        address = said[1]
        threading.Thread(target=server.stderr.read, daemon=True).start()
        return json.loads(lines(sys.executable, str(HERE / "http-load.py"), address, "256"))
    finally:
        server.terminate()
        server.wait()


def peer_steps(file):
    """Milliseconds of a step of the large shape at batch 1, by engine."""
    peers = [json.loads(line) for line in pathlib.Path(file).read_text().splitlines() if line.startswith("{")]
    return {peer["engine"]: peer["step_ms"] for peer in peers
            if "step_ms" in peer and (peer["shape"], peer["source"], peer["batch"]) == ("2b-2b", 1024, 1)}


def save(report, results, table):
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    new = pathlib.Path(f"{report}.new")
    new.write_text(json.dumps({"date": date, "results": results, "goals": table}, indent=1))
    new.replace(report)


def main():
    program, report = sys.argv[1:3]
    settings = tempfile.NamedTemporaryFile("w", suffix=".toml")
    settings.write(SETTINGS)
    settings.flush()
    results, table = {}, []

    def part(name, measure):
        try:
            results[name] = measure()
        except Exception as error:  # whatever it is, the other parts are worth having
            results[name] = {"failed": str(error)}
            table.append((name, "failed", str(error)[:60]))
        save(report, results, table)

    def goal(name, of, text, holds=None):
        if "failed" in results.get(of, {"failed": ""}):
            return
        try:
            verdict = "measured" if holds is None else "holds" if holds(results[of]) else "missed"
            table.append((name, text(results[of]), verdict))
        except KeyError as error:
            table.append((name, "failed", f"no figure of {error}"))

    part("large_steps", lambda: steps(program, settings.name, "2b-2b", 1024, [1, 32, 128]))
    part("small_steps", lambda: steps(program, settings.name, "s-s", 256, [1]))
    part("int8_steps", lambda: steps(program, settings.name, "2b-2b", 1024, [1, 16], ["--quantize", "int8"]))
    overlapping = tempfile.NamedTemporaryFile("w", suffix=".toml")
    overlapping.write(SETTINGS + "overlap_kernels = true\n")
    overlapping.flush()
    part("overlapping_large_steps", lambda: steps(program, overlapping.name, "2b-2b", 1024, [1, 32, 128]))
    part("overlapping_small_steps", lambda: steps(program, overlapping.name, "s-s", 256, [1]))
    part("mixed", lambda: mixed(program, settings.name))
    part("http", lambda: http(program, settings.name))
    for batch in (1, 32, 128):
        part(f"profile_{batch}", lambda batch=batch: profile(program, settings.name, batch))
    for index, (batch, most) in enumerate([(1, 1.3), (32, 1.6), (128, 1.6)]):
        goal(f"2b-2b, source 1024, batch {batch}: step over floor, at most {most}", "large_steps",
             lambda r, i=index: over_floor(r[i]),
             lambda r, i=index, most=most: r[i]["step_ms"] <= most * r[i]["floor_ms"])
    goal("s-s, batch 1: step, at most 0.3 ms", "small_steps",
         lambda r: f"{r[0]['step_ms']} ms", lambda r: r[0]["step_ms"] <= 0.3)
    for index, batch in enumerate((1, 32, 128)):
        goal(f"2b-2b, batch {batch}, kernels overlapping: step over floor (no goal)", "overlapping_large_steps",
             lambda r, i=index: over_floor(r[i]))
    goal("s-s, batch 1, kernels overlapping: step (no goal)", "overlapping_small_steps",
         lambda r: f"{r[0]['step_ms']} ms")
    for index, batch in enumerate((1, 16)):
        goal(f"2b-2b int8, batch {batch}: step over floor (no goal)", "int8_steps",
             lambda r, i=index: f"{r[i]['step_ms']} ms / {r[i]['floor_ms']} ms")
    if "failed" not in results["mixed"] and "failed" not in results["large_steps"]:
        rate, encoded = results["mixed"]["products_per_s"], results["large_steps"][1]
        reached = encoded["encoder_operations"] / (encoded["encode_ms"] / 1e3)
        table.append(("2b-2b encoder, 32 x 1024: share of the matrix rate, at least 0.55",
                      f"{reached / rate:.2f} of {rate / 1e12:.0f} T/s",
                      "holds" if reached >= 0.55 * rate else "missed"))
        waste = results["mixed"]["page_waste"]
        table.append(("256 mixed requests: waste of pages, under 0.04", f"{waste:.3f}",
                      "holds" if waste < 0.04 else "missed"))
    if "failed" not in results["mixed"] and "failed" not in results["http"]:
        inside, outside = results["mixed"]["target_tokens_per_s"], results["http"]["target_tokens_per_s"]
        table.append(("256 mixed requests: HTTP over in-process rate, at least 0.85",
                      f"{outside:.0f} / {inside:.0f} = {outside / inside:.2f}",
                      "holds" if outside >= 0.85 * inside else "missed"))
    if len(sys.argv) > 3:
        part("peers", lambda: peer_steps(sys.argv[3]))
    if "peers" in results and "failed" not in results["large_steps"]:
        ours, floor = (results["large_steps"][0][figure] for figure in ("step_ms", "floor_ms"))
        goal("2b-2b, batch 1: transformers' eager step over ours, at least 10", "peers",
             lambda r: f"{r['hf-eager']} / {ours} ms = {r['hf-eager'] / ours:.1f}",
             lambda r: r["hf-eager"] >= 10 * ours)
        goal("2b-2b, batch 1: its compiled step over ours, at least 2.5 (or 1.15 floors)", "peers",
             lambda r: f"{r['hf-compiled']} / {ours} ms = {r['hf-compiled'] / ours:.1f}",
             lambda r: r["hf-compiled"] >= 2.5 * ours or ours <= 1.15 * floor)
    save(report, results, table)
    for name, figure, verdict in table:
        print(f"{name:74} {figure:34} {verdict}")
    return any(figure == "failed" for _, figure, _ in table)


sys.exit(main())
