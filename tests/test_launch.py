"""Launchers: what they would run, that they start again after exit code 75 and no other, and pass a signal on. Clouds are dry runs."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path("launch")
GOLDEN = Path("tests/launch_golden")
POD = {"NAME": "pod", "PROJECT": "mine", "ZONE": "us-east5-a", "TYPE": "v5p-128", "SHARE": "10.0.0.2:/runs", "SPOT": "yes", "SECRET": "judge-key", "TMPDIR": "/tmp"}
GKE = {"NAME": "stage1", "IMAGE": "example.dev/recoder:1", "ACCELERATOR": "tpu-v5p-slice", "TOPOLOGY": "4x4x4", "HOSTS": "16", "CLUSTER": "mine", "TYPE": "v5p-128"}
DRY = {  # launcher -> variables and arguments; what it prints stands in GOLDEN
    "local.sh": ({"PROCESSES": "2"}, ["configs/tiny/sft.py", "runs/sft", "--config.name=a b"]),
    "gpu_node.sh": ({"PROCESSES": "2", "GPUS": "2"}, ["configs/sft.py:gpu-8", "runs/sft"]),
    "slurm.sbatch": ({}, ["configs/sft.py:gpu-8", "runs/sft", "--config.steps=10"]),
    "judge.sh": ({"HOST": "10.0.0.3", "KEY_VARIABLE": "VLLM_API_KEY"}, ["configs/stage1_shared_first_turn.py", "runs/judge"]),
    "tpu_pod.sh": (POD, ["configs/sft.py:v5p-128", "/mnt/runs/sft", "--config.name=a b"]),
    "gke.sh": (GKE, ["configs/sft.py:v5p-128", "/mnt/runs/sft", '--config.name=a "b"']),
    "pipeline.sh": ({"FROM": "best", "ON": "v5p-128"}, ["configs", "runs/7b", "--config.checkpoint.best=loss/nll", "--config.mirror=gs://bucket/7b"]),
}
STUB = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
*obedient*) trap 'exit 75' TERM; : > "$LOG.ready"; while :; do sleep 0.05; done ;;
*failing*) exit 3 ;;
*mixed*--process=0*) exit 2 ;;
*mixed*) exit 75 ;;
*lost*--process=0*) kill -KILL $$ ;;
*lost*) exit 75 ;;
*train*) [ "$(grep -c . "$LOG")" -ge 3 ] || exit 75 ;;
esac
"""


def launch(name, variables, arguments, **options):
    here = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | variables
    return subprocess.run(["bash", str(HERE / name), *arguments], env=here, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture
def stub(tmp_path):
    """Variables under which `python` is a stub that notes its arguments: a training ends with 75 until it has been called three times."""
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(STUB)
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), "PAUSE": "0", "JAX_PLATFORMS": "cpu"}


def calls(stub):
    return Path(stub["LOG"]).read_text().splitlines()


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_prints_its_commands_and_writes_nothing(name, tmp_path):
    variables, arguments = DRY[name]
    before = sorted(Path("runs").rglob("*")) if Path("runs").exists() else None
    done = launch(name, variables | {"OPENAI_API_KEY": "sk-secret", "VLLM_API_KEY": "sk-secret"}, ["--dry-run", *arguments])
    assert done.returncode == 0, done.stderr
    assert done.stdout == (GOLDEN / f"{name}.txt").read_text()
    assert "sk-secret" not in done.stdout + done.stderr
    assert (sorted(Path("runs").rglob("*")) if Path("runs").exists() else None) == before


@pytest.mark.parametrize("name", DRY)
def test_bad_arguments_end_with_a_sentence_and_exit_code_2(name):
    variables, arguments = DRY[name]
    for wrong, word in ((arguments[:1], "usage"), (["configs/nothing.py", *arguments[1:]], "nothing.py"), ([*arguments, "--steps=3"], "--steps=3")):
        done = launch(name, variables, ["--dry-run", *wrong])
        assert done.returncode == 2 and word in done.stderr and not done.stdout, (wrong, done.stderr)


@pytest.mark.parametrize(("name", "change", "word"), [
    ("local.sh", {"PROCESSES": "0"}, "PROCESSES is '0'"), ("gpu_node.sh", {"PROCESSES": "3"}, "give 1 or 2"), ("judge.sh", {"BACKEND": "x"}, "choose vllm or serve"),
    ("tpu_pod.sh", {"ZONE": ""}, "ZONE is not set"), ("tpu_pod.sh", {"MOUNT": "/data"}, "below MOUNT = /data"), ("tpu_pod.sh", {"TYPE": "v9-8"}, "set it"),
    ("gke.sh", {"NAME": "Stage_1"}, "small letters"), ("gke.sh", {"HOSTS": "many"}, "HOSTS is 'many'"), ("pipeline.sh", {"FROM": "middle"}, "choose last or best"),
])
def test_a_wrong_variable_is_named(name, change, word):
    variables, arguments = DRY[name]
    done = launch(name, variables | change, ["--dry-run", *arguments])
    assert done.returncode == 2 and word in done.stderr, done.stderr


def test_shell_is_sound():
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        pytest.skip("there is no shellcheck; pip install -e .[test] brings it")
    done = subprocess.run([found, "-x", "-P", "SCRIPTDIR", *sorted(map(str, HERE.glob("*.sh"))), str(HERE / "slurm.sbatch")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_exit_code_75_starts_the_same_command_again_and_no_other_does(stub, tmp_path):
    done = launch("local.sh", stub, ["configs/tiny/sft.py", str(tmp_path / "run")])
    assert done.returncode == 0 and len(calls(stub)) == 3 and len(set(calls(stub))) == 1
    done = launch("local.sh", stub, ["configs/tiny/sft.py", str(tmp_path / "failing")])
    assert done.returncode == 3 and len(calls(stub)) == 4
    Path(stub["LOG"]).unlink()
    done = launch("local.sh", stub | {"RETRIES": "1"}, ["configs/tiny/sft.py", str(tmp_path / "run")])
    assert done.returncode == 75 and len(calls(stub)) == 2 and "raise RETRIES" in done.stderr


def test_a_failure_among_processes_ends_them_and_one_that_is_killed_starts_them_again(stub, tmp_path):
    done = launch("local.sh", stub | {"PROCESSES": "2"}, ["configs/tiny/sft.py", str(tmp_path / "mixed")])
    assert done.returncode == 2 and len(calls(stub)) == 2
    done = launch("local.sh", stub | {"PROCESSES": "2", "RETRIES": "1"}, ["configs/tiny/sft.py", str(tmp_path / "lost")])
    assert done.returncode == 75 and len(calls(stub)) == 6


def test_a_signal_is_passed_on_once_and_nothing_is_started_again(stub, tmp_path):
    launcher = subprocess.Popen(["bash", "launch/local.sh", "configs/tiny/sft.py", str(tmp_path / "obedient")], env=os.environ | stub, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not Path(stub["LOG"] + ".ready").exists():
        assert launcher.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == 75 and len(calls(stub)) == 1


def test_the_chain_goes_through_all_stages_from_one_checkpoint_to_the_next(stub, tmp_path):
    done = launch("pipeline.sh", stub, ["configs/tiny", str(tmp_path / "demo"), "--config.batch.size=4"])
    assert done.returncode == 0, done.stderr
    said = [line for line in calls(stub) if "recoder_jax.train" in line]
    assert len(said) >= 4 and all(line.endswith("--config.batch.size=4") for line in said)
    inits = list(dict.fromkeys(line.split("--config.init=")[1].split(" --config")[0] for line in said))
    assert inits == ["", *(str(tmp_path / "demo" / name) for name in ("sft", "corrections", "stage1"))]
    assert [line.split()[1] for line in calls(stub)][-1] == "recoder_jax.report"


JOINING = """#!{python}
import argparse
from recoder_jax.processes import gathered, join
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("-m")
parser.add_argument("--config")
parser.add_argument("--workdir")
parser.add_argument("--coordinator")
parser.add_argument("--processes", type=int)
parser.add_argument("--process", type=int)
given = parser.parse_args()
join(given.coordinator, given.processes, given.process)
print(f"together {{gathered(given.process)}}\\n", end="", flush=True)  # one write, which no other process splits
"""


def test_two_processes_of_one_command_find_each_other(stub, tmp_path):
    """Real processes of jax, which join as a training does and then end: compiling a training is left to test_processes."""
    (tmp_path / "bin" / "python").write_text(JOINING.format(python=sys.executable))
    done = launch("local.sh", stub | {"PROCESSES": "2", "PYTHONPATH": os.getcwd()}, ["configs/tiny/sft.py", str(tmp_path / "run")])
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("together [0, 1]") == 2


# Of the published schema of JobSet v1alpha2 and of batch/v1, the fields that the template uses: type, or the fields of an object, or [those of an item].
POD_SPEC = {
    "restartPolicy": str, "terminationGracePeriodSeconds": int, "nodeSelector": {"cloud.google.com/gke-tpu-accelerator": str, "cloud.google.com/gke-tpu-topology": str},
    "containers": [{
        "name": str, "image": str, "args": [str], "env": [{"name": str, "valueFrom": {"secretKeyRef": {"name": str, "key": str, "optional": bool}}}],
        "resources": {"requests": {"google.com/tpu": int}, "limits": {"google.com/tpu": int}}, "volumeMounts": [{"name": str, "mountPath": str}],
    }],
    "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
}
JOB = {
    "parallelism": int, "completions": int, "completionMode": str, "backoffLimit": int, "template": {"spec": POD_SPEC},
    "podFailurePolicy": {"rules": [{"action": str, "onExitCodes": {"containerName": str, "operator": str, "values": [int]}}]},
}
JOBSET = {
    "apiVersion": str, "kind": str, "metadata": {"name": str, "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": str}},
    "spec": {
        "failurePolicy": {"maxRestarts": int, "rules": [{"name": str, "action": str, "onJobFailureReasons": [str]}]},
        "replicatedJobs": [{"name": str, "replicas": int, "template": {"spec": JOB}}],
    },
}


def matches(value, schema, where="") -> None:
    if isinstance(schema, dict):
        assert isinstance(value, dict) and value.keys() == schema.keys(), where
        for key, part in schema.items():
            matches(value[key], part, f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list) and value, where
        for item in value:
            matches(item, schema[0], f"{where}[]")
    else:
        assert type(value) is schema, f"{where} is {value!r}"


def test_the_job_set_follows_the_schema_and_carries_its_arguments_whole():
    variables, arguments = DRY["gke.sh"]
    said = launch("gke.sh", variables, ["--dry-run", *arguments]).stdout
    made = yaml.safe_load(said.split("\n+ ")[0])
    matches(made, JOBSET)
    job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"] == 16
    assert job["template"]["spec"]["containers"][0]["args"][3:] == ["--config=configs/sft.py:v5p-128", "--workdir=/mnt/runs/sft", "--coordinator=auto", '--config.name=a "b"']


@pytest.mark.parametrize("file", sorted(Path("launch/docker").glob("*.Dockerfile")), ids=lambda file: file.name)
def test_an_image_copies_what_is_there_and_installs_extras_that_are(file):
    text = file.read_text()
    copied = [word for line in text.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert {"setup.py", "recoder_jax", "configs"} <= set(copied) and all(Path(name).exists() for name in copied)
    extras = re.search(r"'\.\[([a-z0-9,]+)\]'", text)[1].split(",")
    declared = Path("setup.py").read_text()
    assert extras and all(f'"{extra}": [' in declared or f'"{extra}": CHARTS' in declared for extra in extras)
    lock = re.search(r"--constraint (\S+)", text)[1]
    assert Path(lock).stem in extras and Path(lock).exists()


@pytest.fixture(scope="module")
def declared():
    """(requirements by extra, those of all under '') as setup.py gives them."""
    told = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **words: told.update(words))
        runpy.run_path("setup.py")
    return {"": told["install_requires"], **told["extras_require"]}


@pytest.mark.parametrize("lock", sorted(Path("launch/locks").glob("*.txt")), ids=lambda lock: lock.stem)
def test_a_lock_pins_everything_that_setup_asks_for_within_its_bounds(lock, declared):
    """Run launch/lock.sh when this fails."""
    pins = [Requirement(line) for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    common = [] if lock.stem == "judge" else [extra for extra in declared if extra not in ("test", "cuda", "tpu", "judge")]
    wanted = [Requirement(one) for extra in {"", *common, lock.stem} & declared.keys() for one in declared[extra]]
    assert len(wanted) > 15 and all(one.specifier.contains(versions[canonicalize_name(one.name)]) for one in wanted)
    assert {"cuda": "jax-cuda13-plugin", "tpu": "libtpu", "judge": "vllm"}.get(lock.stem, "s3fs") in versions
