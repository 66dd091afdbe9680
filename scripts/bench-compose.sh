#!/usr/bin/env bash
# How long a project of six services takes to be healthy: tug compose up beside docker compose up --wait, in turns.
#
#     scripts/bench-compose.sh [RUNS]
#
# Needs root, a release build (or TUG=PROGRAM), the packages that tests/e2e/projects/shop/images.sh names, Debian's
# docker.io, and docker compose (scripts/install-peers.sh). Both run in a network of their own; the engine has its own
# data and is ended again. The first `up` of each makes the database anew.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}
tug=$(realpath "${TUG:-target/release/tug}")
compose=$(command -v docker-compose || true)
for needed in "$tug" "${compose:-docker-compose}" /usr/sbin/dockerd; do
  [ -x "$needed" ] || { echo "$needed is missing" >&2; exit 1; }
done
if [ "${INSIDE:-}" != 1 ]; then
  # A network of its own, with loopback only.
  exec unshare --net --mount env INSIDE=1 PATH="$PATH:/usr/sbin:/sbin" TUG="$tug" "$0" "$runs"
fi
. scripts/docker-engine.sh
tests/e2e/projects/shop/images.sh "$work"
for archive in "$work"/*.tar; do
  load "$archive"
done

cd tests/e2e/projects/shop
milliseconds() { # COMMAND...: how long it took
  local start end
  start=$(date +%s%N)
  "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
  end=$(date +%s%N)
  echo $(((end - start) / 1000000))
}
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
ours=() theirs=()
for ((run = 1; run <= runs; run++)); do
  theirs+=("$(milliseconds "$compose" up --detach --wait)")
  "$compose" down --volumes --timeout 1 >/dev/null 2>&1
  ours+=("$(milliseconds "$tug" compose up --detach)")
  "$tug" compose down --volumes >/dev/null 2>&1
  echo "run $run: tug compose up ${ours[-1]} ms, docker compose up --wait ${theirs[-1]} ms"
done
a=$(median "${ours[@]}") b=$(median "${theirs[@]}")
echo "median of $runs: tug compose up $a ms, docker compose up --wait $b ms, $((100 * a / b)) %"
