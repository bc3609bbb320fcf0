#!/usr/bin/env python3
"""The adaptation paper's four claims (arXiv 2504.06225) at a size that two cores can train:

    adaptation-claims.py SERVER DATA OUT [--only NAME ...] [--seeds 3] [--report]

SERVER is the built binary, DATA a folder that examples/debian-synopsis/prepare.py filled, OUT takes the runs. Each
finished run leaves OUT/results/NAME.json and is not run again; an interrupted one is resumed by `server train`. At the
end the figures are printed as the tables of docs/adaptation.md; `--report` only prints. Needs nothing but Python.
"""
import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.abspath(f"{HERE}/../model/demo")

SMALL = {"hidden": 128, "layers": 4, "intermediate": 384, "heads": 2, "kv_heads": 1}
WIDE = {"hidden": 192, "layers": 5, "intermediate": 512, "heads": 3, "kv_heads": 1}
HEAD_DIM, VOCAB, WINDOW = 64, 4096, 64
BATCH_TOKENS = 4096
TEXT_TOKENS = 128  # at most, in a text
PRETRAIN_STEPS = 2000
WIDE_STEPS = 1000  # to pretrain the wide model
ADAPT_STEPS = 500
SCRATCH_STEPS = 1000
FINETUNE_STEPS = 250
UNBALANCED_STEPS = 400
WARM_UPS = (0, 40, 160)  # K of claim (d)
TEST_ROWS = 500


def stack(shape, **more):
    """The fields that a Gemma 2 stack has in every config.json."""
    kinds = ["sliding_attention", "full_attention"]
    return {
        "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "bos_token_id": 2,
        "eos_token_id": 1, "pad_token_id": 0, "final_logit_softcapping": 30.0, "head_dim": HEAD_DIM,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": shape["hidden"], "initializer_range": 0.02,
        "intermediate_size": shape["intermediate"],
        "layer_types": [kinds[layer % 2] for layer in range(shape["layers"])],
        "max_position_embeddings": 1024, "num_attention_heads": shape["heads"], "num_hidden_layers": shape["layers"],
        "num_key_value_heads": shape["kv_heads"], "query_pre_attn_scalar": HEAD_DIM, "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "sliding_window": WINDOW,
        "tie_word_embeddings": True, "use_cache": True, "vocab_size": VOCAB, **more,
    }  # fmt: skip


def decoder_only_config(shape):
    return stack(shape, architectures=["Gemma2ForCausalLM"], model_type="gemma2", dtype="float32")


def encoder_decoder_config(shape):
    module = {"model_type": "t5_gemma_module", "dropout_rate": 0.0}
    decoder = stack(shape, **module, is_decoder=True, cross_attention_hidden_size=shape["hidden"])
    return {
        "architectures": ["T5GemmaForConditionalGeneration"], "model_type": "t5gemma", "is_encoder_decoder": True,
        "encoder": stack(shape, **module, is_decoder=False), "decoder": decoder, "bos_token_id": 2, "eos_token_id": 1,
        "pad_token_id": 0, "dropout_rate": 0.0, "attention_dropout": 0.0, "classifier_dropout_rate": 0.0,
        "initializer_range": 0.02, "tie_word_embeddings": True, "vocab_size": VOCAB, "dtype": "float32",
    }  # fmt: skip


class Claims:
    """All runs, each under its name."""

    def __init__(self, asked):
        self.server, self.data, self.out = map(os.path.abspath, (asked.server, asked.data, asked.out))
        self.only, self.seeds = asked.only, asked.seeds
        os.makedirs(f"{self.out}/results", exist_ok=True)

    def result(self, name):
        path = f"{self.out}/results/{name}.json"
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        return None

    def once(self, name, run):
        """Runs what has no result yet and keeps what it gives."""
        if self.result(name) is not None or (self.only and name not in self.only):
            return
        start = time.time()
        print(f"== {name}", flush=True)
        figures = {**run(), "seconds": round(time.time() - start, 1)}
        path = f"{self.out}/results/{name}.json"
        with open(f"{path}.partial", "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
        os.rename(f"{path}.partial", path)
        print(f"== {name}: {figures['seconds']} s", flush=True)

    def command(self, *words):
        done = subprocess.run([self.server, *map(str, words)], stdout=subprocess.PIPE)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}: exit status {done.returncode}")
        return done.stdout.decode()

    def folder(self, name):
        return f"{self.out}/runs/{name}"

    def model(self, name):
        return f"{self.folder(name)}/final"

    def shape(self, name, config):
        path = f"{self.out}/{name}.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file, indent=1)
        return path

    def train(self, name, *, model, objective, task, stage, extra="", valid_every=0, warm_up=0, seed=1, dropout=0.0):
        """One run of `server train`; gives its curve of (tokens, validation loss)."""
        os.makedirs(f"{self.out}/settings", exist_ok=True)
        settings = f"{self.out}/settings/{name}.toml"
        steps, rate = stage
        text = f"""out = "{self.folder(name)}"
seed = {seed}
cross_attention_warmup_steps = {warm_up}
[model]
{model}
tokenizer = "{DEMO}"
save_as = "f32"
dropout = {dropout}
{extra}
[objective]
{objective}
[data]
train = ["{self.data}/{task}.train.jsonl"]
valid = ["{self.data}/{task}.valid.jsonl"]
cache = "{self.out}/cache"
max_source_tokens = {TEXT_TOKENS}
max_target_tokens = 48
max_text_tokens = {TEXT_TOKENS}
batch_tokens = {BATCH_TOKENS}
[[stage]]
steps = {steps}
learning_rate = {rate}
warmup_steps = {min(50, steps // 10)}
final_fraction = 0.05
[checkpoints]
every_steps = 250
keep = 1
[validation]
every_steps = {valid_every}
rows = 300
samples = 2
"""
        with open(settings, "w", encoding="utf-8") as file:
            file.write(text)
        self.command("train", "--config", settings)
        return self.curve(name)

    def curve(self, name):
        tokens, curve = 0, []
        with open(f"{self.folder(name)}/metrics.jsonl", encoding="utf-8") as file:
            for record in map(json.loads, file):
                if record["kind"] == "step":
                    tokens += record["tokens"]
                else:
                    curve.append({"step": record["step"], "tokens": tokens, "loss": record["valid_loss"]})
        return {"tokens": tokens, "curve": curve, "valid_loss": curve[-1]["loss"] if curve else None}

    def evaluate(self, name, task):
        answer = self.command(
            "eval", "--model", self.model(name), "--data", f"{self.data}/{task}.test.jsonl", "--max-tokens", 40,
            "--max-source-tokens", TEXT_TOKENS, "--limit", TEST_ROWS, "--json",
        )  # fmt: skip
        return json.loads(answer)

    # The runs.

    def pretrain(self):
        for name, shape, steps in (("causal-small", SMALL, PRETRAIN_STEPS), ("causal-wide", WIDE, WIDE_STEPS)):
            config = self.shape(name, decoder_only_config(shape))
            self.once(name, lambda name=name, config=config, steps=steps: self.train(
                name, model=f'config = "{config}"', objective='kind = "causal"', task="text",
                stage=(steps, 2e-3), valid_every=250))  # fmt: skip

    def adapt(self, name, encoder, seed=1):
        out = f"{self.out}/adapted/{name}"
        if not os.path.exists(f"{out}/config.json"):
            os.makedirs(f"{self.out}/adapted", exist_ok=True)
            pair = ("--encoder", self.model(encoder), "--decoder", self.model("causal-small"))
            self.command("adapt", *pair, "--seed", seed, "--out", out)
        return out

    def adaptation(self):
        """Claims (a) and (c): prefix language modelling after adaptation, from scratch, and with a causal encoder."""
        prefix = {"objective": 'kind = "prefix_lm"', "task": "text"}
        init = lambda: f'init = "{self.adapt("balanced", "causal-small")}"'
        self.once("prefix-adapted", lambda: self.train(
            "prefix-adapted", model=init(), stage=(ADAPT_STEPS, 1e-3), valid_every=20, **prefix))  # fmt: skip
        self.once("prefix-causal-encoder", lambda: self.train(
            "prefix-causal-encoder", model=init(), stage=(ADAPT_STEPS, 1e-3), valid_every=100,
            extra='encoder_attention = "causal"', **prefix))  # fmt: skip
        scratch = self.shape("scratch", encoder_decoder_config(SMALL))
        self.once("prefix-scratch", lambda: self.train(
            "prefix-scratch", model=f'config = "{scratch}"', stage=(SCRATCH_STEPS, 2e-3), valid_every=100,
            **prefix))  # fmt: skip
        self.once("causal-more", lambda: self.train(
            "causal-more", model=f'init = "{self.model("causal-small")}"', objective='kind = "causal"', task="text",
            stage=(ADAPT_STEPS, 1e-3), valid_every=100))  # fmt: skip

    def finetuning(self):
        """Claims (b) and (c): the same finetuning of all three, on both tasks."""
        tasks = {"synopsis": 'kind = "seq2seq"', "section": 'kind = "classify"'}
        sources = {
            "encoder-decoder": "prefix-adapted",
            "decoder-only": "causal-more",
            "causal-encoder": "prefix-causal-encoder",
        }
        for seed in range(1, self.seeds + 1):
            for task, objective in tasks.items():
                for kind, source in sources.items():
                    name = f"{task}-{kind}-{seed}"

                    def run(name=name, task=task, objective=objective, kind=kind, source=source, seed=seed):
                        extra = 'encoder_attention = "causal"' if kind == "causal-encoder" else ""
                        figures = self.train(
                            name, model=f'init = "{self.model(source)}"', objective=objective, task=task,
                            stage=(FINETUNE_STEPS, 1e-3), seed=seed, dropout=0.1, extra=extra)  # fmt: skip
                        return {**figures, "test": self.evaluate(name, task)}

                    self.once(name, run)

    def unbalanced(self):
        """Claim (d): a wide encoder before the small decoder, cross-attention trained alone for K steps."""
        for seed in range(1, self.seeds + 1):
            for warm_up in WARM_UPS:
                name = f"unbalanced-{warm_up}-{seed}"

                # The steps of the warm-up are part of the budget: every K sees as many tokens.
                def run(name=name, warm_up=warm_up, seed=seed):
                    init = self.adapt(f"unbalanced-{seed}", "causal-wide", seed)
                    return self.train(
                        name, model=f'init = "{init}"', objective='kind = "prefix_lm"', task="text", seed=seed,
                        stage=(UNBALANCED_STEPS - warm_up, 1e-3), warm_up=warm_up, valid_every=100)  # fmt: skip

                self.once(name, run)

    def run(self):
        self.pretrain()
        self.adaptation()
        self.finetuning()
        self.unbalanced()


def mean_and_spread(values):
    mean = sum(values) / len(values)
    return mean, (sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)) ** 0.5


def parameters(shape):
    query, key = shape["heads"] * HEAD_DIM, shape["kv_heads"] * HEAD_DIM
    attention = 2 * shape["hidden"] * (query + key)
    return shape["layers"] * attention, shape["layers"] * 3 * shape["hidden"] * shape["intermediate"]


def inference_operations(kind, source, target):
    """Multiplications and additions of a request with the small shape, attention's scores left out."""
    attention, feed_forward = parameters(SMALL)
    own, output = attention + feed_forward, VOCAB * SMALL["hidden"]
    if kind == "decoder-only":
        return 2 * (own * (source + target) + output * target)
    query, key = SMALL["heads"] * HEAD_DIM, SMALL["kv_heads"] * HEAD_DIM
    cross_source = SMALL["layers"] * 2 * SMALL["hidden"] * key * source
    cross_target = SMALL["layers"] * 2 * SMALL["hidden"] * query * target
    return 2 * (own * (source + target) + cross_source + cross_target + output * target)


def report(claims):
    result = claims.result
    names = sorted(name[:-5] for name in os.listdir(f"{claims.out}/results") if name.endswith(".json"))
    print("| run | steps' tokens | validation loss | seconds |\n|---|---|---|---|")
    for name in names:
        own = result(name)
        loss = "" if own["valid_loss"] is None else f"{own['valid_loss']:.4f}"
        print(f"| {name} | {own['tokens']} | {loss} | {own['seconds']} |")

    adapted, scratch = result("prefix-adapted"), result("prefix-scratch")
    if adapted and scratch:
        goal = scratch["valid_loss"]
        reached = [point for point in adapted["curve"] if point["loss"] <= goal]
        if reached:
            share = reached[0]["tokens"] / scratch["tokens"]
            print(f"\n(a) from scratch ends at {goal:.4f} after {scratch['tokens']} tokens; adapted is there after "
                  f"{reached[0]['tokens']} ({share:.1%})")  # fmt: skip
        else:
            print(f"\n(a) does not show: adapted ends at {adapted['valid_loss']:.4f}, from scratch at {goal:.4f}")

    kinds = ("encoder-decoder", "decoder-only", "causal-encoder")
    figures = {"synopsis": ("rougeL", "loss"), "section": ("accuracy", "loss")}
    print("\n| finetuned for | model | figure | by seed | mean | deviation |\n|---|---|---|---|---|---|")
    for task, keys in figures.items():
        for kind in kinds:
            own = [result(f"{task}-{kind}-{seed}") for seed in range(1, claims.seeds + 1)]
            for key in keys:
                values = [one["test"][key] for one in own if one and one["test"].get(key) is not None]
                if values:
                    mean, spread = mean_and_spread(values)
                    each = ", ".join(f"{value:.4f}" for value in values)
                    print(f"| {task} | {kind} | {key} | {each} | {mean:.4f} | {spread:.4f} |")
    for source, target in ((80, 14),):
        pair = inference_operations("encoder-decoder", source, target)
        single = inference_operations("decoder-only", source, target)
        print(f"\noperations of a request of {source} and {target} tokens: encoder-decoder {pair / 1e6:.1f} million, "
              f"decoder-only {single / 1e6:.1f} million ({pair / single:.3f} times)")  # fmt: skip

    print("\n| K | validation loss by seed | mean | deviation |\n|---|---|---|---|")
    for warm_up in WARM_UPS:
        own = [result(f"unbalanced-{warm_up}-{seed}") for seed in range(1, claims.seeds + 1)]
        losses = [one["valid_loss"] for one in own if one]
        if losses:
            mean, spread = mean_and_spread(losses)
            each = ", ".join(f"{loss:.4f}" for loss in losses)
            print(f"| {warm_up} | {each} | {mean:.4f} | {spread:.4f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("server", "data", "out"):
        parser.add_argument(name)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    claims = Claims(asked)
    if not asked.report:
        claims.run()
    report(claims)


if __name__ == "__main__":
    main()
