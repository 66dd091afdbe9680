#!/usr/bin/env bash
# Measures how long a cluster of OBJECTS objects (default 100000 config maps) takes to start, RUNS times (default 5): from
# the start of the server's process to an answered /readyz, once after it was stopped and then each time after a kill -9.
# The cluster has a network namespace and a data folder of its own.
# Usage: scripts/measure-start.sh [OBJECTS [RUNS]]      as root, after `cargo build --release --bin tug`
#        TUG=target/debug/tug scripts/measure-start.sh 10000   measures another binary
set -euo pipefail
cd "$(dirname "$0")/.."

objects=${1:-100000} runs=${2:-5}
command -v python3 >/dev/null || { echo "python3 is not installed" >&2; exit 1; }
. scripts/own-cluster.sh

PYTHONPATH=scripts python3 - "$TUG_DATA_DIR/kubeconfig" "$objects" <<'PYTHON'
"""Makes config maps of usual size, by a few connections at a time."""
import sys, threading
from cluster_api import Cluster, ask
cluster, objects = Cluster(sys.argv[1]), int(sys.argv[2])
def make(first, step):
    connection = cluster.connect()
    for number in range(first, objects, step):
        ask(connection, 'POST', '/api/v1/namespaces/default/configmaps', {
            'metadata': {'name': f'map-{number}', 'labels': {'app': 'many', 'part': str(number % 100)}},
            'data': {'text': 'x' * 400},
        })
threads = [threading.Thread(target=make, args=(first, 8)) for first in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
PYTHON

api=$(sed -n 's/^ *server: *"\?\([^"]*\)"\?$/\1/p' "$TUG_DATA_DIR/kubeconfig")
printf '%s objects, %s MiB on disk\n' "$objects" "$(du -sm "$TUG_DATA_DIR" | cut -f1)"
"$tug" cluster stop >/dev/null 2>&1
printf '%-6s %14s %16s %16s\n' run 'started (ms)' 'processor (ms)' 'resident (MiB)'
for ((run = 1; run <= runs; run++)); do
  begin=$(date +%s%N)
  "$tug" cluster start >/dev/null 2>&1
  curl --silent --insecure --fail --max-time 30 "$api/readyz" >/dev/null
  end=$(date +%s%N)
  server=$(server_pid)
  processor=$(sed 's/.*) //' "/proc/$server/stat" | awk '{ print ($12 + $13) * 10 }')
  resident=$(awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$server/status")
  printf '%-6s %14s %16s %16s\n' "$run" $(((end - begin) / 1000000)) "$processor" "$resident"
  kill -9 "$server"
done
