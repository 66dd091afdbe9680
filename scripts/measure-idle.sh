#!/usr/bin/env bash
# Measures a single-node cluster in which nothing happens, for SECONDS (default 600): memory, use of a core, growth on disk.
# The cluster has a network namespace and a data folder of its own.
# Usage: scripts/measure-idle.sh [SECONDS]      as root, after `cargo build --release --bin tug`
#        TUG=target/debug/tug scripts/measure-idle.sh 60   measures another binary
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
settle=15 # the first seconds belong to the start
. scripts/own-cluster.sh
pid=$(server_pid)

resident() { awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status"; }
# Hundredths of a second, of all threads.
processor() { sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }'; }
disk() { du -sk "$TUG_DATA_DIR" | cut -f1; }
switches() { cat "/proc/$pid/task/"*/status | awk '/^voluntary_ctxt_switches:/ { n += $2 } END { print n }'; }

sleep "$settle"
resident_before=$(resident) processor_before=$(processor) disk_before=$(disk) switches_before=$(switches)
resident_most=$resident_before
for ((second = 0; second < seconds; second++)); do
  sleep 1
  now=$(resident)
  ((now > resident_most)) && resident_most=$now
done
awk -v s="$seconds" -v r0="$resident_before" -v r1="$(resident)" -v most="$resident_most" \
  -v p="$(($(processor) - processor_before))" -v d0="$disk_before" -v d1="$(disk)" \
  -v c="$(($(switches) - switches_before))" 'BEGIN {
    printf "%d seconds\n", s
    printf "resident        %.1f MiB, at first %.1f, at most %.1f\n", r1 / 1024, r0 / 1024, most / 1024
    printf "processor       %.3f %% of a core\n", p / s
    printf "on disk         %.1f MiB, grew by %d KiB\n", d1 / 1024, d1 - d0
    printf "woken up        %.1f times a second\n", c / s
  }'
