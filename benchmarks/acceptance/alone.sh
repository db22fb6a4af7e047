#!/usr/bin/env bash
# What the acceptance experiment asks of one GPU alone: doctor, observer effect, single shots, host-bound sessions,
# CodeCarbon.  About eight minutes.
#   benchmarks/acceptance/alone.sh OUT
set -u
out=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
run() { # NAME COMMAND...
  local name=$1
  shift
  echo "== $name"
  "$@" 2>&1 | tee "$out/$name.txt"
}
run doctor python3 -m pytest_joules.cli doctor --json "$out/doctor.json"
run observer python3 "$here/observer.py" --seconds 45 --out "$out/observer.json"
run one-shot python3 "$here/one_shot.py" --seconds 18 --out "$out/one-shot.json"
run hostbound python3 "$here/host.py" run --out "$out/hostbound" --workloads hostbound --hurry 1.5 --seconds 100
run codecarbon python3 "$here/codecarbon_windows.py" --count 7 --out "$out/codecarbon.json"
