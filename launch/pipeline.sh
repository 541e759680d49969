#!/usr/bin/env bash
# The whole recipe in one resumable chain: data, SFT, corrections, RL stage 1, RL stage 2, evaluation of each, report.
#
#   launch/pipeline.sh CONFIGS WORKDIR [--config.key=value ...]
#
# CONFIGS is a directory of configs (configs/tiny); overrides go to every training. A finished stage is passed over, a killed
# one goes on from its last checkpoint, so the same command is the way to resume.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: launch/pipeline.sh CONFIGS WORKDIR [--config.key=value ...]" >&2
    exit 2
fi
configs=$1 workdir=$2
shift 2
if [ ! -f "$configs/sft.py" ]; then
    echo "pipeline: there is no $configs/sft.py; give a directory of configs such as configs/tiny" >&2
    exit 2
fi

# A machine without an accelerator: say so to jax, which otherwise looks for one and warns.
if [ -z "${JAX_PLATFORMS:-}" ] && [ ! -e /dev/nvidia0 ] && [ ! -e /dev/accel0 ] && [ ! -e /dev/vfio/0 ]; then
    export JAX_PLATFORMS=cpu
    # Large pages for what XLA allocates anew at every step: on a virtual machine page faults are dear.
    export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
fi
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$workdir/compilations}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-1}

data=$workdir/data
begun=$SECONDS

stage() {
    local name=$1 since=$SECONDS
    shift
    echo
    echo "== $name"
    "$@"
    echo "== $name: $((SECONDS - since)) s, $((SECONDS - begun)) s in all"
}

train() { # config, run, init, overrides
    local config=$1 run=$2 init=$3
    shift 3
    python -m recoder_jax.train --config="$configs/$config.py" --workdir="$workdir/$run" \
        --config.data.dir="$data" --config.init="$init" "$@"
    python -m recoder_jax.evaluate --config="$configs/evaluate.py" --workdir="$workdir/$run" --config.data.dir="$data"
}

stage "data: charts" python -m recoder_jax.prepare chart_world --out "$data" --train 2500 --validation 32 --test 200
stage "data: corrections" python -m recoder_jax.prepare chart_world_corrections --out "$data" --train 700 --validation 16 --test 16
stage "SFT" train sft sft "" "$@"
stage "SFT on corrections" train sft_corrections corrections "$workdir/sft" "$@"
stage "RL stage 1, shared first turn" train stage1_shared_first_turn stage1 "$workdir/corrections" "$@"
stage "RL stage 2, full trajectory" train stage2_full_trajectory stage2 "$workdir/stage1" "$@"
stage "report" python -m recoder_jax.report "$workdir"/{sft,corrections,stage1,stage2} --out "$workdir/report.html"
