#!/usr/bin/env python3
"""Figures of rouge-score and sacrebleu for server/tests/evaluation.rs.

    scripts/metrics-fixture.py > server/tests/fixtures/metrics.json

Needs `pip install rouge-score==0.1.2 sacrebleu==2.6.0`. Texts: the demo's synopses beside the human ones, texts that
tokenise awkwardly, and random strings of awkward characters from a fixed seed.
"""
import json
import logging
import pathlib
import random

import sacrebleu
from rouge_score import rouge_scorer
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

logging.disable(logging.CRITICAL)
root = pathlib.Path(__file__).resolve().parent.parent

AWKWARD = [
    ("", ""),
    ("", "a wanted text"),
    ("a written text", ""),
    ("...", "!?"),
    ("The same text, word for word.", "The same text, word for word."),
    ("Case Matters to some", "case matters TO some"),
    ("It's 3.14, or 1,000-fold... e.g. x=5-3.", "Its 3.14 or 1,000 fold; e.g. x = 5 - 3"),
    ("&quot;quoted&quot; &amp;amp; &lt;b&gt; &amp;lt;", '"quoted" &amp; <b> &lt;'),
    ("\u201ecurly\u201c \u2018quotes\u2019 \u2014 and \u2026", '"curly" \'quotes\' - and ...'),
    ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u4f60\u597d\u4e16\u754c\uff01"),
    ("\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 abc", "\u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8 abc 123"),
    (
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
        "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
    ),
    ("na\u00efve caf\u00e9 \u0130stanbul \u212aelvin", "naive cafe istanbul kelvin"),
    ("\U0001f600 emoji \U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f600 emoji \U0001f468"),
    ("a hyphen-\nated line\nand another", "a hyphenated line and another"),
    ("trailing hyphen-\n", "trailing hyphen-"),
    ("tab\tand\u00a0no-break\u3000wide\u001cseparator", "tab and no-break wide separator"),
    ("zero\u200bwidth", "zero width"),
    ("<skipped>this was skipped", "this was skipped"),
    ("the the the the the the the", "the cat sat on the mat"),
    ("mat the on sat cat the", "the cat sat on the mat"),
    ("(hi) [there] {you} $5 a-- 'em", "hi there you $ 5 a -- them"),
    ("one", "one"),
    ("one two three", "one two three"),
    ("100,000.50 1-2 3- -4 5.", "100000.50 1 2 3 4 5"),
    ("libfoo2.0-dev (>= 1.2~rc3)", "libfoo2.0-dev (>= 1.2)"),
    ("snake_case CamelCase kebab-case", "snake case camelcase kebab case"),
]


def demo():
    lines = (root / "model/tests/fixtures/demo-expected.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["greedy_text"], row["reference"]) for row in map(json.loads, lines)]


def noise(count):
    draw = random.Random(4)
    pieces = list("aab0.,-' \"&;!()\t\n\u00e9\u4e16\u2014\u00a0AB12") + ["the ", " and ", "&amp;", "&lt;", "3.5", ", "]
    texts = []
    for _ in range(count):
        wanted = [draw.choice(pieces) for _ in range(draw.randrange(0, 40))]
        written = [draw.choice(pieces) if draw.random() < 0.2 else piece for piece in wanted]
        texts.append(("".join(written), "".join(wanted)))
    return texts


def main():
    groups = [("demo", demo()), ("awkward", AWKWARD), ("noise", noise(60))]
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    tokenize = Tokenizer13a()
    corpora = []
    for name, texts in groups + [("all", [pair for _, texts in groups for pair in texts])]:
        written, wanted = [pair[0] for pair in texts], [pair[1] for pair in texts]
        rouge = [{kind: score.fmeasure for kind, score in scorer.score(b, a).items()} for a, b in texts]
        corpus = {
            "name": name,
            "bleu": sacrebleu.corpus_bleu(written, [wanted], force=True).score,
            "chrf": sacrebleu.corpus_chrf(written, [wanted]).score,
            "chrf++": sacrebleu.corpus_chrf(written, [wanted], word_order=2).score,
            **{kind: sum(row[kind] for row in rouge) / len(rouge) for kind in rouge[0]},
        }
        if name != "all":
            corpus["rows"] = [
                {"written": a, "wanted": b, "words": tokenize(a.rstrip()), **scores}
                | {
                    "bleu": sacrebleu.corpus_bleu([a], [[b]], force=True).score,
                    "chrf": sacrebleu.corpus_chrf([a], [[b]]).score,
                    "chrf++": sacrebleu.corpus_chrf([a], [[b]], word_order=2).score,
                }
                for (a, b), scores in zip(texts, rouge)
            ]
        corpora.append(corpus)
    versions = {"sacrebleu": sacrebleu.__version__, "rouge-score": "0.1.2"}
    print(json.dumps({"versions": versions, "corpora": corpora}, indent=1, ensure_ascii=True))


main()
