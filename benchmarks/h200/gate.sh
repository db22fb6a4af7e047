#!/usr/bin/env bash
# The gate on a real GPU: record a baseline, then runs against it, in fresh processes.
# usage: gate.sh NAME N WORK_DIR PYTEST_ARGUMENT...     (needs pytest-joules and a GPU; run from the repository)
#   record      N sessions into WORK_DIR/baselines
#   any other   N runs; what is to differ from the recorded ones is set in the environment, e.g.
#               JOULES_EXAMPLE_LAYERS=42 gate.sh regressed 5 /tmp/gate examples/torch
# Reports: WORK_DIR/NAME-K.json; one line a run in WORK_DIR/runs.txt.  FIRST in the environment is the first K.
set -uo pipefail
name=${1:?NAME} count=${2:?N} work=${3:?WORK_DIR}
shift 3
mkdir -p "$work"
first=${FIRST:-1}
for k in $(seq "$first" $((first + count - 1))); do
  arguments=(-q -p no:cacheprovider --energy --energy-baselines "$work/baselines" --energy-json "$work/$name-$k.json")
  if [ "$name" = record ]; then arguments+=(--energy-update); fi
  started=$(date +%s.%N)
  python3 -m pytest "${arguments[@]}" "$@" >"$work/$name-$k.txt" 2>&1
  echo "$name $k exit=$? wall=$(python3 -c "import time; print(round(time.time() - $started, 1))")" \
    "$(grep -h '^energy: .*passed' "$work/$name-$k.txt")" | tee -a "$work/runs.txt"
done
