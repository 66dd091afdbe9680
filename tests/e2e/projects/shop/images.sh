#!/usr/bin/env bash
# Builds the images of this project from Debian's packages, as archives in a folder: images.sh DIR
# Needs busybox-static, nginx-light, postgresql-15 and redis-server to be installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
postgres=/usr/lib/postgresql/15
build() { # NAME ARGUMENT...
  python3 "$here/../../../../scripts/build-image.py" --name "shop/$1:1" --out "$out/$1.tar" "${@:2}"
}

build redis --package redis-server --package redis-tools --package adduser --port 6379/tcp \
  -- redis-server --save "" --protected-mode no
build store --package postgresql-15 --package postgresql-client-15 --skip "$postgres/lib/bitcode" --skip "$postgres/lib/llvmjit" \
  --env "PATH=$postgres/bin:/usr/bin:/bin" --user 65534:65534 --folder /data --port 5432/tcp \
  --program "/usr/bin/start=$(cat "$here/store.sh")" -- start
# The one image of api, worker and cron.
build app --package redis-tools --package postgresql-client-15 --env "PATH=$postgres/bin:/usr/bin:/bin" \
  --env PGHOST=store --env PGUSER=shop --env PGDATABASE=postgres --port 8080/tcp --file /www/health=ok \
  --program "/usr/bin/api=$(cat "$here/api.sh")" --program "/www/cgi-bin/shop=$(cat "$here/shop.sh")" \
  --program "/usr/bin/worker=$(cat "$here/worker.sh")" --program "/usr/bin/cron=$(cat "$here/cron.sh")" -- api
build web --package nginx-light --package nginx --package nginx-common --folder /var/lib/nginx --folder /var/log/nginx \
  --port 80/tcp -- nginx -g 'daemon off; error_log /dev/stderr;'
