"""Compile the steps of a config for a machine that need not be there, and say whether they fit and how fast they can be.

    python -m recoder_jax.plan --config=configs/sft.py --topology=v5p:2x2x4 [--json] [--config.a.b=v]
    python -m recoder_jax.plan --config=configs/sft.py --topologies=v5p:2x2x4,v5e:8x8
    python -m recoder_jax.plan --scaling [--reach=0.5]

Without a topology it plans for the local devices. Exit code 0: it fits; 1: it does not fit; 2: bad input.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from recoder_jax.doors import door
from recoder_jax.planning.machines import chip_of, devices_of, prepare_environment
from recoder_jax.planning.scaling import table


def plan(options: argparse.Namespace, overrides: list[str]) -> bool:
    """Print the plan; whether everything fits on every machine asked for."""
    if options.scaling:
        if overrides or options.config:
            raise ValueError(f"--scaling knows no {(overrides or ['--config'])[0]}: it is a model of the paper's RL steps; leave it out")
        print(table(options.reach))
        return True
    if not options.config:
        raise ValueError("there is no --config to plan for; give --config=FILE, or --scaling")
    prepare_environment(options.topology or options.topologies)
    from recoder_jax.configuration import load  # what imports jax comes after the environment is set
    from recoder_jax.planning import report

    if options.turns < 1:
        raise ValueError(f"--turns is {options.turns}; give at least 1")
    config = load(options.config, overrides)
    names = options.topologies.split(",") if options.topologies else [options.topology]
    plans = [plan_on(name, config, options) for name in names]
    if options.json:
        rows = [report.as_json(one) for one in plans]
        print(json.dumps(rows if options.topologies else rows[0]))
    else:
        print(report.over_topologies(plans) if options.topologies else report.as_text(plans[0]))
    return all(one.fits for one in plans)


def plan_on(topology: str | None, config, options: argparse.Namespace):
    """The plan for one machine. A tokenizer that is not here is replaced: only the length of the prompt depends on it."""
    from recoder_jax.planning import report, steps

    notes = ()
    if config.tokenizer != "tiny" and not Path(config.tokenizer, "tokenizer.json").is_file():
        notes = (f"there is no tokenizer in {config.tokenizer!r}; that of the tiny policy gives the length of the prompt",)
        config.tokenizer = "tiny"
    devices = devices_of(topology)
    planned = steps.planned(config, devices, options.turns)
    done = []
    for step in steps.steps_of(planned, options.only):
        print(f"{topology or 'local'}: {step.name} compiled in {step.compiled.seconds:.0f} s", file=sys.stderr, flush=True)
        done.append(step)
    return report.Plan(topology, planned, tuple(done), chip_of(devices), notes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m recoder_jax.plan", description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE", help="config file; --config.a.b=value overrides a key")
    machine = parser.add_mutually_exclusive_group()
    machine.add_argument("--topology", metavar="NAME", help="TPUs such as v5p:2x2x4, v5e:8x8, v6e:4x4; default: the local devices")
    machine.add_argument("--topologies", metavar="A,B,C", help="several, as a table with a row each")
    parser.add_argument("--only", choices=("all", "train", "sample"), default="all", help="all steps, the update, or the rollout's")
    parser.add_argument("--turns", type=int, default=1, help="SFT: turns of a dialogue, an image each (default 1)")
    parser.add_argument("--scaling", action="store_true", help="without a config: the step of RL against chips, by a model (docs/scaling.md)")
    parser.add_argument("--reach", type=float, default=0.5, metavar="SHARE", help="of the roofline that --scaling takes as reached (default 0.5)")
    parser.add_argument("--json", action="store_true", help="one JSON object, or a list with --topologies")
    options, overrides = parser.parse_known_args(arguments)
    fitting = []
    code = door("plan", lambda: fitting.append(plan(options, overrides)))
    return code if code or fitting[0] else 1


if __name__ == "__main__":
    sys.exit(main())
