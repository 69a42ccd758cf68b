#!/usr/bin/env bash
# Makes vqaudio.wasm: Debian has all that it needs (apt-get install clang lld wasi-libc libclang-rt-dev-wasm32).
#   page/build.sh FOLDER [MODEL_FOLDER]      # the page, ready to be served, in FOLDER
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=${1:?give the folder for the page}
model=${2:-$here/../../../vqaudio/pretrained/speech}

mkdir -p "$target"
# A library without a beginning of its own: the page calls what it exports, and it asks the page for nothing.
"${CLANG:-clang}" --target=wasm32-wasi -mexec-model=reactor -std=c99 -Wall -Wextra -O3 -msimd128 -ffp-contract=off \
    -Wl,--strip-all "$here/../vqaudio.c" "$here/wasm.c" -o "$target/vqaudio.wasm" -lm
cp "$here/index.html" "$here/decoder.js" "$target/"
cp "$model/model.safetensors" "$model/config.json" "$target/"
