#!/usr/bin/env python3
"""Prints the synopses that transformers writes with model/demo, as the tests expect them: demo-fixture.py [VALID]

Its output is model/tests/fixtures/demo-expected.jsonl. Weights are float32, attention is eager, decoding greedy, at
most 48 tokens, each description alone. The descriptions are those of the present fixture. A description whose decoding
meets a near tie (the two best logits within 2e-3) is replaced by the next one of VALID, a held-out file of
examples/debian-synopsis. Needs torch and transformers 5.17.
"""
import json
import pathlib
import sys

import torch
from transformers import AutoTokenizer, T5GemmaForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEAR_TIE, MAX_TOKENS, MAX_SOURCE_TOKENS = 2e-3, 48, 256


def rows_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def answer(model, tokenizer, text, reference):
    """The fixture's row, or None if rounding may choose another token or the description is too long."""
    ids = tokenizer(text)["input_ids"]
    if len(ids) > MAX_SOURCE_TOKENS:
        return None
    made = model.generate(
        torch.tensor([ids]),
        max_new_tokens=MAX_TOKENS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logits = torch.cat(made.logits)
    best = logits.topk(2).values
    if (best[:, 0] - best[:, 1]).min() < NEAR_TIE:
        return None
    written = made.sequences[0, 1:].tolist()
    probabilities = logits.log_softmax(-1)[torch.arange(len(written)), written]
    return {
        "input": text,
        "input_ids": ids,
        "greedy_ids": written,
        "greedy_text": tokenizer.decode(written, skip_special_tokens=True),
        "reference": reference,
        "finish_reason": "stop" if written[-1] == model.generation_config.eos_token_id else "length",
        "greedy_logprobs": [round(value, 5) for value in probabilities.tolist()],
    }


@torch.no_grad()
def main():
    model = T5GemmaForConditionalGeneration.from_pretrained(
        ROOT / "model/demo", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "model/demo")
    texts = [(row["input"], row["reference"]) for row in rows_of(ROOT / "model/tests/fixtures/demo-expected.jsonl")]
    wanted = len(texts)
    for path in sys.argv[1:]:
        texts += [pair for row in rows_of(path) if (pair := (row["input"], row["target"])) not in texts]
    found = []
    for text, reference in texts:
        if len(found) < wanted and (row := answer(model, tokenizer, text, reference)):
            found.append(row)
    for row in found:
        print(json.dumps(row, ensure_ascii=False))


main()
