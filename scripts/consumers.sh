#!/bin/sh
# consumers.sh ci|bfcl|inspect|trainers: install the real readers of training files, which tests/consumers opens our files
# with, and the real judge of tool calls, which tests/bfcl holds ours against.
#
#   ci        .venv-consumers (mlx-lm, datasets 5, mistral-common, chat templates) .venv-datasets4 (datasets 4.0),
#             .venv-analysts (Datasette, and DuckDB with its reader of SQLite files)
#   bfcl      .venv-bfcl (the Berkeley function-calling leaderboard, 4 MB); part of ci
#   inspect   .venv-inspect (Inspect's reader of datasets, 325 MB); opt-in
#   trainers  .venv-trainers (PyTorch with TRL and Axolotl) and .venv-llamafactory (with LLaMA-Factory), 1.5 GB each
#
# What goes in is pinned in tests/consumers/requirements-*.txt. A folder that has it all is left as it is.
# PYTHON chooses the interpreter, as for make.
set -eu
cd "$(dirname "$0")/.."
lists=tests/consumers

# install FOLDER NAME: what requirements-NAME.txt lists, then requirements-NAME-no-deps.txt without dependencies.
install() {
    folder=$1
    list=$lists/requirements-$2.txt
    alone=$lists/requirements-$2-no-deps.txt
    wanted="$(cat "$list" "$alone" 2>/dev/null | cksum) $("${PYTHON:-python3}" --version 2>&1)"
    if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    echo "installing $list into $folder" >&2
    sh scripts/venv.sh "$folder"
    fetch "$folder" "$list" --requirement "$list"
    if [ -f "$alone" ]; then
        fetch "$folder" "$alone" --no-deps --requirement "$alone"
    fi
    echo "$wanted" > "$folder/.installed"
}

# fetch FOLDER LIST OPTIONS: pip, with a last line that says what to do when it fails.
fetch() {
    python=$1/bin/python
    from=$2
    shift 2
    if ! "$python" -m pip install --quiet --disable-pip-version-check "$@" >&2; then
        echo "error: $from could not be installed (pip says why above); a package index has to be reachable, and there" \
            "have to be wheels for this machine: Linux on x86-64 or aarch64, macOS on Apple silicon" >&2
        exit 1
    fi
}

ci() {
    install .venv-consumers ci
    install .venv-datasets4 datasets4
    install .venv-analysts analysts
    bfcl
}

bfcl() {
    install .venv-bfcl bfcl
}

inspect() {
    install .venv-inspect inspect
}

trainers() {
    install .venv-trainers trainers
    install .venv-llamafactory llamafactory
}

case "${1:-}" in
    ci | bfcl | inspect | trainers) "$1" ;;
    *)
        echo "usage: sh scripts/consumers.sh ci|bfcl|inspect|trainers" >&2
        exit 2
        ;;
esac
