#!/usr/bin/env bash
# Simulates clusters with the released binary and prints one line each: bench-cluster.sh [TUG] [PODS] [NODES]
#
# The store is on disk, with its log, in the folder of temporary files (TMPDIR). "all" is the whole way, from deployments
# over pods to running; "placing" is the scheduler with all pods waiting. Other work on the machine spoils the figures.
set -euo pipefail
tug=${1:-target/release/tug}
pods=${2:-150000}
nodes=${3:-5000}

simulate() {
  local what=$1
  shift
  "$tug" cluster simulate -o json "$@" | python3 -c '
import json, sys
report = json.load(sys.stdin)
get = report["requests"]["get"]
print("%-34s %6d nodes %8d pods %7.0f placed/s  GET p99 %6.1f ms  %6d MiB at most  %5.0f us of processor a pod" % (
    sys.argv[1], report["nodes"], report["placed"], report["placementsPerSecond"], get["p99Ms"],
    report["memoryPeakMib"], report["processor"]["microsPerPod"]))
for fault in report["faults"]:
    print("  wrong: " + fault)' "$what"
}

simulate "plain, all" --nodes "$nodes" --pods "$pods"
simulate "plain, placing" --nodes "$nodes" --pods "$pods" --waiting
simulate "anti-affinity and spread, all" --nodes "$nodes" --pods "$pods" --anti-affinity --topology-spread
simulate "anti-affinity and spread, placing" --nodes "$nodes" --pods "$pods" --anti-affinity --topology-spread --waiting
for count in 500 1000 "$nodes"; do
  simulate "plain, placing, growth" --nodes "$count" --pods 20000 --waiting
done
