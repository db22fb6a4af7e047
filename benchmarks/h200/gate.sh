#!/usr/bin/env bash
# The gate on a real GPU: record a baseline, repeat unchanged runs, then runs with 5 % more work.
# usage: gate.sh record|unchanged|regressed N WORK_DIR     (needs pytest-joules, torch and a GPU; run from the repository)
#   record      N sessions in fresh processes into WORK_DIR/baselines
#   unchanged   N runs that must not fail
#   regressed   N runs with 42 layers instead of 40, which must all fail
# Reports: WORK_DIR/{unchanged,regressed}-K.json; one line a run in WORK_DIR/runs.txt
set -uo pipefail
mode=${1:?mode} count=${2:?N} work=${3:?WORK_DIR}
mkdir -p "$work"
common=(-q -p no:cacheprovider --energy --energy-baselines "$work/baselines" examples/torch)
case $mode in
  record)
    python3 -m pytest_joules.cli record --sessions "$count" -- "${common[@]}" ;;
  unchanged | regressed)
    if [ "$mode" = regressed ]; then export JOULES_EXAMPLE_LAYERS=42; fi
    for k in $(seq "$count"); do
      started=$(date +%s.%N)
      python3 -m pytest "${common[@]}" --energy-json "$work/$mode-$k.json" >"$work/$mode-$k.txt" 2>&1
      echo "$mode $k exit=$? wall=$(python3 -c "import time; print(round(time.time() - $started, 1))")" \
        "$(grep -h '^energy: .*passed' "$work/$mode-$k.txt")" | tee -a "$work/runs.txt"
    done ;;
  *) echo "unknown mode $mode" >&2; exit 2 ;;
esac
