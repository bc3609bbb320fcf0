"""Makes the task's questions from rows of descriptions and synopses.

    python3 examples/lm-eval/make_task.py runs/debian/synopsis.test.jsonl runs/lm-eval/synopsis_choice.jsonl

Each question is a package's description; one of four synopses is its own. The others are the synopses of other packages
that share the most words with the right one, so that its topic alone does not give it away.
"""
import json
import pathlib
import re
import sys

CHOICES = 4
ROWS = 400


def words(text):
    return set(re.findall(r"[a-z]{3,}", text.lower()))


def main():
    rows_path, out_path = sys.argv[1:]
    rows = [json.loads(line) for line in pathlib.Path(rows_path).read_text().splitlines()]
    # One row per synopsis: a right answer that stands among the wrong ones is no question.
    rows = list({row["target"]: row for row in rows}.values())[:ROWS]
    topics = [words(row["target"]) for row in rows]
    out = pathlib.Path(out_path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w") as file:
        for at, row in enumerate(rows):
            others = sorted((other for other in range(len(rows)) if other != at),
                            key=lambda other: (-len(topics[at] & topics[other]), other))
            choices = [rows[other]["target"] for other in others[:CHOICES - 1]]
            gold = at % CHOICES
            choices.insert(gold, row["target"])
            question = {"description": row["input"], "choices": choices, "gold": gold, "synopsis": row["target"]}
            file.write(json.dumps(question, ensure_ascii=False) + "\n")
    print(f"{len(rows)} questions in {out}")


if __name__ == "__main__":
    main()
