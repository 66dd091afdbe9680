#!/usr/bin/env bash
# tug, with the API server as a judge: after `convert --chart DIR` it also installs the chart with `--dry-run=server`.
# To stand in for tug in a comparison that converts many projects.
#
#     scripts/judged-tug.sh DATA_DIR ARGUMENT...
#
# DATA_DIR is that of a running cluster (`TUG_DATA_DIR=DATA_DIR tug cluster start`). Needs a build (or TUG=PROGRAM).
set -euo pipefail
data=$1
shift
tug=${TUG:-$(dirname "$0")/../target/debug/tug}
"$tug" "$@"
for ((i = 1; i < $#; i++)); do
  next=$((i + 1))
  if [ "${!i}" = --chart ]; then
    TUG_DATA_DIR=$data HOME=$data "$tug" install judged "${!next}" --dry-run=server >/dev/null
  fi
done
