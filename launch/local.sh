#!/usr/bin/env bash
# One training on this machine, started again while it ends with exit code 75.
#
#   launch/local.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]
#
# PROCESSES: how many processes share the training (1). RETRIES: times it is started again (100). PAUSE: seconds before that (5).
set -euo pipefail
usage="launch/local.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]"
. "${BASH_SOURCE[0]%/*}/common.sh"

begin "$@"
on_cpu
PROCESSES=${PROCESSES:-1}
train_here
