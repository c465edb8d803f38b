#!/bin/sh
# system_packages.sh: bring what the tests need and pip cannot install, or say what is missing. Never fails.
set -u
missing=""
command -v curl >/dev/null 2>&1 || missing="$missing curl"
docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null 2>&1 || missing="$missing docker-compose"
command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing for the tests:$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # one word a package
    if { apt-get update -qq && apt-get install -y -qq $missing; } >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "note: not installed:$missing (curl runs the README, docker-compose validates docker-compose.yml, chromium opens the" \
    "pages, postgresql is the database of a team);" \
    "on Debian: sudo apt-get install$missing" >&2
