#!/usr/bin/env bash
# Converts projects, has the bundled API server and the real helm judge what comes of them, and compares the chart as
# tug and as helm render it.
#
#     scripts/check-compose-corpus.sh [FOLDER]
#
# Every file below FOLDER that docker compose would find is a project: the projects of this repository's tests, unless
# a collection is named. Needs root, a build (or TUG=PROGRAM), helm 4 (scripts/install-peers.sh) and python3-yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
tug=$(realpath "${TUG:-target/debug/tug}")
command -v helm >/dev/null || { echo "helm is missing" >&2; exit 1; }
if [ "${INSIDE:-}" != 1 ]; then
  exec unshare --net env INSIDE=1 TUG="$tug" "$0" "$@"
fi
ip link set lo up
work=$(mktemp -d)
export HOME=$work TUG_DATA_DIR=$work/tug
trap '"$tug" cluster delete >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
"$tug" cluster start >/dev/null 2>&1

folders=("$@")
[ $# -gt 0 ] || folders=(tests/e2e/projects)
equal() { # FILE FILE: whether both hold the same objects
  python3 - "$@" <<'PYTHON'
import sys, yaml
def objects(path):
    found = [one for one in yaml.safe_load_all(open(path)) if one]
    return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))
sys.exit(objects(sys.argv[1]) != objects(sys.argv[2]))
PYTHON
}
count=0 bad=0
while IFS= read -r file; do
  folder=$(dirname "$file")
  project=$(realpath "$folder")
  fault() { echo "$file: $1"; sed 's/^/    /' "$work/said" | head -5; bad=$((bad + 1)); }
  # What docker compose would refuse is no project.
  (cd "$project" && "$tug" compose -f "$(basename "$file")" config --quiet) >"$work/said" 2>&1 || continue
  count=$((count + 1))
  rm -rf "$work/chart"
  if ! (cd "$project" && "$tug" compose -f "$(basename "$file")" convert --chart "$work/chart") >"$work/said" 2>&1; then
    fault "cannot be converted"
  elif ! helm lint --strict "$work/chart" >"$work/said" 2>&1; then
    fault "helm lint --strict refuses the chart"
  elif ! helm template shop "$work/chart" >"$work/helm.yaml" 2>"$work/said"; then
    fault "helm cannot render the chart"
  elif ! "$tug" template shop "$work/chart" >"$work/tug.yaml" 2>"$work/said"; then
    fault "tug cannot render the chart"
  elif ! equal "$work/helm.yaml" "$work/tug.yaml" >"$work/said" 2>&1; then
    fault "tug and helm render different objects"
  elif ! "$tug" install shop "$work/chart" --dry-run=server >"$work/said" 2>&1; then
    fault "the API server refuses objects"
  fi
done < <(find "${folders[@]}" -name compose.yaml -o -name compose.yml -o -name 'docker-compose*.yml' -o -name 'docker-compose*.yaml' | sort)
echo "$count projects, $bad with faults"
[ "$count" -gt 0 ] && [ "$bad" = 0 ]
