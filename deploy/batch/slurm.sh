#!/bin/sh
# A file of requests, divided among the tasks of a Slurm job array:
#
#     sbatch --export=ALL,REQUESTS=requests.jsonl,RESULTS=results,MODEL=/models/x deploy/batch/slurm.sh
#
# Each task answers its shard into a file of its own in $RESULTS. A task that is requeued, or submitted again after the
# time limit, goes on where it was ended. When all have ended: cat results/*.jsonl
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
    --shard "$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))/$SLURM_ARRAY_TASK_COUNT" \
    --threads "$SLURM_CPUS_PER_TASK" ${MODEL:+--model "$MODEL"}
