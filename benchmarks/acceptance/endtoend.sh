#!/usr/bin/env bash
# The commands a user gives, on a real GPU, on examples/torch: doctor, record, gate with a trace, A/B.  About six minutes.
#   benchmarks/acceptance/endtoend.sh OUT
set -u
out=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$out"
work=$(mktemp -d)
cp "$root"/examples/torch/*.py "$work"
cd "$work" || exit 1
joules() { python3 -m pytest_joules.cli "$@"; }
gate() { python3 -m pytest -q -p no:cacheprovider --energy "$@" .; }
joules doctor --strict | tail -4
joules record --sessions 3 -- -q -p no:cacheprovider . 2>&1 | grep -v "^$"
joules show
cp -r baselines "$out/"
for number in 1 2 3; do
  gate --energy-json="$out/unchanged-$number.json" --energy-trace="$out/traces" | grep "^energy:\|INCONCLUSIVE\|REGRESSED"
done
for number in 1 2; do
  JOULES_EXAMPLE_LAYERS=42 gate --energy-json="$out/regressed-$number.json" | grep "^energy:\|^E\|REGRESSED"
done
git init -q . && git config user.name x && git config user.email x@example.org && git add ./*.py && git commit -qm base
joules ab HEAD --pairs 2 --json "$out/ab-unchanged.json" -- -q -p no:cacheprovider .
sed -i 's/"JOULES_EXAMPLE_LAYERS", "40"/"JOULES_EXAMPLE_LAYERS", "42"/' test_decoder.py
joules ab HEAD --pairs 4 --json "$out/ab-regressed.json" -- -q -p no:cacheprovider .
echo "ab exit code $?"
