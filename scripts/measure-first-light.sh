#!/usr/bin/env bash
# Measures first light with the release binary, RUNS times (default 5), each in a network namespace and data folder of its own:
#   install: from nothing running to the answer of an installed chart over HTTP
#   ready:   from the return of `tug cluster start` to an answered /readyz (needs kubectl)
# Usage: scripts/measure-first-light.sh [RUNS]      as root, after `cargo build --release --bin tug`
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-5}
tug=$PWD/target/release/tug
[[ -x $tug ]] || { echo "build it first: cargo build --release --bin tug" >&2; exit 1; }

# Runs inside a fresh network namespace: prints the two figures in milliseconds.
measure() {
  export TUG_DATA_DIR HOME
  TUG_DATA_DIR=$(mktemp -d) HOME=$TUG_DATA_DIR
  trap '"$tug" cluster delete >/dev/null 2>&1; rm -rf "$TUG_DATA_DIR"' EXIT
  local begin answered
  begin=$(date +%s%N)
  "$tug" install hello charts/hello >/dev/null 2>"$TUG_DATA_DIR/install.err" || { cat "$TUG_DATA_DIR/install.err" >&2; exit 1; }
  curl --silent --fail --max-time 10 http://127.0.0.1:30080 >/dev/null
  answered=$(date +%s%N)
  local install=$(((answered - begin) / 1000000)) ready=-
  if command -v kubectl >/dev/null; then
    "$tug" cluster stop >/dev/null 2>&1
    "$tug" cluster start >/dev/null 2>&1
    begin=$(date +%s%N)
    KUBECONFIG=$TUG_DATA_DIR/kubeconfig kubectl get --raw /readyz >/dev/null
    answered=$(date +%s%N)
    ready=$(((answered - begin) / 1000000))
  fi
  echo "$install $ready"
}

if [[ ${1:-} == --inside ]]; then
  measure
  exit
fi

printf '%-6s %12s %12s\n' run 'install (ms)' 'ready (ms)'
for ((run = 1; run <= runs; run++)); do
  read -r install ready < <(unshare --net "$0" --inside)
  printf '%-6s %12s %12s\n' "$run" "$install" "$ready"
done
