#!/usr/bin/env bash
# Runs the simulator through the night: one process a core, each with seeds of its own, until
# one fails or it is stopped. Usage: tests/sim/night.sh [BUILD] (default: build)
# A failure's report and how to replay it are in BUILD/night/, and the exit code is 1.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build}
out=$build/night
mkdir -p "$out"
first=$(date +%s)000000
pids=()
for core in $(seq "$(nproc)"); do
  "$build/bin/rq-sim" --forever --from $((first + core * 10000000)) --mode all >"$out/$core.log" 2>&1 &
  pids+=($!)
done
trap 'kill "${pids[@]}" 2>/dev/null; wait; tail -n 1 "$out"/*.log; exit 0' INT TERM
wait -n "${pids[@]}"
kill "${pids[@]}" 2>/dev/null
wait
grep -h -A 60 "failed" "$out"/*.log | tail -n 60
exit 1
