#!/bin/sh
# Makes orders of jobs.
set -e
redis-cli -h redis ping
while :; do
  job=$(redis-cli -h redis blpop jobs 0 | tail -n 1)
  psql -q -c "insert into orders values ('$job')"
done
