#!/usr/bin/env bash
# Finds out which functions `tug template` calls, and writes their names to cli/functions.order, by which the linker puts
# them side by side. To be run when the compiler, many dependencies or much of the chart engine have changed: what is not
# in the list works as well, but is fetched page by page.
#
#   scripts/order-functions.sh CHART...
#
# A chart is a folder or a .tgz file; the more kinds there are the better. Takes a release build, and some seconds a chart.
# Needs valgrind (Debian: apt install valgrind) and nm.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $# -gt 0 ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 1; }

order=cli/functions.order tug=target/release/tug
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

TUG_KEEP_SYMBOLS=1 cargo build --release --bin tug --locked
nm --defined-only "$tug" | awk '$2 ~ /[tT]/ { print $3 }' | sort -u >"$work/functions"
if [[ -f $order ]]; then
  echo "of $(grep -vc '^#' "$order") functions in the list, $(grep -v '^#' "$order" | sort | comm -12 - "$work/functions" | wc -l) are in the program"
fi

number=0
for chart in "$@"; do
  number=$((number + 1))
  # Some charts want values.
  valgrind --quiet --tool=callgrind --demangle=no --compress-strings=no --callgrind-out-file="$work/calls" \
    "$tug" template release "$chart" -n shop --kube-version 1.31.0 >"$work/out" 2>&1 || echo "$chart does not render by itself"
  # A recursive function has a number behind its name.
  grep -E '^c?fn=' "$work/calls" | sed -E "s/^c?fn=//; s/'[0-9]+\$//" | sort -u >"$work/called-$number"
done

{
  echo "# Functions that lie side by side in the program, those first that most charts need, without those
# that less than a tenth need. Written by scripts/order-functions.sh."
  sort "$work"/called-* | uniq -c | sort -k1,1nr -k2,2 | awk -v least=$((number / 10)) '$1 >= least { print $2 }' | grep -Fxf "$work/functions"
} >"$work/order"
mv "$work/order" "$order"
echo "$(grep -vc '^#' "$order") functions from $number charts"
