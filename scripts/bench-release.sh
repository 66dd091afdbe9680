#!/usr/bin/env bash
# Measures releases on the bundled cluster, beside the real helm on the same cluster with the same chart:
#   install, upgrade, uninstall: a release of OBJECTS objects (default 500: config maps, secrets, services, accounts)
#   list: `tug list -A` and `helm list -A` over 1000 revisions in 50 namespaces
# Usage: scripts/bench-release.sh [OBJECTS [RUNS]]   as root, with helm on the path, after `cargo build --release --bin tug`
#        TUG=target/debug/tug scripts/bench-release.sh  measures another binary
set -euo pipefail
cd "$(dirname "$0")/.."

objects=${1:-500} runs=${2:-3}
tug=${TUG:-$PWD/target/release/tug}
[[ $tug = /* ]] || tug=$PWD/$tug
[[ -x $tug ]] || { echo "build it first: cargo build --release --bin tug" >&2; exit 1; }
command -v helm >/dev/null || { echo "helm is not installed" >&2; exit 1; }

if [[ ${INSIDE:-} != 1 ]]; then
  exec env INSIDE=1 unshare --net "$0" "$@"
fi

export TUG_DATA_DIR HOME KUBECONFIG
TUG_DATA_DIR=$(mktemp -d) HOME=$TUG_DATA_DIR KUBECONFIG=$TUG_DATA_DIR/kubeconfig
trap '"$tug" cluster delete >/dev/null 2>&1; rm -rf "$TUG_DATA_DIR"' EXIT
"$tug" cluster start >/dev/null 2>&1

# Prints how long a command takes, in milliseconds.
milliseconds() {
  local begin end
  begin=$(date +%s%N)
  "$@" >"$TUG_DATA_DIR/bench.out" 2>&1 || { cat "$TUG_DATA_DIR/bench.out" >&2; return 1; }
  end=$(date +%s%N)
  echo $(((end - begin) / 1000000))
}

# The middle of some numbers.
median() { sort -n | sed -n "$((($1 + 1) / 2))p"; }

chart=$TUG_DATA_DIR/many
mkdir -p "$chart/templates"
printf 'apiVersion: v2\nname: many\nversion: 1.0.0\n' >"$chart/Chart.yaml"
printf 'round: 0\ncount: %s\n' "$objects" >"$chart/values.yaml"
cat >"$chart/templates/objects.yaml" <<'CHART'
{{- range $n := until (int .Values.count) }}
---
apiVersion: v1
kind: {{ index (list "ConfigMap" "Secret" "Service" "ServiceAccount") (mod $n 4) }}
metadata:
  name: {{ $.Release.Name }}-{{ $n }}
  labels: {app: many, part: "{{ $n }}", round: "{{ $.Values.round }}"}
{{- if eq (mod $n 4) 0 }}
data:
  revision: "{{ $.Release.Revision }}"
  text: {{ repeat 10 "some text of a usual length " | quote }}
{{- else if eq (mod $n 4) 1 }}
stringData:
  password: "secret {{ $n }}"
{{- else if eq (mod $n 4) 2 }}
spec:
  selector: {app: many}
  ports: [{port: 80, name: http}, {port: 443, name: https}]
{{- end }}
{{- end }}
CHART

for tool in "$tug" helm; do
  name=$(basename "$tool")
  for ((run = 1; run <= runs; run++)); do
    milliseconds "$tool" install "$name" "$chart" >>"$TUG_DATA_DIR/$name.install"
    milliseconds "$tool" upgrade "$name" "$chart" --set round="$run" >>"$TUG_DATA_DIR/$name.upgrade"
    milliseconds "$tool" uninstall "$name" >>"$TUG_DATA_DIR/$name.uninstall"
  done
done
printf '%-28s %10s %10s %8s\n' "$objects objects, median of $runs" 'tug (ms)' 'helm (ms)' 'factor'
for what in install upgrade uninstall; do
  ours=$(median "$runs" <"$TUG_DATA_DIR/tug.$what") theirs=$(median "$runs" <"$TUG_DATA_DIR/helm.$what")
  printf '%-28s %10s %10s %8s\n' "$what" "$ours" "$theirs" "$(awk "BEGIN {printf \"%.1f\", $theirs / $ours}")"
done

[[ ${SKIP_LIST:-} == 1 ]] && exit
small=$TUG_DATA_DIR/small
mkdir -p "$small/templates"
printf 'apiVersion: v2\nname: small\nversion: 1.0.0\n' >"$small/Chart.yaml"
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ .Release.Name }}"}\ndata: {r: "{{ .Release.Revision }}"}\n' \
  >"$small/templates/c.yaml"
for ((n = 1; n <= 50; n++)); do
  "$tug" install app "$small" -n "team-$n" --create-namespace >/dev/null
  for ((revision = 2; revision <= 20; revision++)); do
    "$tug" upgrade app "$small" -n "team-$n" --history-max 0 >/dev/null
  done
done
for tool in "$tug" helm; do
  name=$(basename "$tool")
  for ((run = 1; run <= 9; run++)); do milliseconds "$tool" list -A >>"$TUG_DATA_DIR/$name.list"; done
done
printf '%-28s %10s %10s\n' 'list -A, 1000 revisions' "$(median 9 <"$TUG_DATA_DIR/tug.list")" "$(median 9 <"$TUG_DATA_DIR/helm.list")"
