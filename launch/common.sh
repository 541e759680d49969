# What the launchers share; sourced by them, after `usage` is set.
#
# begin reads `[--dry-run] CONFIG WORKDIR [--config.key=value ...]` into dry, config, workdir and overrides. With --dry-run every command is
# printed and none is run.
# shellcheck shell=bash

AGAIN=75 # exit code of a training that the same command goes on with (recoder_jax/doors.py)
told=""
pids=()

fail() { # sentence
    echo "${0##*/}: $1" >&2
    exit 2
}

begin() { # arguments of the launcher
    dry=""
    if [ "${1:-}" = --dry-run ]; then
        dry=yes
        shift
    fi
    if [ $# -lt 2 ] || [[ $1 == -* ]] || [[ $2 == -* ]]; then
        echo "usage: ${usage:?}" >&2
        exit 2
    fi
    config=$1 workdir=$2
    shift 2
    overrides=("$@")
    local word
    for word in "$@"; do
        [[ $word == --config.* ]] || fail "unknown argument '$word'; overrides are written --config.a.b=value"
    done
    [ -e "${config%%:*}" ] || fail "there is no config '$config'; give one under configs/"
}

number() { # name of a variable: its value is a whole number from 1
    [[ ${!1} =~ ^[1-9][0-9]*$ ]] || fail "$1 is '${!1}'; give a whole number from 1"
}

say() { # command: print it as it can be typed
    local words
    printf -v words ' %q' "$@"
    echo "+$words"
}

do_() { # command: print it, and run it unless dry
    say "$@"
    [ -n "$dry" ] || "$@"
}

on_cpu() { # a machine without an accelerator: say so to jax, which otherwise looks for one and warns
    if [ -z "${JAX_PLATFORMS:-}" ] && [ ! -e /dev/nvidia0 ] && [ ! -e /dev/accel0 ] && [ ! -e /dev/vfio/0 ]; then
        export JAX_PLATFORMS=cpu
        # XLA allocates its buffers anew at every step, and on a virtual machine page faults are dear: large pages, in one heap that keeps what is freed.
        local keep=glibc.malloc.arena_max=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184
        export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1:$keep}
    fi
}

# Commands run in sessions of their own, so that a terminal's interrupt reaches the launcher alone, which passes it on once as SIGTERM; they are
# told to stop too when the launcher dies.
start() { # command
    setsid setpriv --pdeathsig TERM "$@" &
    pids+=("$!")
}

pass_on() {
    told=yes
    kill -TERM "${pids[@]}" 2>/dev/null || true
}

ended() { # pid: wait for it and return its exit code; a signal to the launcher does not end the waiting
    while kill -0 "$1" 2>/dev/null; do
        wait "$1" || true
    done
    wait "$1"
}

finished() { # wait for all that `start` began: an exit code that says what is wrong, else AGAIN if one ended with it, else the highest
    local pid code wrong=0 again=0 worst=0
    for pid in "${pids[@]}"; do
        code=0
        ended "$pid" || code=$?
        if [ "$code" -gt 0 ] && [ "$code" -lt "$AGAIN" ]; then # 1 and 2 of a training; one that was killed has 128 and more
            wrong=$code
        elif [ "$code" = "$AGAIN" ]; then
            again=$code
        elif [ "$code" -gt "$worst" ]; then
            worst=$code
        fi
    done
    pids=()
    for code in "$wrong" "$again" "$worst"; do
        if [ "$code" != 0 ]; then
            return "$code"
        fi
    done
}

again() { # function or command that starts processes: repeated while they end with AGAIN, at most RETRIES times
    local tries=0 code retries=${RETRIES:-100}
    trap pass_on TERM INT
    while :; do
        code=0
        "$@"
        finished || code=$?
        if [ -n "$told" ] || [ "$code" != "$AGAIN" ]; then
            break
        fi
        tries=$((tries + 1))
        if [ "$tries" -gt "$retries" ]; then
            echo "${0##*/}: ended $tries times with $AGAIN; raise RETRIES to go on" >&2
            break
        fi
        echo "${0##*/}: exit code $AGAIN, start $((tries + 1))" >&2
        sleep "${PAUSE:-5}"
    done
    trap - TERM INT
    if [ -n "$told" ]; then
        exit "$code"
    fi
    return "$code"
}

# One training on this host, as PROCESSES processes. prefix I: sets `environment`, variables of process I, as NAME=value.
processes_start() {
    local number address environment=()
    address=127.0.0.1:${PORT:-$((20000 + RANDOM % 12000))}
    for ((number = 0; number < PROCESSES; number++)); do
        environment=()
        if declare -F prefix >/dev/null; then
            prefix "$number"
        fi
        local command=(python -m recoder_jax.train "--config=$config" "--workdir=$workdir" "${overrides[@]}")
        if [ "$PROCESSES" -gt 1 ]; then
            command+=("--coordinator=$address" "--processes=$PROCESSES" "--process=$number")
        fi
        if [ "${#environment[@]}" -gt 0 ]; then
            command=(env "${environment[@]}" "${command[@]}")
        fi
        say "${command[@]}"
        [ -n "$dry" ] || start "${command[@]}"
    done
}

train_here() {
    number PROCESSES
    if [ -n "$dry" ]; then
        PORT=${PORT:-PORT} processes_start
    else
        again processes_start
    fi
}
