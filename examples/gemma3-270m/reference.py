#!/usr/bin/env python3
"""Computes the loss of a page with transformers, from the numbers of the GGUF file in float32.

    reference.py MODEL.gguf TOKENIZER.json PAGE.txt

Prints one JSON line: version of transformers, loss, target_tokens. The text stands between <bos> and <eos>, and every
token but <bos> is a target.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer


def main():
    model_path, tokenizer_path, page_path = map(Path, sys.argv[1:])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        model_path.parent,
        gguf_file=model_path.name,
        dtype=torch.float32,
        attn_implementation="eager",
    ).eval()
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    text = tokenizer.encode(page_path.read_text(encoding="utf-8"), add_special_tokens=False).ids
    ids = torch.tensor([[2, *text, 1]])
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits[0]
    loss = torch.nn.functional.cross_entropy(logits.double(), ids[0, 1:]).item()
    answer = {"version": transformers.__version__, "loss": loss, "target_tokens": len(text) + 1}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
