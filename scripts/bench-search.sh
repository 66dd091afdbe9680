#!/usr/bin/env bash
# Times `search repo` over an index of 10,000 chart versions: tug against the real helm, in one run.
# Usage: scripts/bench-search.sh [TUG] [HELM] [RUNS]
set -euo pipefail
tug=${1:-target/release/tug} helm=${2:-helm} runs=${3:-10}
tug=$(realpath "$tug")
work=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/www"
python3 - "$work/www/index.yaml" <<'PY'
import sys
out = open(sys.argv[1], "w")
out.write("apiVersion: v1\nentries:\n")
for chart in range(500):
    out.write(f"  chart-{chart:03}:\n")
    for minor in range(19, -1, -1):
        out.write(f"""  - apiVersion: v2
    appVersion: "{chart}.{minor}"
    created: "2026-01-01T00:00:00Z"
    description: Chart number {chart} of a large repository, for a bench
    digest: "{chart * 100 + minor:064x}"
    home: https://example.com/{chart}
    keywords:
    - bench
    - word{chart}
    maintainers:
    - email: ann@example.com
      name: Ann
    name: chart-{chart:03}
    urls:
    - charts/chart-{chart:03}-1.{minor}.0.tgz
    version: 1.{minor}.0
""")
out.write('generated: "2026-01-01T00:00:00Z"\n')
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 -d "$work/www" >/dev/null 2>&1 &
server=$!
until curl -sf "http://127.0.0.1:$port/" >/dev/null; do sleep 0.05; done
median() { # of the wall times of a command, in milliseconds
  for _ in $(seq "$runs"); do
    local start end
    start=$(date +%s%N)
    "$@" >/dev/null
    end=$(date +%s%N)
    echo $(((end - start) / 10000))
  done | sort -n | awk '{ t[NR] = $1 } END { printf "%.1f", t[int((NR + 1) / 2)] / 100 }'
}
for who in tug helm; do
  export HELM_CONFIG_HOME=$work/$who/config HELM_CACHE_HOME=$work/$who/cache HELM_DATA_HOME=$work/$who/data HOME=$work/$who
  mkdir -p "$HOME"
  program=${!who}
  "$program" repo add big "http://127.0.0.1:$port" >/dev/null
  declare "${who}_ms=$(median "$program" search repo chart-123)"
done
awk -v tug="$tug_ms" -v helm="$helm_ms" -v runs="$runs" 'BEGIN {
  printf "search repo over 10000 versions, median of %d: tug %s ms, helm %s ms, %.1f times\n", runs, tug, helm, helm / tug
}'
