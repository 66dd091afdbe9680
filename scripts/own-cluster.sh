# Sourced by scripts that measure a cluster, at their beginning and as root: starts one in a network namespace and a data
# folder of its own, which end with the script. Gives `$tug` (the release build, or that of TUG), TUG_DATA_DIR, HOME,
# KUBECONFIG and
#
#     server_pid                   the process of the server
tug=$(realpath "${TUG:-target/release/tug}")
[[ -x $tug ]] || { echo "build it first: cargo build --release --bin tug" >&2; exit 1; }
if [[ ${INSIDE:-} != 1 ]]; then
  exec unshare --net env INSIDE=1 PATH="$PATH:/usr/sbin:/sbin" TUG="$tug" "$0" "$@"
fi
export TUG_DATA_DIR HOME KUBECONFIG
TUG_DATA_DIR=$(mktemp -d) HOME=$TUG_DATA_DIR KUBECONFIG=$TUG_DATA_DIR/kubeconfig
trap '"$tug" cluster delete >/dev/null 2>&1; rm -rf "$TUG_DATA_DIR"' EXIT
"$tug" cluster start >/dev/null
server_pid() { "$tug" cluster status -o json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'; }
