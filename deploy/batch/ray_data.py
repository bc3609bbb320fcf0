"""A file of requests, divided among the nodes of a Ray cluster; the results are a Ray dataset.

    python deploy/batch/ray_data.py requests.jsonl results --shards 8 --cpus 8 --model /models/x

Files must be reachable under the same path from all nodes, and `server` must be in their PATH. Repeat the command after
a failure: each shard goes on where it was ended.
"""

import argparse
import pathlib
import subprocess


def run_shard(row, options):
    """Answers one shard into a file of its own; returns the file."""
    index = int(row["id"])
    results = pathlib.Path(options.results, f"{index}.jsonl")
    command = ["server", "batch", "--in", options.requests, "--out", str(results)]
    command += ["--shard", f"{index}/{options.shards}", "--threads", str(options.cpus)]
    command += ["--model", options.model] if options.model else []
    subprocess.run(command, check=True)
    return {"results": str(results)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests")
    parser.add_argument("results", help="folder, one file for each shard")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--cpus", type=int, default=8, help="cores for each shard")
    parser.add_argument("--model")
    options = parser.parse_args()
    # Tasks run in folders of their own.
    options.requests = str(pathlib.Path(options.requests).resolve())
    options.results = str(pathlib.Path(options.results).resolve())
    if options.model and pathlib.Path(options.model).exists():
        options.model = str(pathlib.Path(options.model).resolve())

    import ray

    pathlib.Path(options.results).mkdir(parents=True, exist_ok=True)
    shards = ray.data.range(options.shards, override_num_blocks=options.shards)
    done = shards.map(lambda row: run_shard(row, options), num_cpus=options.cpus)
    results = ray.data.read_json([row["results"] for row in done.take_all()])
    print(results.count(), "results")


if __name__ == "__main__":
    main()
