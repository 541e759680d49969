"""Turn one chart image into a program, look at its render, and correct it over several turns.

    python -m recoder_jax.correct --checkpoint=runs/demo/stage2 --image=chart.png --turns=3 --out=corrected

Writes turn_1.py, turn_1.png, turn_2.py, ... and dialogue.html. A turn whose program fails has a turn_N.log instead of a picture.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from recoder_jax import factory
from recoder_jax.charts.chart import Chart
from recoder_jax.configuration import defaults
from recoder_jax.dialogue.images import encode_png, load_image
from recoder_jax.doors import door
from recoder_jax.rollout.measure import dialogue_records
from recoder_jax.rollout.play import Plan
from recoder_jax.rollout.trajectory import Turn
from recoder_jax.runs.viewer import write_dialogue_page


def correct(options: argparse.Namespace) -> None:
    """Play one dialogue over one image and write every turn."""
    if options.turns < 1:
        raise ValueError(f"--turns is {options.turns}; give at least 1")
    image, config = load_image(options.image), defaults()
    if not factory.is_policy_directory(options.checkpoint):
        config = factory.config_of_run(options.checkpoint, config)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    mesh = factory.mesh_of(config)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        sandbox = stack.enter_context(factory.sandbox_of(config))
        policy = factory.trained_policy(options.checkpoint, config, mesh)
        player = factory.player_of(policy, sandbox, None, mesh)
        plan = Plan(
            turns=options.turns, branch_turn=1, group=1, response_tokens=options.response_tokens or config.rollout.response_tokens,
            feedback_tokens=config.rollout.feedback_tokens, temperature=options.temperature,
        )
        print(f"{policy.config.parameters() / 1e6:.2f} M parameters, {options.turns} turns over {options.image}", flush=True)
        groups, _ = player.play(policy.params, [Chart(Path(options.image).name, image, "")], plan, options.seed, 0)
    turns = groups[0].trajectories[0].turns
    (out / "target.png").write_bytes(encode_png(image))
    pictures = {id(image): "target.png"} | {id(turn.execution.render): f"turn_{turn.number}.png" for turn in turns}
    for turn in turns:
        print(write_turn(turn, out), flush=True)
    record = dialogue_records(groups, None, 0, lambda picture: pictures[id(picture)])[0]
    write_dialogue_page(out / "dialogue.html", record, out, facts={"checkpoint": options.checkpoint, "image": options.image})
    print(out / "dialogue.html")


def write_turn(turn: Turn, out: Path) -> str:
    """turn_N.py and its picture or log; returns the line that is shown for the turn."""
    execution, name = turn.execution, f"turn_{turn.number}"
    for leftover in (out / f"{name}.png", out / f"{name}.log"):
        leftover.unlink(missing_ok=True)
    (out / f"{name}.py").write_text((turn.response.program or "") + "\n", encoding="utf-8")
    if execution.render is not None:
        (out / f"{name}.png").write_bytes(encode_png(execution.render))
        return f"turn {turn.number}: {execution.status.value}, {name}.py, {name}.png"
    (out / f"{name}.log").write_text(execution.log + "\n", encoding="utf-8")
    return f"turn {turn.number}: {execution.status.value}, {name}.py, {name}.log"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.correct", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="run directory, or policy directory of `convert import`")
    parser.add_argument("--image", required=True, metavar="FILE", help="the chart: PNG or JPEG")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory for programs, renders and dialogue.html")
    parser.add_argument("--turns", type=int, default=4, help="turns to play (default 4)")
    parser.add_argument("--temperature", type=float, default=0.0, help="of sampling; 0 takes the likeliest token (default)")
    parser.add_argument("--response-tokens", type=int, default=0, help="cap of a response (default: the checkpoint's)")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    options = parser.parse_args(arguments)
    return door("correct", lambda: correct(options))


if __name__ == "__main__":
    sys.exit(main())
