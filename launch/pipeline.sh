#!/usr/bin/env bash
# The whole recipe in one resumable chain: data, SFT, corrections, RL stage 1, RL stage 2, evaluation of each, report.
#
#   launch/pipeline.sh [--dry-run] CONFIGS WORKDIR [--config.key=value ...]
#
# CONFIGS is a directory of configs (configs/tiny); overrides go to every training. A finished stage is passed over, a killed
# one goes on from its last checkpoint, so the same command is the way to resume. A training that ends with exit code 75 is started again.
#
# DATA: directory of data sets that are there already (WORKDIR/data is prepared). FROM: last or best, the checkpoint of a stage that the next one
# starts from (last); best needs --config.checkpoint.best. ON: what stands behind the colon of a config, such as v5p-128. RETRIES, PAUSE: as in local.sh.
set -euo pipefail
usage="launch/pipeline.sh [--dry-run] CONFIGS WORKDIR [--config.key=value ...]"
. "${BASH_SOURCE[0]%/*}/common.sh"

begin "$@"
configs=$config
[ -f "$configs/sft.py" ] || fail "there is no $configs/sft.py; give a directory of configs such as configs/tiny"
case ${FROM:-last} in
last) from="" ;;
best) from=@best ;;
*) fail "FROM is '$FROM'; choose last or best" ;;
esac
on_cpu
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$workdir/compilations}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-1}

data=${DATA:-$workdir/data}
begun=$SECONDS
copied=() # the one override that evaluations and the report share with trainings
for override in "${overrides[@]}"; do
    case $override in --config.mirror=*) copied=("$override") ;; esac
done

go() { # command
    if [ -n "$dry" ]; then
        say "$@"
    else
        again start "$@"
    fi
}

stage() {
    local name=$1 since=$SECONDS
    shift
    echo
    echo "== $name"
    "$@"
    [ -n "$dry" ] || echo "== $name: $((SECONDS - since)) s, $((SECONDS - begun)) s in all"
}

train() { # config, run, init, overrides
    local file="$configs/$1.py${ON:+:$ON}" run=$2 init=$3
    shift 3
    go python -m recoder_jax.train --config="$file" --workdir="$workdir/$run" --config.data.dir="$data" --config.init="$init" "$@"
    go python -m recoder_jax.evaluate --config="$configs/evaluate.py" --workdir="$workdir/$run" --config.data.dir="$data" "${copied[@]}"
}

if [ -z "${DATA:-}" ]; then
    stage "data: charts" go python -m recoder_jax.prepare chart_world --out "$data" --train 2500 --validation 32 --test 200
    stage "data: corrections" go python -m recoder_jax.prepare chart_world_corrections --out "$data" --train 700 --validation 16 --test 16
fi
stage "SFT" train sft sft "" "${overrides[@]}"
stage "SFT on corrections" train sft_corrections corrections "$workdir/sft$from" "${overrides[@]}"
stage "RL stage 1, shared first turn" train stage1_shared_first_turn stage1 "$workdir/corrections$from" "${overrides[@]}"
stage "RL stage 2, full trajectory" train stage2_full_trajectory stage2 "$workdir/stage1$from" "${overrides[@]}"
stage "report" go python -m recoder_jax.report "$workdir"/{sft,corrections,stage1,stage2} --out "$workdir/report.html" "${copied[@]/#--config.mirror/--mirror}"
