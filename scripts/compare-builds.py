"""Compares what two builds of the server compute, bit for bit: answers, training losses and checkpoints.

    python3 scripts/compare-builds.py OLD_BINARY NEW_BINARY

Reads the demo and the test fixtures of the repository. Both builds serve every checkpoint in every precision and
answer the same requests (greedy with log-probabilities, forced and scored targets, draws under fixed seeds), adapt,
quantise and train. The first difference of each comparison is printed; the exit status is 1 then. Needs Python only;
takes about three minutes.
"""
import hashlib
import http.client
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "model/tests/fixtures"
CHECKPOINTS = {
    "demo": ROOT / "model/demo",
    "balanced": FIXTURES / "t5gemma-balanced",
    "unbalanced": FIXTURES / "t5gemma-unbalanced",
}
PRECISIONS = [
    ["--dtype", "f32", "--quantize", "none", "--cross-kv", "same"],
    ["--dtype", "bf16", "--quantize", "none", "--cross-kv", "same"],
    ["--dtype", "bf16", "--quantize", "none", "--cross-kv", "int8"],
    ["--dtype", "bf16", "--quantize", "int8", "--cross-kv", "same"],
    ["--dtype", "bf16", "--quantize", "int8", "--cross-kv", "int8"],
    ["--dtype", "bf16", "--quantize", "int4", "--cross-kv", "int8"],
    ["--dtype", "f32", "--quantize", "int8", "--cross-kv", "same"],
]
SAMPLINGS = [
    {"temperature": 1.0},
    {"temperature": 0.8, "top_k": 40},
    {"temperature": 1.3, "top_p": 0.9, "min_p": 0.02},
]
OBJECTIVES = ["seq2seq", "prefix_lm", "ul2", "causal", "classify"]
TEXTS = [json.loads(line)["input"] for line in (FIXTURES / "demo-expected.jsonl").read_text().splitlines()]


def requests():
    """Bodies of completion requests."""
    greedy = {"temperature": 0, "max_tokens": 48, "logprobs": 5, "return_token_ids": True}
    for text in TEXTS:
        yield {**greedy, "prompt": text}
    yield {**greedy, "prompt": TEXTS[:24]}
    for index, text in enumerate(TEXTS[:12]):
        forced = {"decoder_prompt": "This package", "echo": True, "logprobs": 3, "max_tokens": 0}
        yield {**forced, "prompt": text, "return_token_ids": True}
        drawn = {"seed": index, "n": 3, "min_tokens": 4, "max_tokens": 32, "return_token_ids": True}
        for sampling in SAMPLINGS:
            yield {**drawn, **sampling, "prompt": text}


def without_identity(answer):
    """The answer without what a clock decides: names, times, and how many tokens were drafted."""
    kept = {key: value for key, value in answer.items() if key not in ("id", "created")}
    kept.get("usage", {}).pop("completion_tokens_details", None)
    return kept


def answers(binary, checkpoint, precision):
    """Every answer of a server that is started for them."""
    folder = CHECKPOINTS[checkpoint]
    command = [binary, "serve", "--model", folder, "--served-model-name", "model", "--port", "0", *precision]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        log = ""
        while not (found := re.search(r"http://([\d.]+:\d+)", log)):
            line = server.stderr.readline()
            if not line:
                raise SystemExit(f"{binary} did not start:\n{log}")
            log += line
        while "curl" not in log:
            log += server.stderr.readline()
        connection = http.client.HTTPConnection(found[1], timeout=300)
        given = []
        for body in requests():
            connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            given.append({"status": response.status, **without_identity(answer)})
        if not any(answer["status"] == 200 for answer in given):
            raise SystemExit(f"{binary} answers nothing: {given[0]}")
        return given
    finally:
        server.terminate()
        server.communicate()


def run(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{binary} {' '.join(map(str, arguments))}:\n{done.stderr}")
    return done.stdout


def digests(folder):
    """The SHA-256 of each file of a checkpoint."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def losses(folder):
    """The numbers of a training log that no clock or memory decides."""
    logs = sorted(folder.rglob("metrics*.jsonl"))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    if not lines:
        raise SystemExit(f"no metrics in {folder}")
    named = re.compile(r"loss|norm|accuracy|learning_rate|^step$|^tokens$|target_tokens$|rouge")
    return [{key: value for key, value in line.items() if named.search(key)} for line in lines]


def training_row(objective, index):
    text = TEXTS[index % len(TEXTS)]
    if objective == "seq2seq":
        return {"input": text, "target": TEXTS[(index + 1) % len(TEXTS)][:80]}
    if objective == "classify":
        return {"input": text, "label": ["left", "right", "none"][index % 3]}
    return {"text": text}


def trained(binary, objective, folder):
    """Losses and files of a short run, with two threads as two runs would have on any machine."""
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(training_row(objective, index)) + "\n" for index in range(48)))
    init = FIXTURES / "gemma2-source" if objective == "causal" else CHECKPOINTS["balanced"]
    # The fixtures' tokenizer has no unused pieces: rare ones stand in for them.
    vocab = json.loads((init / "tokenizer.json").read_text())["model"]["vocab"]
    sentinels = json.dumps(sorted(vocab, key=vocab.get)[-32:])
    marks = f"mode_tokens = []\nsentinels = {sentinels}" if objective == "ul2" else ""
    settings = f"""
out = "{folder}/run"
threads = 2
[model]
init = "{init}"
save_as = "f32"
[objective]
kind = "{objective}"
{marks}
[data]
train = ["{rows}"]
valid = ["{rows}"]
[[stage]]
steps = 8
learning_rate = 1e-3
warmup_steps = 2
[validation]
every_steps = 4
"""
    (folder / "settings.toml").write_text(settings)
    run(binary, "train", "--config", folder / "settings.toml")
    return {"losses": losses(folder / "run"), "files": digests(folder / "run/final")}


def measured(binary):
    """Everything that is compared, by name; each is computed when it is asked for."""
    for checkpoint in CHECKPOINTS:
        for precision in PRECISIONS:
            yield f"serve {checkpoint} {' '.join(precision)}", lambda _: answers(binary, checkpoint, precision)
    for scheme in ("int8", "int4"):
        def quantized(folder):
            run(binary, "quantize", "--model", CHECKPOINTS["demo"], "--out", folder / "out", "--scheme", scheme)
            return digests(folder / "out")
        yield f"quantize {scheme}", quantized
    for decoder in ("gemma2-source", "gemma2-source-wide"):
        def adapted(folder):
            sources = ["--encoder", FIXTURES / "gemma2-source", "--decoder", FIXTURES / decoder]
            run(binary, "adapt", *sources, "--out", folder / "out")
            return digests(folder / "out")
        yield f"adapt {decoder}", adapted
    for objective in OBJECTIVES:
        yield f"train {objective}", lambda folder: trained(binary, objective, folder)


def main():
    old, new = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
    differing = 0
    for (name, before), (_, after) in zip(measured(old), measured(new)):
        results = []
        with tempfile.TemporaryDirectory() as place:
            # Both work in a folder of one name, which settings and saved files may mention.
            for compute in (before, after):
                folder = pathlib.Path(place, "work")
                folder.mkdir()
                results.append(compute(folder))
                folder.rename(pathlib.Path(place, f"done{len(results)}"))
        alike = results[0] == results[1]
        differing += not alike
        print(f"{'same' if alike else 'DIFFERENT'}  {name}  ({len(results[0])} results)", flush=True)
        if not alike:
            show_difference(*results)
    print(f"{differing} differ")
    sys.exit(bool(differing))


def show_difference(old, new):
    pairs = old.items() if isinstance(old, dict) else enumerate(old)
    for key, value in pairs:
        other = new.get(key) if isinstance(new, dict) else new[key]
        if other != value:
            print(f"  first at {key}:\n  old: {json.dumps(value)[:400]}\n  new: {json.dumps(other)[:400]}")
            return


if __name__ == "__main__":
    main()
