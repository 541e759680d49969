#!/usr/bin/env bash
# One training on the GPUs of this machine, started again while it ends with exit code 75.
#
#   launch/gpu_node.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]
#
# PROCESSES: 1, one process with all GPUs (default), or as many as GPUS, one process for each. GPUS: how many there are (nvidia-smi counts
# them). MEMORY: share of a GPU's memory that jax takes (0.92).
set -euo pipefail
usage="launch/gpu_node.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]"
. "${BASH_SOURCE[0]%/*}/common.sh"

begin "$@"
PROCESSES=${PROCESSES:-1}
if [ -z "${GPUS:-}" ]; then
    command -v nvidia-smi >/dev/null || fail "there is no nvidia-smi to count GPUs; set GPUS, or use launch/local.sh"
    GPUS=$(nvidia-smi --list-gpus | wc -l)
fi
number GPUS
[ "$PROCESSES" = 1 ] || [ "$PROCESSES" = "$GPUS" ] || fail "PROCESSES is '$PROCESSES' and there are $GPUS GPUs; give 1 or $GPUS"
prefix() { # number of a process
    environment=("JAX_PLATFORMS=cuda" "XLA_PYTHON_CLIENT_MEM_FRACTION=${MEMORY:-0.92}")
    if [ "$PROCESSES" -gt 1 ]; then
        environment+=("CUDA_VISIBLE_DEVICES=$1")
    fi
}
train_here
