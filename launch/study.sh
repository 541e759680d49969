#!/usr/bin/env bash
# All runs of a study that have no result: every arm for every seed, trained and evaluated.
#
#   launch/study.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]
#
# CONFIG is a file of configs/study, whose STUDY names the arms and the trainings each consists of; the name of another arm in the first place stands
# for its run with the same seed, which is made first. A run that was evaluated is passed over, a killed one goes on from its last checkpoint, so the same
# command is the way to resume. Runs are WORKDIR/ARM_seedN; those that lead to one are WORKDIR/ARM_seedN_partK, and their name is that of the training.
# Overrides go to every training.
#
# START: run or policy that every arm starts from, or random for random weights. DATA: directory of its data sets. ARMS: some of the arms, by name (all). SEEDS: (1 2 3).
# EVALUATE: config of the evaluation (configs/study/evaluate.py). RETRIES, PAUSE: as in local.sh.
set -euo pipefail
usage="START=RUN DATA=DIR launch/study.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]"
. "${BASH_SOURCE[0]%/*}/common.sh"

begin "$@"
[ -n "${START:-}" ] || fail "START is not set; name the run that every arm starts from, or random"
[ -n "${DATA:-}" ] || fail "DATA is not set; name the directory of the data sets"
[[ "${SEEDS:=1 2 3}" =~ ^[0-9]+(\ [0-9]+)*$ ]] || fail "SEEDS is '$SEEDS'; give whole numbers with blanks between"
python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("ml_collections") is None)' ||
    fail "$(command -v python) does not have the packages of recoder_jax; activate their environment first: . .venv/bin/activate"
declare -A trainings=()
while IFS='=' read -r arm parts; do
    trainings[$arm]=$parts
done < <(python -c 'import runpy, sys; [print(f"{name}={parts}") for name, parts in runpy.run_path(sys.argv[1]).get("STUDY", {}).items()]' "$config")
[ "${#trainings[@]}" -gt 0 ] || fail "$config names no arms in STUDY; give a file of configs/study"
arms=${ARMS:-$(printf '%s\n' "${!trainings[@]}" | sort)}
for arm in $arms; do
    [ -n "${trainings[$arm]:-}" ] || fail "there is no arm '$arm' in $config; choose ${!trainings[*]}"
done
on_cpu
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$workdir/compilations}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-1}

go() { # command
    if [ -n "$dry" ]; then
        say "$@"
    else
        again start "$@"
    fi
}

ended=" " # runs that this call has seen to
run_arm() { # arm, seed: its trainings one after the other, each from the one before, and the evaluation of the last
    local run=$workdir/$1_seed$2 from=$START number=0 place name part parts
    [ "$START" != random ] || from=""
    if [[ $ended == *" $run "* ]]; then
        return
    fi
    ended+="$run "
    if [ -e "$run/evaluation.json" ]; then
        echo "== $1, seed $2: evaluated already"
        return
    fi
    read -ra parts <<<"${trainings[$1]}"
    if [ "${parts[0]}" != "$1" ] && [ -n "${trainings[${parts[0]}]:-}" ]; then
        run_arm "${parts[0]}" "$2"
        from=$workdir/${parts[0]}_seed$2
        parts=("${parts[@]:1}")
    fi
    echo "== $1, seed $2"
    for part in "${parts[@]}"; do
        number=$((number + 1))
        place=$run name=$1
        [ "$number" -eq "${#parts[@]}" ] || place=${run}_part$number name=$part
        go python -m recoder_jax.train --config="$config:$part" --workdir="$place" --config.name="$name" --config.seed="$2" \
            --config.data.dir="$DATA" --config.init="$from" "${overrides[@]}"
        from=$place
    done
    go python -m recoder_jax.evaluate --config="${EVALUATE:-configs/study/evaluate.py}" --workdir="$run" --config.data.dir="$DATA"
}

for seed in $SEEDS; do
    for arm in $arms; do
        run_arm "$arm" "$seed"
    done
done
