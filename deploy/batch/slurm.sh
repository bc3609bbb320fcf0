#!/bin/sh
# A file of requests, divided among the tasks of a Slurm job array:
#
#     sbatch --export=ALL,REQUESTS=requests.jsonl,RESULTS=results,MODEL=/models/x deploy/batch/slurm.sh
#
# Task I answers shard I of $SHARDS into a file of its own in $RESULTS; the array is 0 to SHARDS - 1. A task that is
# requeued goes on where it was ended, and so does one that is submitted again after the time limit (--array=3), as long
# as SHARDS stays the same. When all have ended: cat results/*.jsonl
#SBATCH --job-name=encdec-batch
#SBATCH --array=0-7
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# A minute before the time is over no further request is begun, and those under way are written.
#SBATCH --signal=B:TERM@60
set -eu

mkdir -p "$RESULTS"
# The server takes the place of the shell, so that signals reach it.
exec "${SERVER:-server}" batch \
    --in "$REQUESTS" --out "$RESULTS/$SLURM_ARRAY_TASK_ID.jsonl" \
    --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-8}" \
    --threads "$SLURM_CPUS_PER_TASK" ${MODEL:+--model "$MODEL"}
