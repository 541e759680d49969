#!/usr/bin/env bash
# One training on a slice of TPU VMs: asks for the slice, installs, starts, follows the log, starts again after exit code 75 or a preemption, and
# gives the slice back when the training has ended.
#
#   launch/tpu_pod.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]
#
# The commit that is checked out here is copied; CONFIG lies in it. WORKDIR is a path on the workers, below MOUNT.
#
#   NAME, PROJECT, ZONE   of the slice
#   TYPE                  v5litepod-256, v5p-128, ... (accelerator type)
#   RUNTIME               version of the TPU software (v2-alpha-tpuv5-lite for v5e, v2-alpha-tpuv5 for v5p)
#   SHARE, MOUNT          HOST:/DIRECTORY of NFS that all workers see, and where they mount it (/mnt/runs)
#   SPOT                  yes asks for a slice that may be taken away
#   SECRET                name in Secret Manager of the judge's key; the key itself is in no argument
#   KEEP                  yes leaves the slice standing at the end, as it stands after a training that failed; DOWN=yes only gives it back
set -euo pipefail
usage="NAME=... PROJECT=... ZONE=... TYPE=... SHARE=... launch/tpu_pod.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]"
. "${BASH_SOURCE[0]%/*}/common.sh"

begin "$@"
for wanted in NAME PROJECT ZONE TYPE SHARE; do
    [ -n "${!wanted:-}" ] || fail "$wanted is not set; $usage"
done
MOUNT=${MOUNT:-/mnt/runs}
[[ $workdir == "$MOUNT"/* ]] || fail "WORKDIR is '$workdir', which the workers do not share; give a path below MOUNT = $MOUNT"
case $TYPE in
v5litepod-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite} ;;
v5p-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv5} ;;
*) [ -n "${RUNTIME:-}" ] || fail "TYPE is '$TYPE', for which RUNTIME is not known; set it" ;;
esac
archive=${TMPDIR:-/tmp}/recoder_jax.tar.gz
place=("--project=$PROJECT" "--zone=$ZONE")

state() { gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" '--format=value(state.state)' 2>/dev/null || echo NONE; }

up() { # wait for a slice that works, asking for one where there is none
    local spot=() now
    if [ "${SPOT:-}" = yes ]; then
        spot=(--spot)
    fi
    while :; do
        now=NONE
        [ -n "$dry" ] || now=$(state)
        case $now in
        ACTIVE) return ;;
        NONE) do_ gcloud compute tpus queued-resources create "$NAME" "--node-id=$NAME" "${place[@]}" "--accelerator-type=$TYPE" "--runtime-version=$RUNTIME" "${spot[@]}" ;;
        FAILED | SUSPENDED | SUSPENDING) down ;;
        esac
        [ -z "$dry" ] || return 0
        echo "$NAME is $now" >&2
        sleep 30
    done
}

down() { do_ gcloud compute tpus queued-resources delete "$NAME" "${place[@]}" --force --quiet; }

on() { # all or the number of a worker, command
    do_ gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" "--worker=$1" "--command=$2"
}

install() {
    do_ git archive --format=tar.gz "--output=$archive" HEAD
    do_ gcloud compute tpus tpu-vm scp "$archive" "$NAME:recoder_jax.tar.gz" "${place[@]}" --worker=all
    on all "sudo apt-get -q update && sudo apt-get -q install -y python3.11-venv nfs-common"
    on all "sudo mkdir -p $MOUNT && { mountpoint -q $MOUNT || sudo mount -t nfs $SHARE $MOUNT; }"
    on all "mkdir -p recoder_jax && { flock -n recoder_jax/lock true || exit 0; } && tar xzf recoder_jax.tar.gz -C recoder_jax && cd recoder_jax && python3.11 -m venv .venv && .venv/bin/pip install -q -e '.[tpu,charts]'"
}

# The training outlives the connection that starts it; what it ends with is left in a file. One that still runs, from a launcher that was lost, is
# followed and not started beside itself: it holds a lock.
work() {
    local words key=""
    printf -v words ' %q' "--config=$config" "--workdir=$workdir" "${overrides[@]}"
    if [ -n "${SECRET:-}" ]; then
        key="export OPENAI_API_KEY=\$(gcloud secrets versions access latest --secret=$SECRET) && "
    fi
    on all "cd recoder_jax && { flock -n lock true || exit 0; } && rm -f ended && ${key}{ nohup flock -n lock sh -c '.venv/bin/python -m recoder_jax.train --coordinator=auto \"\$@\"; echo \$? > ended' train$words > train.log 2>&1 < /dev/null & }"
    on 0 "cd recoder_jax || exit 1; tail -n +1 -F train.log & until [ -f ended ]; do sleep 5; done; sleep 2; kill \$!" || true
}

code() { # what the first worker ended with; AGAIN where the slice is gone. A connection that breaks is made again
    local told
    until told=$(gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker=0 '--command=until [ -f recoder_jax/ended ]; do sleep 5; done; cat recoder_jax/ended' 2>/dev/null); do
        if [ "$(state)" != ACTIVE ]; then
            told=$AGAIN
            break
        fi
        sleep 30
    done
    echo "${told:-$AGAIN}"
}

if [ "${DOWN:-}" = yes ]; then
    down
    exit
fi
ended_with=$AGAIN
for ((tries = 0; tries <= ${RETRIES:-100}; tries++)); do
    up
    install
    work
    ended_with=0
    [ -n "$dry" ] || ended_with=$(code)
    [ "$ended_with" = "$AGAIN" ] || break
done
if [ "$ended_with" != 0 ]; then
    echo "${0##*/}: the training ended with exit code $ended_with and $NAME still stands, with train.log on its workers; DOWN=yes gives it back" >&2
elif [ "${KEEP:-}" != yes ]; then
    down
fi
exit "$ended_with"
