#!/bin/sh
# system_packages.sh: bring what the tests need and pip cannot install, or say what is missing. Never fails.
set -u
if docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing docker-compose, with which a test validates docker-compose.yml" >&2
    if { apt-get update -qq && apt-get install -y -qq docker-compose; } >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "note: no docker compose here, so docker-compose.yml is not validated; on Debian: apt-get install docker-compose" >&2
