#!/bin/sh
# Fails where the store is not there yet: whoever starts it must have waited.
set -e
psql -q -c 'create table if not exists orders (what text)' -c 'create table if not exists ticks (at timestamptz)' 2>&1
redis-cli -h redis ping
exec httpd -f -p 8080 -h /www
