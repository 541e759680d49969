#!/usr/bin/env bash
# One training on a slice of TPUs under GKE: fills in launch/gke_jobset.yaml, applies it and follows the log of the first pod.
#
#   launch/gke.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]
#
# CONFIG is a path in the image, WORKDIR one below MOUNT, where the claim is mounted.
#
#   NAME          of the job set
#   IMAGE         built from launch/docker/tpu.Dockerfile and pushed
#   ACCELERATOR   tpu-v5-lite-podslice or tpu-v5p-slice; TOPOLOGY: 16x16 or 4x4x4; HOSTS: how many, at CHIPS chips each (4)
#   CLAIM, MOUNT  the volume that all pods share (recoder-runs), and where (/mnt/runs)
#   RETRIES       times the set is started again (100)
#
# The judge's key is read from the secret recoder-judge, entry key. With XPK instead of JobSet (CLUSTER and TYPE, such as v5p-128, set, --dry-run
# prints that line too).
set -euo pipefail
usage="NAME=... IMAGE=... ACCELERATOR=... TOPOLOGY=... HOSTS=... launch/gke.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]"
. "${BASH_SOURCE[0]%/*}/common.sh"

begin "$@"
for wanted in NAME IMAGE ACCELERATOR TOPOLOGY HOSTS; do
    [ -n "${!wanted:-}" ] || fail "$wanted is not set; $usage"
done
CHIPS=${CHIPS:-4} CLAIM=${CLAIM:-recoder-runs} MOUNT=${MOUNT:-/mnt/runs} RETRIES=${RETRIES:-100}
number HOSTS && number CHIPS && number RETRIES
[[ $NAME =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || fail "NAME is '$NAME'; Kubernetes takes small letters, digits and hyphens"
[[ $workdir == "$MOUNT"/* ]] || fail "WORKDIR is '$workdir', which the pods do not share; give a path below MOUNT = $MOUNT"

arguments=(python -m recoder_jax.train "--config=$config" "--workdir=$workdir" --coordinator=auto "${overrides[@]}")
# shellcheck disable=SC2034 # used by name, below
ARGUMENTS=$(python -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "${arguments[@]}")
manifest=$(<"${BASH_SOURCE[0]%/*}/gke_jobset.yaml")
for wanted in NAME IMAGE ACCELERATOR TOPOLOGY HOSTS CHIPS CLAIM MOUNT RETRIES ARGUMENTS; do
    manifest=${manifest//"@$wanted@"/"${!wanted}"}
done
if [ -n "$dry" ]; then
    echo "$manifest"
    if [ -n "${CLUSTER:-}" ] && [ -n "${TYPE:-}" ]; then
        printf -v words ' %q' "${arguments[@]}"
        say xpk workload create "--cluster=$CLUSTER" "--workload=$NAME" "--tpu-type=$TYPE" "--docker-image=$IMAGE" "--max-restarts=$RETRIES" "--restart-on-exit-codes=$AGAIN" "--command=${words# }"
    fi
fi
say kubectl apply --filename=-
[ -n "$dry" ] || kubectl apply --filename=- <<<"$manifest"
do_ kubectl wait "--for=condition=Ready" pod "--selector=jobset.sigs.k8s.io/jobset-name=$NAME,batch.kubernetes.io/job-completion-index=0" --timeout=3600s
do_ kubectl logs --follow "--selector=jobset.sigs.k8s.io/jobset-name=$NAME,batch.kubernetes.io/job-completion-index=0"
