#!/usr/bin/env bash
# Makes an attack as a Slurm job array: a task a part, then a merge. Submit with: bash slurm-array.sh
# What is to be set stands in the first lines; each can also come from the environment.
set -euo pipefail

PALIMPSEST=${PALIMPSEST:-palimpsest}
ATTACK=${ATTACK:-"--model net.safetensors --input-shape 3x32x32"}   # words without spaces inside
RESTARTS=${RESTARTS:-64}                    # in all
EACH=${EACH:-8}                             # of a task
OUT=${OUT:-runs/attack}                     # the merged run; parts are beside it
TASK_OPTIONS=${TASK_OPTIONS:-"--cpus-per-task=8 --mem=16G --time=04:00:00"}   # one kind of node: add --constraint=...
MERGE_OPTIONS=${MERGE_OPTIONS:-"--cpus-per-task=8 --mem=32G --time=02:00:00"}

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    # A task of the array.
    first=$((SLURM_ARRAY_TASK_ID * EACH))
    last=$((first + EACH < RESTARTS ? first + EACH : RESTARTS))
    # A minute before its time limit Slurm sends SIGTERM to this script, which hands it on: the part writes a snapshot and ends, and the
    # task is queued again and goes on from there.
    again=
    trap 'again=yes; kill -TERM "$part"' TERM
    # shellcheck disable=SC2086  # Word splitting is meant.
    "$PALIMPSEST" reconstruct $ATTACK --threads "${SLURM_CPUS_PER_TASK:-1}" \
        --restarts "$first..$last" --out "$OUT.parts/$SLURM_ARRAY_TASK_ID" --resume &
    part=$!
    code=0
    wait "$part" || code=$?
    if [ -n "$again" ]; then
        # The first wait ended with the signal.
        wait "$part" && exit 0
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    fi
    exit "$code"
fi

if [ "${1:-}" = merge ]; then
    exec "$PALIMPSEST" merge "$OUT".parts/* --restarts "$RESTARTS" --threads "${SLURM_CPUS_PER_TASK:-1}" --out "$OUT"
fi

# Submission.
mkdir -p "$OUT.parts" "$OUT.logs"
export PALIMPSEST ATTACK RESTARTS EACH OUT
tasks=$(((RESTARTS + EACH - 1) / EACH))
script=$(realpath "$0")
# shellcheck disable=SC2086
array=$(sbatch --parsable --requeue --signal=B:TERM@60 --array="0-$((tasks - 1))" --job-name=palimpsest \
    --output="$OUT.logs/%a.log" $TASK_OPTIONS "$script")
# shellcheck disable=SC2086
merge=$(sbatch --parsable --dependency="afterok:$array" --job-name=palimpsest-merge --output="$OUT.logs/merge.log" $MERGE_OPTIONS "$script" merge)
echo "array job $array with $tasks tasks of up to $EACH restarts; merge job $merge; logs in $OUT.logs"
