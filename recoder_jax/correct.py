"""Turn one chart image into a program, look at its render, and correct it over several turns.

    python -m recoder_jax.correct --checkpoint=runs/demo/stage2 --image=chart.png --turns=3 --out=corrected

Writes turn_1.py (or .svg, as the language has it), turn_1.png, turn_2.py, ... and dialogue.html. A turn whose program fails has a turn_N.log
instead of a picture; a run that was trained with rollout.difference also leaves turn_N_difference.png, what the policy was shown beside its render.
"""

import argparse
import contextlib
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from recoder_jax import factory
from recoder_jax.charts.chart import Chart
from recoder_jax.charts.goldens import Goldens
from recoder_jax.configuration import defaults
from recoder_jax.dialogue.difference import difference
from recoder_jax.dialogue.images import ImageProcessor, encode_png, load_image
from recoder_jax.doors import door
from recoder_jax.languages.language import find, names
from recoder_jax.rollout.measure import dialogue_records
from recoder_jax.rollout.play import Plan, Slots
from recoder_jax.rollout.trajectory import Group, Turn
from recoder_jax.runs.viewer import write_dialogue_page


def correct(options: argparse.Namespace) -> None:
    """Play one dialogue over one image and write every turn."""
    check_options(options)
    image, config = load_image(options.image), config_of(options)
    check_sizes(image, config)
    out, mesh = Path(options.out), factory.one_row(options.tensor)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        sandbox = stack.enter_context(factory.sandbox_of(config))
        policy, params = factory.trained_policy(options.checkpoint, config, mesh)
        player = factory.player_of(policy, sandbox, None, mesh, Goldens(), Slots(places=1, lanes=1), language=config.data.language)
        plan = Plan(
            turns=options.turns, branch_turn=1, group=1, response_tokens=config.rollout.response_tokens,
            feedback_tokens=config.rollout.feedback_tokens, temperature=options.temperature,
            stop_at_fence=config.rollout.stop_at_fence, difference=config.rollout.difference,
        )
        print(f"{policy.config.parameters() / 1e6:.2f} M parameters, {options.turns} turns over {options.image}", flush=True)
        params = player.sampler.load(params)
        groups, _ = player.play(params, [Chart(Path(options.image).name, image, "")], plan, options.seed, 0)
    write(groups, image, out, options, find(config.data.language).suffix)


def check_options(options: argparse.Namespace) -> None:
    """Raises ValueError for a value no dialogue can be played with."""
    if options.turns < 1:
        raise ValueError(f"--turns is {options.turns}; give at least 1")
    if not 0 <= options.seed < 2**31:
        raise ValueError(f"--seed is {options.seed}; give a number from 0 to {2**31 - 1}")
    for name in ("temperature", "response_tokens", "feedback_tokens", "min_pixels", "max_pixels"):
        value = getattr(options, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; give a number from 0")
    picture = Path(options.image)
    if is_turn_file(picture.name) and picture.parent.resolve() == Path(options.out).resolve():
        raise ValueError(f"--image {options.image} would be overwritten by the turns in --out; choose another --out")


def is_turn_file(name: str) -> bool:
    """Whether this door gives a file such a name, in whatever language."""
    endings = [find(language).suffix for language in names()] + [".png", ".log", "_difference.png"]
    return re.fullmatch(f"turn_[1-9][0-9]*({'|'.join(map(re.escape, endings))})", name) is not None


def config_of(options: argparse.Namespace) -> ConfigDict:
    """Image bounds and token caps: those of the options, of the run (also of an exported one), or for another policy those of the paper-sized configs."""
    config = defaults()
    if not factory.is_of_run(options.checkpoint):
        config.image.min_pixels, config.image.max_pixels = 4 * 28 * 28, 1280 * 28 * 28
        config.rollout.response_tokens, config.rollout.feedback_tokens = 4096, 1536
    else:
        config = factory.config_of_run(options.checkpoint, config)
        config.data.language = factory.language_of_run(options.checkpoint)
    config.data.language = find(options.language or config.data.language).name
    for section, keys in ((config.rollout, ("response_tokens", "feedback_tokens")), (config.image, ("min_pixels", "max_pixels"))):
        section.update({key: getattr(options, key) for key in keys if getattr(options, key)})
    return config


def check_sizes(image: np.ndarray, config: ConfigDict) -> None:
    """Raises ValueError for image bounds that fit neither each other, nor the image, nor the cap of a feedback."""
    bounds, limit = config.image, config.rollout.feedback_tokens
    ImageProcessor(min_pixels=bounds.min_pixels, max_pixels=bounds.max_pixels).size(*image.shape[:2])
    count, shown = (2, "a render and its difference") if config.rollout.difference else (1, "a render")
    tokens = count * (bounds.max_pixels // 28**2)
    if tokens >= limit:
        raise ValueError(f"{shown} may take {tokens} tokens and a feedback {limit}; raise --feedback-tokens or lower --max-pixels")


def write(groups: list[Group], image: np.ndarray, out: Path, options: argparse.Namespace, suffix: str = ".py") -> None:
    """All files of the dialogue, programs with `suffix`; those that an earlier dialogue left in `out` go."""
    turns = groups[0].trajectories[0].turns
    for earlier in out.iterdir():
        if is_turn_file(earlier.name):
            earlier.unlink()
    (out / "target.png").write_bytes(encode_png(image))
    pictures = {content(image): "target.png"}
    pictures |= {content(turn.execution.render): f"turn_{turn.number}.png" for turn in turns if turn.execution.render is not None}
    for turn in turns:
        print(write_turn(turn, out, suffix), flush=True)
        if turn.compared:
            name, shown = f"turn_{turn.number}_difference.png", difference(turn.execution.render, image)
            (out / name).write_bytes(encode_png(shown))
            pictures[content(shown)] = name
    record = dialogue_records(groups, None, 0, lambda picture: pictures[content(picture)])[0]
    write_dialogue_page(out / "dialogue.html", record, out, facts={"checkpoint": options.checkpoint, "image": options.image})
    print(out / "dialogue.html")


def content(image: np.ndarray) -> tuple:
    """What equal pictures share."""
    return image.shape, image.tobytes()


def write_turn(turn: Turn, out: Path, suffix: str) -> str:
    """The program, turn_N.py where it is python, and its picture or log; returns the line that is shown for the turn."""
    execution, name = turn.execution, f"turn_{turn.number}"
    (out / f"{name}{suffix}").write_text((turn.response.program or "") + "\n", encoding="utf-8")
    if execution.render is not None:
        (out / f"{name}.png").write_bytes(encode_png(execution.render))
        return f"turn {turn.number}: {execution.status.value}, {name}{suffix}, {name}.png"
    (out / f"{name}.log").write_text(execution.log + "\n", encoding="utf-8")
    return f"turn {turn.number}: {execution.status.value}, {name}{suffix}, {name}.log"


def options_parser() -> argparse.ArgumentParser:
    """The command line of this door."""
    parser = argparse.ArgumentParser(prog="python -m recoder_jax.correct", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="run directory (RUN@STEP or RUN@best for another checkpoint than the newest), policy directory of `convert import`, Hugging Face directory, or tiny, which comes with the package")
    parser.add_argument("--image", required=True, metavar="FILE", help="the chart: PNG or JPEG")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory for programs, renders and dialogue.html")
    parser.add_argument("--turns", type=int, default=4, help="turns to play (default 4)")
    parser.add_argument("--language", default="", help="of the programs (default: the run's; python for a policy directory)")
    parser.add_argument("--temperature", type=float, default=0.0, help="of sampling; 0 takes the likeliest token (default)")
    parser.add_argument("--response-tokens", type=int, default=0, help="cap of a response (default: the run's; 4096 for a policy directory)")
    parser.add_argument("--feedback-tokens", type=int, default=0, help="cap of a feedback, image included (default: the run's; 1536)")
    parser.add_argument("--min-pixels", type=int, default=0, help="images are scaled to at least this size (default: the run's; 4 x 28 x 28)")
    parser.add_argument("--max-pixels", type=int, default=0, help="and to at most this size (default: the run's; 1280 x 28 x 28)")
    parser.add_argument("--tensor", type=int, default=1, metavar="N", help="devices over which weights and cache are split (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_parser().parse_args(arguments)
    return door("correct", lambda: correct(options))


if __name__ == "__main__":
    sys.exit(main())
