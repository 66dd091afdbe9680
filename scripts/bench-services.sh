#!/usr/bin/env bash
# What a ClusterIP costs, and how soon a changed endpoint is live:
#
#     scripts/bench-services.sh [RUNS [SERVICES]]      as root, after `cargo build --release --bin tug` (or TUG=PROGRAM)
#
# RUNS (default 5) times by turns a pod fetches 1 GiB from another, by its own address and by that of a service. Then, with
# SERVICES (default 1000) services of 10 endpoints each, RUNS times an endpoint is changed by a patch, and the time is
# taken from the patch to the first connection that comes through. Needs python3, kubectl (scripts/install-peers.sh) and
# busybox-static. The cluster has a network namespace and a data folder of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
kubectl=$(command -v kubectl || true)
for needed in "${kubectl:-kubectl}" "$(command -v python3 || echo python3)" "$(command -v busybox || echo busybox)"; do
  [ -x "$needed" ] || { echo "$needed is missing" >&2; exit 1; }
done
. scripts/own-cluster.sh
python3 scripts/build-image.py --name bench/pages:1 --out "$TUG_DATA_DIR/pages.tar" --folder /www \
  -- sh -c 'truncate -s 1G /www/file && httpd -f -p 80 -h /www'
"$tug" image load "$TUG_DATA_DIR/pages.tar" >/dev/null
for pod in server client; do
  "$kubectl" run "$pod" --image=bench/pages:1 --image-pull-policy=Never >/dev/null
done
"$kubectl" expose pod server --port=80 >/dev/null
"$kubectl" wait --for=condition=Ready pod/server pod/client >/dev/null

PYTHONPATH=scripts python3 - "$KUBECONFIG" "$kubectl" "${1:-5}" "${2:-1000}" <<'PYTHON'
import functools, socket, statistics, subprocess, sys, time
from cluster_api import Cluster, ask

kubectl, runs, services = sys.argv[2], *map(int, sys.argv[3:])
ask = functools.partial(ask, Cluster(sys.argv[1]).connect())
CORE, SLICES = '/api/v1/namespaces/default', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
pod = lambda name: ask('GET', f'{CORE}/pods/{name}')['status']['podIP']
address = lambda name: ask('GET', f'{CORE}/services/{name}')['spec']['clusterIP']

def seconds(host):
    """How long the client's pod takes for 1 GiB, with what it takes to ask it."""
    start = time.monotonic()
    subprocess.run([kubectl, 'exec', 'client', '--', 'wget', '-q', '-O', '/dev/null', f'http://{host}/file'], check=True)
    return time.monotonic() - start

direct, through = [], []
server, service = pod('server'), address('server')
for _ in range(runs):
    direct.append(seconds(server))
    through.append(seconds(service))
a, b = statistics.median(direct), statistics.median(through)
print(f'1 GiB from pod to pod: {1 / a:.2f} GiB/s; through the service: {1 / b:.2f} GiB/s, {100 * a / b:.0f} %')

def slice_of(name, addresses):
    return {
        'metadata': {'name': name, 'labels': {'kubernetes.io/service-name': name}},
        'addressType': 'IPv4',
        'ports': [{'port': 80, 'protocol': 'TCP'}],
        'endpoints': [{'addresses': [one], 'conditions': {'ready': True}} for one in addresses],
    }

for number in range(services):
    name = f'service-{number}'
    ask('POST', f'{CORE}/services', {'metadata': {'name': name}, 'spec': {'ports': [{'port': 80}]}})
    ask('POST', SLICES, slice_of(name, [f'198.18.{number % 250}.{host}' for host in range(10)]))
taken = []
for run in range(runs):
    name = f'service-{run * (services // runs)}'
    host = address(name)
    changed = {'endpoints': [{'addresses': [server], 'conditions': {'ready': True}}]}
    start = time.monotonic()
    ask('PATCH', f'{SLICES}/{name}', changed, 'application/merge-patch+json')
    while True:
        try:
            socket.create_connection((host, 80), timeout=0.02).close()
            break
        except OSError:
            assert time.monotonic() - start < 30, f'{name} is not live'
    taken.append((time.monotonic() - start) * 1000)
print(f'{services} services of 10 endpoints: a changed endpoint is live after {statistics.median(taken):.0f} ms (median), at most {max(taken):.0f} ms')
PYTHON
