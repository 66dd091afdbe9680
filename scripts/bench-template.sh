#!/usr/bin/env bash
# Compares `tug template` with the real helm as whole processes: wall time, user CPU time and peak memory per chart.
#
#   scripts/bench-template.sh [--tug BIN] [--helm BIN] [--runs N] CHART...
#
# A chart is a folder or a .tgz file; values files beside it are not used. Without charts, new ones are made and an
# umbrella chart with 60 subcharts. Needs bash, GNU time (as `/usr/bin/time`) and awk.
set -euo pipefail
cd "$(dirname "$0")/.."

tug=target/release/tug helm=helm runs=7
while [[ ${1-} == --* ]]; do
  case $1 in
    --tug) tug=$2 ;;
    --helm) helm=$2 ;;
    --runs) runs=$2 ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 1 ;;
  esac
  shift 2
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Subcharts that render texts of their values in a loop: 5 MB for 60 of them.
umbrella() {
  local folder=$1 count=$2 at line
  mkdir -p "$folder/charts" "$folder/templates"
  printf 'apiVersion: v2\nname: umbrella\nversion: 1.0.0\n' >"$folder/Chart.yaml"
  printf '{{ define "umbrella.labels" }}app: {{ .Chart.Name }}\nrelease: {{ .Release.Name }}{{ end }}' >"$folder/templates/_helpers.tpl"
  for at in $(seq "$count"); do
    local sub=$folder/charts/sub$at
    mkdir -p "$sub/templates"
    printf 'apiVersion: v2\nname: sub%s\nversion: 1.0.0\n' "$at" >"$sub/Chart.yaml"
    {
      printf "maps: 100\ntext: 'number {{ .i }} of {{ .Values.maps }}'\nbody: |\n"
      for line in $(seq 20); do printf '  line %s of {{ .Chart.Name }} in {{ .Release.Namespace }}\n' "$line"; done
    } >"$sub/values.yaml"
    cat >"$sub/templates/maps.yaml" <<'TEMPLATE'
{{- range $i := until (int .Values.maps) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $.Release.Name }}-{{ $.Chart.Name }}-{{ $i }}
  labels:
    {{- include "umbrella.labels" $ | nindent 4 }}
data:
  text: {{ tpl $.Values.text (dict "i" $i "Values" $.Values) | quote }}
  body: |
    {{- tpl $.Values.body $ | nindent 4 }}
{{- end }}
TEMPLATE
  done
}

charts=("$@")
if [[ ${#charts[@]} == 0 ]]; then
  (cd "$work" && "$OLDPWD/$tug" create --go web >/dev/null 2>&1) || (cd "$work" && "$tug" create --go web >/dev/null 2>&1)
  umbrella "$work/umbrella-15" 15
  umbrella "$work/umbrella-30" 30
  umbrella "$work/umbrella-60" 60
  charts=("$work/web" "$work/umbrella-15" "$work/umbrella-30" "$work/umbrella-60")
fi

# Seconds of wall time, of user time, and KiB of memory of one run.
measure() {
  /usr/bin/time -o "$work/time" -f '%e %U %M' "$@" >"$work/out" 2>/dev/null || return 1
  cat "$work/time"
}

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

export TZ=UTC
printf '%-32s %9s %9s %7s %9s %9s %7s %10s\n' chart 'helm s' 'tug s' ratio 'helm MB' 'tug MB' ratio 'bytes'
for chart in "${charts[@]}"; do
  : >"$work/helm" && : >"$work/tug"
  for _ in $(seq "$runs"); do
    measure "$helm" template rel "$chart" -n ns --kube-version 1.31.0 >>"$work/helm" || continue 2
    cp "$work/out" "$work/out-helm"
    measure "$tug" template rel "$chart" -n ns --kube-version 1.31.0 >>"$work/tug" || continue 2
  done
  same=$(cmp -s "$work/out" "$work/out-helm" && echo same || echo DIFFERENT)
  read -r helm_wall helm_memory < <(echo "$(cut -d' ' -f1 "$work/helm" | median) $(cut -d' ' -f3 "$work/helm" | median)")
  read -r tug_wall tug_memory < <(echo "$(cut -d' ' -f1 "$work/tug" | median) $(cut -d' ' -f3 "$work/tug" | median)")
  awk -v name="$(basename "$chart")" -v hw="$helm_wall" -v tw="$tug_wall" -v hm="$helm_memory" -v tm="$tug_memory" \
    -v bytes="$(wc -c <"$work/out") $same" 'BEGIN {
      printf "%-32s %9.3f %9.3f %6.1fx %9.1f %9.1f %6.1fx %s\n", name, hw, tw, hw / (tw > 0 ? tw : 0.005), hm / 1024, tm / 1024, hm / tm, bytes
    }'
done
