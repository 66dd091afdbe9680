#!/bin/sh
# Every two seconds, from the first on.
set -e
while :; do
  psql -q -c 'insert into ticks values (now())'
  sleep 2
done
