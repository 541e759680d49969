"""What a training says about itself while it goes on: a line of metrics a step, the same to trackers, alarms in words."""

import itertools
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import jax
from ml_collections import ConfigDict

from recoder_jax.doors import Ended
from recoder_jax.processes import gathered
from recoder_jax.runs.alarms import Alarms, Choices
from recoder_jax.runs.arrangement import flatten
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import AlarmRecord
from recoder_jax.runs.trackers import Trackers


class Watch:
    """Writes the steps of a run that was rewound; a context manager. The alarms that stand are rebuilt from the metrics that stand."""

    def __init__(self, run: RunDirectory, config: ConfigDict):
        self._run, self._name, self._alarms = run, config.name, None
        if config.kind == "rl":
            passed = frozenset((alarm.step, alarm.alarm) for alarm in run.read_alarms() if alarm.stopped)
            self._alarms = Alarms(Choices(**config.alarms), run.read_metrics(), passed)
        self._trackers = Trackers(run, tensorboard=config.log.tensorboard, wandb=config.log.wandb, config=flatten(config.to_dict()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self._trackers.__exit__(*error)

    def write(self, step: int, metrics: Mapping[str, float], tampering: Sequence[str] = (), say: Callable[[str], None] = print) -> list[AlarmRecord]:
        """Write a step, say the alarms that begin with it and return them. tampering: sentences about the step's programs."""
        metrics = {**metrics, **memory_metrics(), "process/devices": float(jax.device_count())}
        self._run.write_metrics(step, metrics)
        self._trackers.write(step, metrics)
        alarms = self._alarms.see({"step": step, **metrics}, tampering) if self._alarms else []
        self._run.write_alarms(alarms)
        for alarm in alarms:
            say(f"{self._name}, step {step}, alarm {alarm.alarm}: {alarm.sentence}")
        return alarms


def stop_on(alarms: Sequence[AlarmRecord]) -> None:
    """Raises Ended, in all processes, when one of a step's alarms ends the run. All of them call it."""
    stops = [f"the alarm {alarm.alarm} ends the run at step {alarm.step}: {alarm.sentence}; the same command goes on past it" for alarm in alarms if alarm.stopped]
    for sentence in itertools.chain(*gathered(stops)):
        raise Ended(sentence, 1)


def memory_metrics() -> dict[str, float]:
    """Most memory in use at any time so far, in 1e9 bytes: resident in this process, and on the fullest device where devices say."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    metrics = {"process/memory_peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    peaks = [stats["peak_bytes_in_use"] for device in jax.local_devices() if (stats := device.memory_stats()) and "peak_bytes_in_use" in stats]
    return metrics | ({"device/memory_peak_gb": max(peaks) / 1e9} if peaks else {})
