#!/usr/bin/env bash
# The judge of a config, on this machine: started, waited for until it answers, and ended with this script.
#
#   launch/judge.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]
#
# CONFIG gives judge.model; the log is WORKDIR/judge.log. BACKEND: vllm (default) serves judge.model from Hugging Face; serve answers with
# `python -m recoder_jax.serve` from the run or policy in CHECKPOINT. HOST, PORT: where it listens (127.0.0.1, 8000). GPUS: devices that
# share the model, vllm only (8). WAIT: seconds until it must answer (1800). KEY_VARIABLE: the variable that holds the key which clients must send;
# vllm takes VLLM_API_KEY. Keys are read from the environment and are in no argument.
set -euo pipefail
usage="launch/judge.sh [--dry-run] CONFIG WORKDIR [--config.key=value ...]"
. "${BASH_SOURCE[0]%/*}/common.sh"

begin "$@"
HOST=${HOST:-127.0.0.1} PORT=${PORT:-8000} GPUS=${GPUS:-8} WAIT=${WAIT:-1800} BACKEND=${BACKEND:-vllm}
number PORT && number GPUS && number WAIT
# The judge is what is started here, so its address, which the config may ask for, is not yet known.
read_model='import sys; from recoder_jax.configuration import load; print(load(sys.argv[1], [*sys.argv[3:], sys.argv[2]]).judge.model)'
case $BACKEND in
vllm)
    model=$(JAX_PLATFORMS=cpu python -c "$read_model" "$config" "--config.judge.base_url=http://$HOST:$PORT/v1" "${overrides[@]}" 2>/dev/null) ||
        fail "the config '$config' with these overrides cannot be read; python -m recoder_jax.preflight --config=... says why"
    command=(vllm serve "$model" --host "$HOST" --port "$PORT" --tensor-parallel-size "$GPUS" --max-model-len 16384 --limit-mm-per-prompt '{"image": 2}')
    ;;
serve)
    [ -n "${CHECKPOINT:-}" ] || fail "BACKEND is serve and CHECKPOINT is not set; give a run or policy directory"
    command=(python -m recoder_jax.serve "--checkpoint=$CHECKPOINT" "--host=$HOST" "--port=$PORT")
    if [ -n "${KEY_VARIABLE:-}" ]; then
        command+=("--key-variable=$KEY_VARIABLE")
    fi
    ;;
*) fail "BACKEND is '$BACKEND'; choose vllm or serve" ;;
esac
say "${command[@]}"
# A server that asks for a key answers 401: it is there.
probe='import sys, urllib.error, urllib.request
try: urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error: sys.exit(error.code != 401)
except OSError: sys.exit(1)'
address=http://$HOST:$PORT/v1
if [ -n "$dry" ]; then
    echo "+ ask $address/models until it answers, at most $WAIT seconds"
    exit 0
fi
mkdir -p "$workdir"
trap pass_on TERM INT
start "${command[@]}" >>"$workdir/judge.log" 2>&1
until python -c "$probe" "$address/models"; do
    if ! kill -0 "${pids[0]}" 2>/dev/null || [ "$SECONDS" -gt "$WAIT" ]; then
        pass_on
        finished || true
        echo "judge.sh: no judge answers at $address; see $workdir/judge.log" >&2
        exit 1
    fi
    sleep 2
done
echo "the judge answers: --config.judge.base_url=$address"
finished
