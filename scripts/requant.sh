#!/bin/bash
# requant.sh [--work FOLDER]: does the fine-tune, merged and quantized again, beat the base at the same quantization?
#
# Installs .venv-requant (PyTorch for CPUs with PEFT, llama.cpp's converters and quantizer: 1.5 GB) beside .venv,
# and runs bench/requant.py. What is installed or made already stays. docs/requant.md says more.
# PYTHON chooses the interpreter, as for make.
set -eu
cd "$(dirname "$0")/.."
folder=.venv-requant
list=scripts/requirements-requant.txt
alone=scripts/requirements-requant-no-deps.txt

if ! [ -x .venv/bin/python ]; then
    echo "error: .venv is not there; run: make venv" >&2
    exit 1
fi
wanted="$(cat "$list" "$alone" | cksum) $("${PYTHON:-python3}" --version 2>&1)"
if [ "$(cat "$folder/.installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing $list into $folder (once)" >&2
    began=$SECONDS
    sh scripts/venv.sh "$folder"
    pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check)
    if ! "${pip[@]}" --requirement "$list" >&2 || ! "${pip[@]}" --no-deps --requirement "$alone" >&2; then
        echo "error: $list could not be installed (pip says why above); a package index has to be reachable, and there" \
            "have to be wheels for this machine: Linux on x86-64 or aarch64, macOS on Apple silicon" >&2
        exit 1
    fi
    echo "$wanted" > "$folder/.installed"
    echo "installed in $((SECONDS - began)) s" >&2
fi
exec .venv/bin/python -m bench.requant "$@"
