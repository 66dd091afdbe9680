#!/bin/sh
# A visit: counted in redis, made an order by the worker.
visits=$(redis-cli -h redis incr visits)
redis-cli -h redis rpush jobs "visit $visits" >/dev/null
orders=$(psql -Atc 'select count(*) from orders')
ticks=$(psql -Atc 'select count(*) from ticks')
printf 'Content-Type: text/plain\r\n\r\n%s: visits=%s orders=%s ticks=%s\n' "${GREETING:-hello}" "$visits" "$orders" "$ticks"
