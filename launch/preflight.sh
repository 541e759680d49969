#!/usr/bin/env bash
# What a training on this machine needs, a verdict a line; without CONFIG, what the machine lacks.
#
#   launch/preflight.sh [CONFIG [WORKDIR [--config.key=value ...]]]
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/common.sh"

on_cpu
if [ $# -eq 0 ]; then
    exec python -m recoder_jax.preflight
fi
config=$1 workdir=${2:-.}
exec python -m recoder_jax.preflight "--config=$config" "--workdir=$workdir" "${@:3}"
