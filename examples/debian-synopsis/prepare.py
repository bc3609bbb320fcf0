#!/usr/bin/env python3
"""Makes rows to train on from Debian's package index: prepare.py OUT_DIR

Fetches the index and its translations with apt-get into OUT_DIR/apt (the system's own lists stay as they are) and
writes JSON lines. Packages built from one source share a split, so that no split sees another's text:

  synopsis.{train,valid,test}.jsonl   {"input": long description, "target": one-line synopsis}
  section.{train,valid,test}.jsonl    {"input": long description, "label": archive section}
  en-de.* and en-fr.*                 {"input": English text, "target": its translation}
  text.{train,valid,test}.jsonl       {"text": synopsis and description}

Needs a Debian or Ubuntu machine (apt-get) and the network.
"""
import hashlib
import json
import os
import re
import subprocess
import sys

LANGUAGES = ("en", "de", "fr")
SHORTEST_DESCRIPTION = 40  # characters; a shorter one says no more than its synopsis


def fetch(folder):
    """Downloads the package lists; returns the folder that holds them."""
    lists, cache = os.path.abspath(f"{folder}/apt/lists"), os.path.abspath(f"{folder}/apt/cache")
    os.makedirs(f"{lists}/partial", exist_ok=True)
    os.makedirs(cache, exist_ok=True)
    options = {
        "Dir::State::Lists": lists,
        "Dir::Cache": cache,
        "Acquire::Languages": ",".join(LANGUAGES),
        "Acquire::GzipIndexes": "false",
        "Acquire::CompressionTypes::Order::": "gz",
    }
    flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    subprocess.run(["apt-get", "-qq", *flags, "update"], check=True)
    return lists


def stanzas(path):
    """The paragraphs of a control file, as dictionaries; continuation lines keep their newline."""
    if path.endswith(".lz4"):
        command = ["/usr/lib/apt/apt-helper", "cat-file", path]
        text = subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")
    else:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    for paragraph in text.split("\n\n"):
        fields, key = {}, None
        for line in paragraph.split("\n"):
            if line[:1] in (" ", "\t") and key:
                fields[key] += "\n" + line[1:]
            elif ":" in line:
                key, value = line.split(":", 1)
                fields[key] = value.strip()
        if fields:
            yield fields


def flowing(body):
    """A long description with one line per paragraph; a line with a dot alone separates them."""
    paragraphs = re.split(r"(?m)^\s*\.\s*$", body)
    spaced = (re.sub(r"\s+", " ", paragraph).strip() for paragraph in paragraphs)
    return "\n".join(paragraph for paragraph in spaced if paragraph)


def read(lists):
    """(source, section) of each package, and for each language (synopsis, description) of each (package, checksum)."""
    packages, texts = {}, {language: {} for language in LANGUAGES}
    for name in sorted(os.listdir(lists)):
        path, translation = f"{lists}/{name}", re.search(r"Translation-(\w\w)", name)
        if "_Packages" in name:
            for fields in stanzas(path):
                source = fields.get("Source", fields["Package"]).split()[0]
                packages[fields["Package"]] = (source, fields.get("Section", "misc").split("/")[-1])
        elif translation:
            for fields in stanzas(path):
                keys = (key for key in fields if key.startswith("Description-") and key != "Description-md5")
                for key in keys:
                    synopsis, _, body = fields[key].partition("\n")
                    own = (fields["Package"], fields["Description-md5"])
                    texts[translation[1]][own] = (synopsis.strip(), flowing(body))
                    break
    return packages, texts


def split_of(source):
    """One source in 50 is for tests, one for validation."""
    place = int(hashlib.sha256(source.encode()).hexdigest(), 16) % 50
    return {0: "test", 1: "valid"}.get(place, "train")


def rows(packages, texts):
    """(task, split, row) of all rows, in the order of the package names."""
    seen = set()
    for own, (synopsis, body) in sorted(texts["en"].items()):
        if len(body) < SHORTEST_DESCRIPTION or (synopsis, body) in seen:
            continue
        seen.add((synopsis, body))
        source, section = packages.get(own[0], (own[0], "misc"))
        split = split_of(source)
        yield "synopsis", split, {"input": body, "target": synopsis}
        yield "section", split, {"input": body, "label": section}
        yield "text", split, {"text": f"{synopsis}\n{body}"}
        for language in LANGUAGES[1:]:
            if own in texts[language]:
                other_synopsis, other_body = texts[language][own]
                yield f"en-{language}", split, {"input": synopsis, "target": other_synopsis}
                paragraphs, others = body.split("\n"), other_body.split("\n")
                if len(paragraphs) == len(others):
                    for paragraph, other in zip(paragraphs, others):
                        yield f"en-{language}", split, {"input": paragraph, "target": other}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = sys.argv[1]
    files, counts = {}, {}
    for task, split, row in rows(*read(fetch(out))):
        name = f"{task}.{split}.jsonl"
        if name not in files:
            files[name] = open(f"{out}/{name}", "w", encoding="utf-8")
        files[name].write(json.dumps(row, ensure_ascii=False) + "\n")
        counts[name] = counts.get(name, 0) + 1
    for name, file in sorted(files.items()):
        file.close()
        print(f"{name}: {counts[name]} rows")


if __name__ == "__main__":
    main()
