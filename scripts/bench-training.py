#!/usr/bin/env python3
"""Training speed and memory of `server train` and of torch.

    bench-training.py SERVER WORK_DIR [--rows uniform|real] [--rounds 3]
    bench-training.py SERVER WORK_DIR --shape 2-270m --source 256 --batch-tokens 1280 --steps 8 --warm-up 2

Both sides train the same checkpoint (model/demo by default) in float32 on the same rows of token ids, batches of
`--batch-tokens` tokens of source and target, AdamW, gradient norm clipped at 1, two threads. `uniform` rows all have
192 + 64 tokens (`--source`, `--target`), so that batches are the same by construction and torch pads nothing; `real`
rows have the lengths of data prepared by examples/debian-synopsis, and both sides group rows of similar length. The
sides take turns; the first steps of each are left out; medians of the steps are printed with the largest resident
memory of the process. `--shape 2-270m` takes random weights of a T5Gemma 2 270M-270M instead of a checkpoint; its tower
for images is as good as none, and no side trains it.

Run with a python that has torch and transformers; SERVER is the built binary.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("work")
    parser.add_argument("--model", default=f"{HERE}/../model/demo")
    parser.add_argument("--shape", choices=("2-270m",))
    parser.add_argument("--source", type=int, default=192)
    parser.add_argument("--target", type=int, default=64)
    parser.add_argument("--warm-up", type=int, default=5, help="steps at the beginning that do not count")
    parser.add_argument("--rows", choices=("uniform", "real"), default="uniform")
    parser.add_argument("--data", help="a prepared synopsis.train.jsonl, for real rows")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=("torch",), help=argparse.SUPPRESS)
    return parser.parse_args()


def write_rows(asked):
    """Rows of ids, enough for every step, in WORK_DIR/<rows>.jsonl."""
    path, draw = f"{asked.work}/{asked.rows}.jsonl", random.Random(1)
    needed = (asked.steps + 2) * asked.batch_tokens
    with open(path, "w", encoding="utf-8") as file:
        while needed > 0:
            for source, target in lengths(asked):
                row = {
                    "input_ids": [2] + [draw.randrange(8, 4000) for _ in range(source - 1)],
                    "target_ids": [draw.randrange(8, 4000) for _ in range(target - 1)] + [1],
                }
                file.write(json.dumps(row) + "\n")
                needed -= source + target
                if needed <= 0:
                    break
    return path


def shape_config(asked):
    """A file with the configuration of a T5Gemma 2 270M-270M, whose tower for images is tiny."""
    stack = {
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "sliding_window": 512,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
        "max_position_embeddings": 32768,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
        },
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "vocab_size": 262144,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    tower = {
        "model_type": "siglip_vision_model",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    encoder = {
        "model_type": "t5gemma2_encoder",
        "text_config": {"model_type": "t5gemma2_text", **stack},
        "vision_config": tower,
        "mm_tokens_per_image": 4,
        "eoi_token_index": 256000,
    }
    config = {
        "model_type": "t5gemma2",
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "encoder": encoder,
        "decoder": {"model_type": "t5gemma2_decoder", **stack},
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "eoi_token_index": 256000,
    }
    path = os.path.abspath(f"{asked.work}/{asked.shape}.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    return path


def lengths(asked):
    if asked.rows == "uniform":
        return [(asked.source, asked.target)] * 64
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{asked.model}/tokenizer.json")
    with open(asked.data, encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(20000), file)]
    sources = tokenizer.encode_batch([row["input"] for row in rows])
    targets = tokenizer.encode_batch([row["target"] for row in rows])
    return [(min(len(source.ids), 256), min(len(target.ids), 64)) for source, target in zip(sources, targets)]


def ours(asked, rows):
    out = f"{asked.work}/run-{time.monotonic_ns()}"
    settings = f"{out}.toml"
    model = f'config = "{shape_config(asked)}"' if asked.shape else f'init = "{os.path.abspath(asked.model)}"'
    with open(settings, "w", encoding="utf-8") as file:
        file.write(
            f'out = "{out}"\nthreads = {asked.threads}\n[model]\n{model}\n'
            f'[objective]\nkind = "seq2seq"\n[data]\ntrain = ["{os.path.abspath(rows)}"]\n'
            f"batch_tokens = {asked.batch_tokens}\n[[stage]]\nsteps = {asked.steps}\nlearning_rate = 1e-4\n"
            "[checkpoints]\nevery_steps = 0\n"
        )
    command = [asked.server, "train", "--config", settings]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(complaint.decode())
    with open(f"{out}/metrics.jsonl", encoding="utf-8") as file:
        steps = [record for record in map(json.loads, file) if record["kind"] == "step"]
    rates = [record["tokens_per_s"] for record in steps[asked.warm_up :]]
    return statistics.median(rates), usage.ru_maxrss / 1024


def torch_in_its_own_process(asked, rows):
    command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--side", "torch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit("the torch side failed")
    return json.loads(answer)["tokens_per_s"], usage.ru_maxrss / 1024


def batches(asked, rows):
    """Rows of similar length together, as many as the tokens allow, in a seeded order."""
    rows = sorted(rows, key=lambda row: len(row["input_ids"]) + len(row["target_ids"]))
    grouped, tokens = [[]], 0
    for row in rows:
        own = len(row["input_ids"]) + len(row["target_ids"])
        if grouped[-1] and tokens + own > asked.batch_tokens:
            grouped.append([])
            tokens = 0
        grouped[-1].append(row)
        tokens += own
    random.Random(1).shuffle(grouped)
    return grouped


def torch_model(asked):
    import torch
    from transformers import AutoConfig, T5Gemma2ForConditionalGeneration, T5GemmaForConditionalGeneration

    if asked.shape:
        config = AutoConfig.from_pretrained(shape_config(asked), attn_implementation="eager")
        return T5Gemma2ForConditionalGeneration(config)
    return T5GemmaForConditionalGeneration.from_pretrained(
        asked.model, dtype=torch.float32, attn_implementation="eager"
    )


def torch_side(asked):
    import torch

    torch.set_num_threads(asked.threads)
    model = torch_model(asked)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    with open(f"{asked.work}/{asked.rows}.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]

    def padded(sequences, filler):
        longest = max(map(len, sequences))
        return torch.tensor([sequence + [filler] * (longest - len(sequence)) for sequence in sequences])

    rates = []
    for batch in batches(asked, rows)[: asked.steps]:
        start = time.perf_counter()
        source = padded([row["input_ids"] for row in batch], 0)
        labels = padded([row["target_ids"] for row in batch], -100)
        loss = model(input_ids=source, attention_mask=(source != 0).long(), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        tokens = sum(len(row["input_ids"]) + len(row["target_ids"]) for row in batch)
        rates.append(tokens / (time.perf_counter() - start))
    print(json.dumps({"tokens_per_s": statistics.median(rates[asked.warm_up :])}))


def main():
    asked = arguments()
    if asked.side:
        return torch_side(asked)
    os.makedirs(asked.work, exist_ok=True)
    rows = write_rows(asked)
    sides = {"encdec": ours, "torch": torch_in_its_own_process}
    figures = {name: [] for name in sides}
    for number in range(asked.rounds):
        for name, side in sides.items():
            rate, memory = side(asked, rows)
            figures[name].append((rate, memory))
            print(f"round {number + 1} {name}: {rate:.0f} tokens/s, {memory:.0f} MiB", flush=True)
    for name, own in figures.items():
        rate, memory = (statistics.median(column) for column in zip(*own))
        what = asked.shape or asked.rows
        print(f"{what} {name}: {rate:.0f} tokens/s, {memory:.0f} MiB (medians of {asked.rounds} rounds)")


if __name__ == "__main__":
    main()
