#!/usr/bin/env bash
# How long pods take to be ready, beside containers of the Docker engine, in the same run:
#
#     scripts/bench-pods.sh [RUNS [PODS]]      as root, after `cargo build --release --bin tug` (or TUG=PROGRAM)
#
# RUNS (default 21) pods of one busybox each, one after the other, from `POST` to the event that says Ready; as many containers of
# the same image, from `POST /containers/create` to the answer of `start` (without the client `docker`, whose own start
# would count for us). Then PODS (default 100) pods at once, until the last is ready, and what the agent keeps for each.
# Needs python3, busybox-static and Debian's docker.io. Both sides run in a network of their own.
set -euo pipefail
cd "$(dirname "$0")/.."
tug=$(realpath "${TUG:-target/release/tug}")
for needed in "$tug" /usr/sbin/dockerd "$(command -v python3 || echo python3)" "$(command -v busybox || echo busybox)"; do
  [ -x "$needed" ] || { echo "$needed is missing" >&2; exit 1; }
done
if [ "${INSIDE:-}" != 1 ]; then
  exec unshare --net --mount env INSIDE=1 PATH="$PATH:/usr/sbin:/sbin" TUG="$tug" "$0" "$@"
fi
. scripts/docker-engine.sh
python3 scripts/build-image.py --name bench/box:1 --out "$work/box.tar" -- sleep 1000000
load "$work/box.tar"
server=$("$tug" cluster status -o json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')

PYTHONPATH=scripts python3 - "$TUG_DATA_DIR/kubeconfig" "$work/docker.sock" "$server" "${1:-21}" "${2:-100}" <<'PYTHON'
import glob, http.client, json, re, socket, statistics, sys, time
from cluster_api import Cluster, ask

cluster, engine_socket, server, runs, pods = Cluster(sys.argv[1]), *sys.argv[2:4], *map(int, sys.argv[4:])
PATH = '/api/v1/namespaces/default/pods'

class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(engine_socket)

api, events = cluster.connect(), cluster.connect()
version = ask(api, 'GET', PATH)['metadata']['resourceVersion']
events.request('GET', f'{PATH}?watch=true&resourceVersion={version}')
stream = events.getresponse()

def create(name):
    ask(api, 'POST', PATH, {
        'metadata': {'name': name},
        'spec': {
            'terminationGracePeriodSeconds': 0,
            'containers': [{'name': 'box', 'image': 'bench/box:1', 'imagePullPolicy': 'Never'}],
        },
    })

def until_ready(names):
    waiting = set(names)
    while waiting:
        pod = json.loads(stream.readline())['object']
        conditions = pod.get('status', {}).get('conditions', [])
        if any(one['type'] == 'Ready' and one['status'] == 'True' for one in conditions):
            waiting.discard(pod['metadata']['name'])

def timed(work):
    start = time.monotonic()
    work()
    return (time.monotonic() - start) * 1000

def private(process):
    """What a process keeps for itself, in KiB."""
    text = open(f'{process}/smaps_rollup').read()
    return sum(int(re.search(rf'^{kind}:\s*(\d+)', text, re.M).group(1)) for kind in ('Private_Clean', 'Private_Dirty'))

def watches(process):
    """Whether a process watches over a container of this cluster; others may end meanwhile."""
    try:
        words = open(f'{process}/cmdline', 'rb').read().split(b'\0')
    except OSError:
        return False
    run = (sys.argv[1].removesuffix('kubeconfig') + 'node/run/').encode()
    return b'__shim' in words and any(run in word for word in words)

def memory():
    """That of the server with its agent, and of the processes that watch over its containers."""
    return private(f'/proc/{server}') + sum(map(private, filter(watches, glob.glob('/proc/[0-9]*'))))

def pod(name):
    create(name)
    until_ready([name])

def container(name):
    made = ask(engine, 'POST', f'/containers/create?name={name}', {'Image': 'bench/box:1'})
    ask(engine, 'POST', f'/containers/{made["Id"]}/start')

engine = Engine('engine')
ours, theirs = [], []
for number in range(runs):
    ours.append(timed(lambda: pod(f'one-{number}')))
    theirs.append(timed(lambda: container(f'one-{number}')))
a, b = statistics.median(ours), statistics.median(theirs)
print(f'pod, created to Ready: median {a:.0f} ms, {min(ours):.0f} to {max(ours):.0f}')
print(f'container of the engine: median {b:.0f} ms, {min(theirs):.0f} to {max(theirs):.0f}; ratio {b / a:.2f}')

before = memory()
names = [f'many-{number}' for number in range(pods)]
def many():
    for name in names:
        create(name)
    until_ready(names)
print(f'{pods} pods at once: all ready after {timed(many) / 1000:.1f} s')
print(f'{(memory() - before) / pods / 1024:.2f} MiB for each, in the agent and the process that watches over it')
PYTHON
