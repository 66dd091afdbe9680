# Sourced by benches that stand beside Docker's engine, in a network namespace and as root. Takes `$tug`; gives
#
#     $work                        a folder, also the home and with tug's data, that goes with the script
#     engine PATH OPTION...        a request to the engine's API, by curl
#     load ARCHIVE                 an image for both sides; tug's cluster is started
#
# The engine has its data in `$work`, listens on `$work/docker.sock`, and ends with the script.
ip link set lo up
work=$(mktemp -d)
export HOME=$work TUG_DATA_DIR=$work/tug DOCKER_HOST=unix://$work/docker.sock
engine_pid=
end() {
  "$tug" cluster delete >/dev/null 2>&1 || true
  if [ -n "$engine_pid" ]; then
    kill "$engine_pid" && wait "$engine_pid" || true
  fi
  rm -rf "$work"
}
trap end EXIT

engine() { curl -s --fail --unix-socket "$work/docker.sock" "http://engine$1" "${@:2}"; }
load() {
  engine /images/load -X POST -H 'Content-Type: application/x-tar' --data-binary "@$1" >/dev/null
  "$tug" image load "$1" >/dev/null
}

dockerd --data-root "$work/engine" --exec-root "$work/exec" --pidfile "$work/docker.pid" --host "$DOCKER_HOST" \
  >"$work/engine.log" 2>&1 &
engine_pid=$!
until engine /_ping >/dev/null; do sleep 0.1; done
"$tug" cluster start >/dev/null 2>&1
