#!/usr/bin/env python3
"""Makes server/tests/fixtures/infilling: a tiny checkpoint that fills gaps in runs of the alphabet.

    cargo build --release -p server
    scripts/infilling-fixture.py target/release/server

Its tokenizer is Gemma's pipeline with a piece for each letter, T5's sentinels and three mode tokens; its weights are
what `server train` makes of random ones in a minute, by UL2's denoisers, on texts such as "x y z a b c". Needs nothing
beside Python. Other processors may round otherwise; then the tests still have to pass.
"""
import json
import pathlib
import shutil
import string
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "server/tests/fixtures/infilling"
SPACE = "\u2581"
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
PIECES = [f"<extra_id_{number}>" for number in range(8)] + [f"<unused{number}>" for number in range(3)]
LETTERS = string.ascii_lowercase
TOKENS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
LONGEST = 24

SETTINGS = """
out = "run"
threads = 1
[model]
config = "config.json"
tokenizer = "."
[objective]
kind = "ul2"
[data]
train = ["train.jsonl"]
batch_tokens = 2048
[[stage]]
steps = {steps}
learning_rate = 1e-2
warmup_steps = 20
[checkpoints]
every_steps = 0
"""


def tokenizer():
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    words = [SPACE + letter for letter in LETTERS]
    pieces = SPECIAL + PIECES + bytes_ + [SPACE, *LETTERS, *words]
    added = [
        {
            "id": number,
            "content": piece,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": piece in SPECIAL,
        }
        for number, piece in enumerate(SPECIAL + PIECES)
    ]
    bos = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, text],
            "pair": [bos, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: number for number, piece in enumerate(pieces)},
            "merges": [[SPACE, letter] for letter in LETTERS],
        },
    }


def config(vocab):
    stack = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "dropout_rate": 0.0,
        "final_logit_softcapping": 30.0,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "initializer_range": 0.1,
        "intermediate_size": 64,
        "layer_types": ["full_attention", "full_attention"],
        "max_position_embeddings": 256,
        "model_type": "t5_gemma_module",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 16,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "sliding_window": 64,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": vocab,
        **TOKENS,
    }
    return {
        "architectures": ["T5GemmaForConditionalGeneration"],
        "attention_dropout": 0.0,
        "classifier_dropout_rate": 0.0,
        "decoder": {**stack, "cross_attention_hidden_size": 32, "is_decoder": True},
        "dropout_rate": 0.0,
        "dtype": "float32",
        "encoder": {**stack, "is_decoder": False},
        "initializer_range": 0.1,
        "is_encoder_decoder": True,
        "model_type": "t5gemma",
        "tie_word_embeddings": True,
        "vocab_size": vocab,
        **TOKENS,
    }


def texts():
    """Every run of the endless alphabet of 8 to LONGEST letters, as a row."""
    for length in range(8, LONGEST + 1):
        for start in range(len(LETTERS)):
            letters = [LETTERS[(start + place) % len(LETTERS)] for place in range(length)]
            yield json.dumps({"text": " ".join(letters)}) + "\n"


def write(path, value):
    path.write_text(json.dumps(value, indent=1, sort_keys=False) + "\n", encoding="utf-8")


def main():
    server = pathlib.Path(sys.argv[1]).resolve()
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        pieces = tokenizer()
        write(place / "tokenizer.json", pieces)
        write(place / "config.json", config(len(pieces["model"]["vocab"])))
        (place / "train.jsonl").write_text("".join(texts()), encoding="utf-8")
        (place / "train.toml").write_text(SETTINGS.format(steps=steps), encoding="utf-8")
        subprocess.run([server, "train", "--config", place / "train.toml"], check=True)
        OUT.mkdir(parents=True, exist_ok=True)
        for file in (place / "run/final").iterdir():
            shutil.copy(file, OUT / file.name)


if __name__ == "__main__":
    main()
