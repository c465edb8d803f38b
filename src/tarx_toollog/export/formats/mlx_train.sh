#!/bin/sh
# Fine-tune on the rows beside this file, and let the log say what came out:
#
#   base model -> mlx_lm.convert -> base-4bit -> mlx_lm.lora -> adapters -> mlx_lm.fuse -> fused
#     -> convert_hf_to_gguf.py -> model-bf16.gguf -> llama-quantize -> model-Q4_K_M.gguf -> llama-server -> toollog replay compare
#
# A step whose product is there is skipped, so that the script goes on where it stopped. Delete a product, and those
# after it, to make them again.
#
# LLAMA_CPP   whole path of a checkout of llama.cpp, for convert_hf_to_gguf.py   (default: ~/llama.cpp)
# PYTHON      a python that has what that script needs                            (default: python3)
# TEMPLATE    base or served: which chat template to train with, when the two differ
# REPLAY      no: train only, where the log is not at hand                        (default: yes)
set -eu
started_in=$(pwd)
cd "$(dirname "$0")"

model=@MODEL@
name=@NAME@
tag=@TAG@ # of the scenarios to replay
context=@CONTEXT@ # tokens: the longest row and an answer, or what a scenario may need
upstream=@UPSTREAM@ # where the model is served that wrote the log
converter=${LLAMA_CPP:-$HOME/llama.cpp}/convert_hf_to_gguf.py
python=${PYTHON:-python3}

# A relative path to the database, or a toollog.toml, is meant where this was started.
replay() {
    (cd "$started_in" && toollog replay "$@")
}

# Everything that is needed has to be there before the first of these hours.
missing=""
need() {
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "missing: $1 ($2)" >&2
        missing=yes
    fi
}
need mlx_lm.lora "pip install mlx-lm; on Linux: pip install 'mlx-lm' 'mlx[cpu]'"
need llama-quantize "brew install llama.cpp, or build it"
need llama-server "brew install llama.cpp, or build it"
if [ "${REPLAY:-yes}" != no ]; then
    need toollog "pip install tarx-toollog"
fi
need curl "the package curl"
need "$python" "PYTHON names another"
if [ ! -f "$converter" ]; then
    echo "missing: $converter (git clone https://github.com/ggml-org/llama.cpp, and LLAMA_CPP=its folder)" >&2
    missing=yes
elif ! "$python" "$converter" --help >/dev/null; then
    echo "missing: what $converter imports ($python -m pip install -r its requirements.txt)" >&2
    missing=yes
fi
if [ -n "$missing" ]; then
    exit 1
fi

# Frozen before the training, so that both models get the same.
unreplayed=""
if [ "${REPLAY:-yes}" = no ]; then
    unreplayed="as REPLAY=no says"
else
    status=0
    replay build --tag "$tag" || status=$?
    if [ "$status" -eq 3 ]; then
        unreplayed="as no conversation is kept for evaluation"
    elif [ "$status" -ne 0 ]; then
        echo "no scenarios: toollog replay build ended with status $status and the words above." >&2
        echo "mend that, or run this with REPLAY=no to train without replaying" >&2
        exit 1
    fi
fi

# Each product is made beside its place, and moved there when it is whole.
if [ ! -e base-4bit ]; then
    rm -rf base-4bit.part
    mlx_lm.convert --hf-path "$model" --quantize --q-bits 4 --mlx-path base-4bit.part
    mv base-4bit.part base-4bit
fi

# A model that is trained with one template and served with another sees prompts that it has never learned.
if [ -f served_template.jinja ] && ! cmp -s served_template.jinja base-4bit/chat_template.jinja; then
    case "${TEMPLATE:-}" in
        base) ;;
        served) cp served_template.jinja base-4bit/chat_template.jinja ;;
        *)
            echo "the chat template of $model is not the one that was served while the log was written." >&2
            echo "compare base-4bit/chat_template.jinja with served_template.jinja; then run this with TEMPLATE=base" \
                "(when in doubt, or when the served model is another) or TEMPLATE=served" >&2
            exit 1
            ;;
    esac
fi

if [ ! -e adapters ]; then
    rm -rf adapters.part
    mlx_lm.lora --config lora.yaml --model base-4bit --adapter-path adapters.part
    mv adapters.part adapters
fi

# Into the full weights, not into the 4-bit ones: those would lose precision twice, and llama.cpp cannot read them.
if [ ! -e fused ]; then
    rm -rf fused.part
    mlx_lm.fuse --model "$model" --adapter-path adapters --save-path fused.part
    if [ -f base-4bit/chat_template.jinja ]; then
        cp base-4bit/chat_template.jinja fused.part/
    fi
    mv fused.part fused
fi

if [ ! -e model-Q4_K_M.gguf ]; then
    "$python" "$converter" fused --outfile model-bf16.gguf --outtype bf16
    llama-quantize model-bf16.gguf model-Q4_K_M.gguf.part Q4_K_M
    mv model-Q4_K_M.gguf.part model-Q4_K_M.gguf
    rm model-bf16.gguf
fi

if [ -n "$unreplayed" ]; then
    echo "model-Q4_K_M.gguf is ready; nothing was replayed, $unreplayed"
    exit 0
fi

# A port of its own: the server that the log comes from may be running.
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
llama-server --model model-Q4_K_M.gguf --host 127.0.0.1 --port "$port" --ctx-size "$context" --parallel 1 --jinja \
    >server.log 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
trap 'exit 1' INT TERM HUP
seconds=0
until curl --fail --silent --output /dev/null "http://127.0.0.1:$port/health"; do
    if [ "$seconds" -ge 300 ] || ! kill -0 "$server" 2>/dev/null; then
        echo "llama-server does not answer; server.log says why" >&2
        exit 1
    fi
    sleep 1
    seconds=$((seconds + 1))
done

tuned="$tag-$name-$(date +%Y%m%d-%H%M%S)"
replay run "$tag" --endpoint "http://127.0.0.1:$port" --model "$name" --name "$tuned"
kill "$server" # the memory is for the base model
wait "$server" 2>/dev/null || true

# The model that is served now is asked once for each set of scenarios.
base="$tag-base"
if ! replay report "$base" >/dev/null 2>&1; then
    if ! curl --silent --output /dev/null "$upstream"; then
        echo "nothing answers at $upstream. To compare, serve the base model there, and then:"
        echo "  toollog replay run $tag --endpoint $upstream --model base --name $base"
        echo "  toollog replay compare $base $tuned"
        exit 0
    fi
    replay run "$tag" --endpoint "$upstream" --model base --name "$base"
fi
replay compare "$base" "$tuned"
