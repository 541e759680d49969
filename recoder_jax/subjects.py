"""What the doors that play charts outside of training have in common: a policy, a server or golden programs, and the charts they are shown."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.charts.chart import Chart
from recoder_jax.charts.goldens import Goldens
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.data.sources import open_charts
from recoder_jax.evaluation.asking import ServerOptions
from recoder_jax.languages.language import find
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.validation import validate_language


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is evaluated, and into which run. label: on the reference card. mark: changes with whatever may change the numbers."""

    name: str
    label: str
    mark: str
    run: RunDirectory


def policy_config(config: ConfigDict, path: str) -> ConfigDict:
    """The config with what a policy was trained with, or with the image bound of evaluation where it does not say."""
    return factory.config_of_run(path, config) if factory.is_of_run(path) else foreign_config(config)


def foreign_config(config: ConfigDict) -> ConfigDict:
    """The config with the image bound of a policy that no run of ours trained."""
    config = config.copy_and_resolve_references().unlock()
    config.image.max_pixels = config.evaluation.max_pixels
    tokens = config.image.max_pixels // 28**2 * (2 if config.rollout.difference else 1)
    if tokens >= config.rollout.feedback_tokens:
        raise ValueError(f"a render of evaluation.max_pixels takes {tokens} tokens and rollout.feedback_tokens is {config.rollout.feedback_tokens}; raise it or lower evaluation.max_pixels")
    return config.lock()


def server_options(config: ConfigDict, base_url: str, model: str) -> ServerOptions:
    options = config.evaluation
    return ServerOptions(
        base_url=base_url, model=model, temperature=options.temperature, response_tokens=config.rollout.response_tokens,
        key_variable=options.key_variable, seconds=options.seconds, attempts=options.attempts, concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute, max_pixels=options.max_pixels,
    )  # fmt: skip


def check_elements(config: ConfigDict, what: str) -> None:
    """Raises ValueError where programs have no elements to compare."""
    if not find(config.data.language).elements:
        raise ValueError(f"{what} compares elements, which programs in {config.data.language} do not have; set data.language to python")


def charts_of(config: ConfigDict) -> Sequence[Chart]:
    """The split, of which evaluation.charts are evaluated; a chart is read when it is asked for."""
    options = config.evaluation
    validate_language(config)
    charts = open_charts(config.data.dir, options.data, options.split, language=config.data.language)
    if options.charts > len(charts):
        raise ValueError(f"evaluation.charts is {options.charts} but the split holds {len(charts)}; prepare more or ask for fewer")
    return charts


def meet(goldens: Goldens, charts: Sequence[Chart], sandbox: Sandbox) -> None:
    """Execute the golden programs that are not known."""
    unknown = [program for program in dict.fromkeys(chart.program for chart in charts) if program not in goldens]
    for program, execution in zip(unknown, sandbox.execute_all(unknown), strict=True):
        goldens[program] = execution


def evaluation_directory(path: str) -> RunDirectory:
    """A directory for an evaluation alone. ValueError for the directory of a training run."""
    if Path(path, "checkpoints").exists() or Path(path, "metrics.jsonl").exists():
        raise ValueError(f"--workdir {path} holds a training run; give a directory of its own to what is evaluated here")
    return RunDirectory(path)
