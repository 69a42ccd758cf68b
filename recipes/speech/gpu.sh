#!/usr/bin/env bash
# The bundled model `speech` on one large GPU, in pieces of some minutes.
#
#   recipes/speech/gpu.sh CORPUS RUN [SECONDS] [--set KEY=VALUE ...]
#
# Prepares CORPUS once, into RUN/shards, on all cores; trains in RUN/run for at most SECONDS (default 500), from the newest
# checkpoint if there is one: the data in the GPU's memory, bf16, batches eight times as large. Ends by itself, with a
# checkpoint. RUN/parts then holds what a later call goes on from, in files of at most 15 MiB, weights in half precision;
# with them (and CORPUS) in place it goes on on another machine. What a machine without a network lacks is installed from
# the folder wheels/, if there is one. Without a GPU it runs all the same, for a try:
#
#   recipes/speech/gpu.sh CORPUS try 60 --set train.phases.0.steps=3 --set train.phases.1.steps=3 --set train.phases.2.steps=3
set -euo pipefail

corpus=$1 run=$2 seconds=${3:-500}
shift $(($# < 3 ? $# : 3))
here=$(dirname "${BASH_SOURCE[0]}")
python=${PYTHON:-python}
mkdir -p "$run"
began=$SECONDS

# a machine without a network is given wheels of what it lacks
[[ ! -d ${WHEELS:-wheels} ]] || "$python" -m pip install --quiet --no-index --find-links "${WHEELS:-wheels}" .
[[ -f $run/shards/index.json ]] || "$python" -m vqaudio prepare "$corpus" -o "$run/shards"
"$python" "$here/parts.py" join "$run/parts" "$run/run"

resume=()
compgen -G "$run/run/checkpoints/*" >/dev/null && resume=(--resume)
settings=(--set train.resident=true)
steps=(3750 750 750) decay=(1500 250 375)
for phase in 0 1 2; do # an eighth of the steps, each of eight times the crops, at twice the rate
    settings+=(--set "train.phases.$phase.batch_size=64" --set "train.phases.$phase.warmup_steps=200")
    settings+=(--set "train.phases.$phase.steps=${steps[phase]}" --set "train.phases.$phase.decay_steps=${decay[phase]}")
done
settings+=(--set train.phases.0.learning_rate=2e-3 --set train.phases.1.learning_rate=1e-3 --set train.phases.2.learning_rate=3e-3)

left=$((seconds - (SECONDS - began)))
((left > 0)) || exit 0 # preparing took it all: the next call trains
code=0
timeout --signal=TERM --kill-after=60 "$left" \
    "$python" -m vqaudio train "$here/speech.toml" --data "$run/shards" -o "$run/run" "${resume[@]}" "${settings[@]}" "$@" || code=$?
[[ $code == 0 || $code == 124 || $code == 143 ]] || exit "$code" # 124, 143: time was up, and a checkpoint is there

"$python" "$here/parts.py" split "$run/run" "$run/parts"
