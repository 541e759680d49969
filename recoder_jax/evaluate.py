"""Evaluate a trained run: play T turns over a benchmark, score every turn, write evaluation.json and the dialogues into the run.

    python -m recoder_jax.evaluate --config=configs/tiny/evaluate.py --workdir=runs/stage2 [--config.evaluation.turns=4]
    python -m recoder_jax.evaluate --config=configs/tiny/evaluate.py --workdir=runs/stage2@best
"""

import argparse
import contextlib
import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.charts.scores import same_program
from recoder_jax.configuration import fingerprint, load
from recoder_jax.data.sources import open_charts
from recoder_jax.doors import door
from recoder_jax.evaluation.benchmark import chart_results, play_benchmark
from recoder_jax.evaluation.metrics import evaluation_of
from recoder_jax.evaluation.table import results_table
from recoder_jax.languages.language import find
from recoder_jax.learning.checkpoint import run_of, step_of
from recoder_jax.rollout.measure import dialogue_records
from recoder_jax.rollout.play import Plan
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.validation import validate_language


def evaluate(config: ConfigDict, workdir: str) -> None:
    """Evaluate the newest checkpoint of a run, or that of RUN@STEP or RUN@best; a finished evaluation of that checkpoint with this config is kept."""
    config = factory.config_of_run(workdir, config)
    name, step, directory = config.name, step_of(workdir), run_of(workdir)
    trained = hashlib.sha256(Path(directory, "config.json").read_bytes()).hexdigest()[:8]
    run, mark = RunDirectory(directory), f"{fingerprint(config)}-{trained}-{step}"
    standing = run.read_evaluation()
    if standing and standing.config_hash == mark:
        print(f"{name}: evaluated already at step {step}\n{results_table([standing], turns=turns_shown(config))}", flush=True)
        return
    options, mesh = config.evaluation, factory.mesh_of(config)
    validate_language(config)
    charts = open_charts(config.data.dir, options.data, options.split, language=config.data.language)
    if options.charts > len(charts):
        raise ValueError(f"evaluation.charts is {options.charts} but the split holds {len(charts)}; prepare more or ask for fewer")
    plan = Plan(
        turns=options.turns, branch_turn=1, group=1, response_tokens=config.rollout.response_tokens,
        feedback_tokens=config.rollout.feedback_tokens, temperature=options.temperature,
        stop_at_fence=config.rollout.stop_at_fence, difference=config.rollout.difference,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        sandbox = stack.enter_context(factory.sandbox_of(config))
        judge = stack.enter_context(factory.judge_of(config, mesh))
        policy, params = factory.trained_policy(f"{directory}@{step}", config, mesh)
        reward = factory.mixture_of(config, judge, stack.enter_context(factory.visual_of(config, mesh)))
        slots = dataclasses.replace(factory.slots_of(config), places=options.batch)
        player = factory.player_of(policy, sandbox, reward, mesh, factory.goldens_of(config), slots, config.batch.least_windows, config.data.language)
        chosen = [charts[index] for index in range(options.charts)]
        params = player.sampler.load(params)
        groups = play_benchmark(player, params, chosen, plan, config.seed, f"{name}, evaluation")
    benchmark = f"{options.data}, {options.split}, {options.charts} charts"
    evaluation = evaluation_of(
        chart_results(groups), same_program, name=name, benchmark=benchmark, seeds={"seed": config.seed}, config_hash=mark,
        compared="elements" if find(config.data.language).elements else "pictures",
    )
    run.write_rollouts(0, dialogue_records(groups, None, 0, run.store_render))
    run.write_evaluation(evaluation)
    print(results_table([evaluation], turns=turns_shown(config), intervals=True), flush=True)


def turns_shown(config: ConfigDict) -> list[int]:
    """The first and the last turn."""
    return sorted({1, config.evaluation.turns})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.evaluate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="run directory of a trained policy; RUN@STEP or RUN@best for another checkpoint than the newest")
    parser.add_argument("--config", required=True, metavar="FILE", help="config file; --config.a.b=value overrides a key")
    options, overrides = parser.parse_known_args(arguments)
    return door("evaluate", lambda: evaluate(load(options.config, overrides), options.workdir))


if __name__ == "__main__":
    sys.exit(main())
