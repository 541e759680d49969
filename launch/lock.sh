#!/usr/bin/env bash
# Writes launch/locks/{cpu,cuda,tpu,judge}.txt: the versions of everything that setup.py asks for on one platform: Python 3.11, x86-64 Linux with
# glibc 2.31 or later. judge.txt has vLLM, which belongs into an environment of its own.
#
#   launch/lock.sh [--dry-run]
#
# Needs uv and the package index; what it writes is committed. Install from one with
#   pip install --constraint launch/locks/tpu.txt -e '.[tpu,charts,serve,gcs]'
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

with=(charts serve svg latex notebooks parquet tensorboard wandb gcs s3)
for platform in cpu cuda tpu judge; do
    case $platform in
    cpu) extras=("${with[@]}") ;;
    judge) extras=(judge) ;;
    *) extras=("$platform" "${with[@]}") ;;
    esac
    command=(uv pip compile setup.py --python-version=3.11 --python-platform=x86_64-manylinux_2_31 --no-annotate --upgrade --quiet
        --custom-compile-command=launch/lock.sh "--output-file=launch/locks/$platform.txt" "${extras[@]/#/--extra=}")
    if [ "${1:-}" = --dry-run ]; then
        echo "+ ${command[*]}"
    else
        "${command[@]}"
    fi
done
