#!/bin/sh
# venv.sh FOLDER: make a virtual environment with pip, or say what is missing.
set -eu
venv=$1
python=${PYTHON:-python3}

if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
if ! command -v "$python" >/dev/null 2>&1; then
    echo "error: $python is not installed; Python 3.11 or newer is needed (make PYTHON=/path/to/python3)" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $("$python" --version) is too old; Python 3.11 or newer is needed (make PYTHON=python3.12)" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    package=$("$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing $package" >&2
        apt-get update -qq && apt-get install -y -qq "$package" >&2
    else
        echo "error: $python cannot make virtual environments; on Debian and Ubuntu: sudo apt-get install $package" >&2
        exit 1
    fi
fi
"$python" -m venv "$venv"
