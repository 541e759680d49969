"""Build a data set of two-turn corrections: play a model over charts, keep the dialogues whose low-level rises by more than 0.02.

    python -m recoder_jax.build_corrections --config=configs/evaluate.py --data=chart2code_160k --split=train --out=data \\
                                            --workdir=runs/corrections --server=http://host:8000/v1 --model=NAME
    python -m recoder_jax.build_corrections --config=configs/tiny/evaluate.py --data=chart_world --split=train[:500] --out=data \\
                                            --workdir=runs/corrections --policy=runs/demo/sft --name=own_corrections
    ... --second=golden                     plays one turn; the golden program follows it, behind what the scores find wrong with the first

Sampling, deadlines and the pace of requests are those of the config's section `evaluation`. The dialogues stay in WORKDIR, and the same command
asks only for those that are missing; a set that stands is left alone. WORKDIR/samples.html shows dialogues that were kept and dropped.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from recoder_jax import factory
from recoder_jax.charts.chart import Chart
from recoder_jax.charts.sandbox import Sandbox
from recoder_jax.charts.scores import same_program
from recoder_jax.configuration import load
from recoder_jax.data.building import Request, Tally, build, find_standing
from recoder_jax.data.sources import open_charts
from recoder_jax.data.world_sets import MIN_GAIN
from recoder_jax.doors import AGAIN, Ended, door
from recoder_jax.evaluation.correcting import Pair, correction_records, sample_record
from recoder_jax.evaluation.page import write_dialogues
from recoder_jax.evaluation.remote import Journal, Rules, Spoken, Unplayed, mark_of, play_remote
from recoder_jax.learning.checkpoint import run_of, step_of
from recoder_jax.rewards.judgement import FailureKind
from recoder_jax.rollout.play import Plan
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.subjects import check_elements, foreign_config, policy_config, server_options

JOURNAL, SAMPLES = 'dialogues.jsonl', 12
BLOCK = 256  # charts whose dialogues are held at once
FINAL = (FailureKind.refused, FailureKind.too_large)  # asking again would give the same
Play = Callable[[Sequence[Chart], int], list[Unplayed]]  # charts of a block and its number; the journal keeps what is said


def build_corrections(config: ConfigDict, options: argparse.Namespace) -> None:
    """Play what is missing, then build the set from the journal."""
    check_elements(config, "build_corrections")
    charts = open_charts(config.data.dir, options.data, options.split)
    if charts[0].instruction:
        raise ValueError(f'{options.data} asks for charts by instruction, which dialogues of corrections do not hold; choose another --data')
    mark, model = subject_of(config, options)
    follows = 'the golden program' if options.second == 'golden' else 'its thoughts, its better program'
    request = Request(
        name=options.name, config='two_turns', form='corrections',
        arguments={'data': options.data, 'split': options.split, 'model': model, 'mark': mark, 'min_gain': MIN_GAIN},
        description=f'Two-turn dialogues that a model held over charts; its first program, what running it gave, {follows}.',
        licence='as the charts and the model allow', origin=f'{model} over {options.data}, {options.split}',
    )  # fmt: skip
    standing = find_standing(request, options.out)
    if standing:
        print(f'{options.name}: {standing.counts["train"]} dialogues stand already in {standing.directory}')
        return
    run = RunDirectory(options.workdir)
    with contextlib.ExitStack() as stack:
        sandbox, journal = stack.enter_context(factory.sandbox_of(config)), Journal(run.path / JOURNAL, mark)
        play = server_play(config, options, sandbox, journal) if options.server else policy_play(config, options, sandbox, journal, stack)
        unplayed = play_missing(charts, play, journal)
        tally = Tally()
        for each in unplayed:
            tally.drop(f'the model gave no response: {each.kind.value}', f'{each.chart}: {each.sentence}')
        samples = Samples(run)
        try:
            built = build(request, {'train': lambda: records(charts, journal, sandbox, tally, request, model, samples)}, tally, options.out)
        finally:      # where none was kept, the page shows why
            samples.write(options.name)
    reasons = ', '.join(f'{reason} {count}' for reason, count in tally.drops.most_common())
    print(f'{options.name}: kept {built.counts["train"]} of {len(charts)} dialogues; {reasons or "none dropped"}; written to {built.directory}; look at {samples.page}')


def subject_of(config: ConfigDict, options: argparse.Namespace) -> tuple[str, str]:
    """(mark, name) of what speaks; the mark changes with whatever decides what is said."""
    if options.server:
        config = foreign_config(config)
        return mark_of(server_options(config, options.server, options.model), rules_of(config, options)), options.model
    if factory.is_of_run(options.policy):
        config = factory.config_of_run(options.policy, config)
    said = [factory.policy_mark(options.policy), config.seed, config.evaluation.temperature, config.rollout.to_dict(), config.evaluation.max_pixels]
    said += [1] if turns_of(options) == 1 else []
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16], Path(options.policy).name


def turns_of(options: argparse.Namespace) -> int:
    """Turns that the model plays."""
    return 1 if options.second == 'golden' else 2


def rules_of(config: ConfigDict, options: argparse.Namespace) -> Rules:
    return Rules(turns=turns_of(options), seed=config.seed, difference=config.rollout.difference)


def play_missing(charts: Sequence[Chart], play: Play, journal: Journal) -> list[Unplayed]:
    """Plays the charts that the journal does not hold, block by block; what was refused for good. Ended where others are missing."""
    unplayed: list[Unplayed] = []
    for number, start in enumerate(tqdm(range(0, len(charts), BLOCK), 'dialogues', unit='block', mininterval=1)):
        block = [charts[index] for index in range(start, min(start + BLOCK, len(charts)))]
        block = [chart for chart in block if journal.find(chart.id) is None]
        if block:
            unplayed += play(block, number)
    passing = [each for each in unplayed if each.kind not in FINAL]
    if passing:
        kinds = ', '.join(f'{kind} {count}' for kind, count in Counter(each.kind.value for each in passing).most_common())
        raise Ended(f'{len(passing)} of {len(charts)} dialogues could not be played ({kinds}; {passing[0].sentence}); run the same command again to ask only for those', AGAIN)
    return unplayed


def server_play(config: ConfigDict, options: argparse.Namespace, sandbox: Sandbox, journal: Journal) -> Play:
    config = foreign_config(config)
    server, rules = server_options(config, options.server, options.model), rules_of(config, options)
    return lambda charts, number: play_remote(server, charts, rules, sandbox, journal)[1]


def policy_play(config: ConfigDict, options: argparse.Namespace, sandbox: Sandbox, journal: Journal, stack: contextlib.ExitStack) -> Play:
    """Plays with the training engine. A run brings its own config; a policy or Hugging Face directory sees images of evaluation.max_pixels."""
    own = factory.is_foreign(options.policy)
    config = policy_config(config, options.policy)
    mesh, rollout = factory.mesh_of(config), config.rollout
    stack.enter_context(jax.set_mesh(mesh))
    path = options.policy if own else f'{run_of(options.policy)}@{step_of(options.policy)}'
    policy, params = factory.trained_policy(path, config, mesh)
    slots = dataclasses.replace(factory.slots_of(config), places=config.evaluation.batch)
    player = factory.player_of(policy, sandbox, None, mesh, factory.goldens_of(config), slots, config.batch.least_windows)
    params = player.sampler.load(params)
    plan = Plan(turns=turns_of(options), branch_turn=1, group=1, response_tokens=rollout.response_tokens, feedback_tokens=rollout.feedback_tokens,
                temperature=config.evaluation.temperature, stop_at_fence=rollout.stop_at_fence, difference=rollout.difference)

    def play(charts: Sequence[Chart], number: int) -> list[Unplayed]:
        for group in player.play(params, charts, plan, config.seed, number)[0]:
            journal.keep(group.chart.id, [Spoken(turn.response.text, turn.execution) for turn in group.trajectories[0].turns])
        return []

    return play


def records(charts: Sequence[Chart], journal: Journal, sandbox: Sandbox, tally: Tally, request: Request, model: str, samples: 'Samples'):
    """Correction records of the dialogues in the journal, in the order of the charts."""

    def pairs() -> Iterator[Pair]:
        for index in range(len(charts)):
            chart = charts[index]
            turns = journal.find(chart.id)
            if turns is not None:
                yield Pair.of(chart, [text for text, _ in turns])

    return correction_records(pairs, len(charts), sandbox, tally, request.licence, model, samples.add)


class Samples:
    """The first dialogues that were kept, and the first of each reason to drop, as a page."""

    def __init__(self, run: RunDirectory):
        self._run, self._found = run, {}
        self.page = run.path / 'samples.html'

    def add(self, pair: Pair, executions, reason: str | None) -> None:
        heading = f'dropped: {reason}' if reason else 'kept'
        shown = self._found.setdefault(heading, [])
        if len(shown) < (1 if reason else SAMPLES):
            shown.append(sample_record(pair, executions, self._run.store_render))

    def write(self, name: str) -> None:
        ordered = dict(sorted(self._found.items(), key=lambda item: item[0] != 'kept'))
        lede = 'Dialogues that were kept, then one for each reason others were dropped for.'
        write_dialogues(self.page, name, lede, ordered, self._run.renders, same_program)


def check_options(options: argparse.Namespace) -> None:
    """Raises ValueError for options that do not go together."""
    if bool(options.server) == bool(options.policy):
        raise ValueError('give one of --server, with --model, and --policy')
    if bool(options.server) != bool(options.model):
        raise ValueError('--server and --model go together; give both or neither')
    if not options.name.replace('_', '').isalnum():
        raise ValueError(f'--name is {options.name!r}; use letters, digits and underscores')


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m recoder_jax.build_corrections', description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False)
    parser.add_argument('--config', required=True, metavar='FILE', help='config file; --config.a.b=value overrides a key')
    parser.add_argument('--data', required=True, metavar='NAME', help='prepared set of charts in data.dir')
    parser.add_argument('--split', required=True, help='its split, such as train or train[:1000]')
    parser.add_argument('--out', required=True, metavar='DATA', help='directory of data sets')
    parser.add_argument('--workdir', required=True, metavar='DIR', help='directory for the dialogues and samples.html')
    parser.add_argument('--name', default='chart2code_corrections', help='name of the set that is built (default chart2code_corrections)')
    parser.add_argument('--server', default='', metavar='URL', help='OpenAI-compatible server, http://host:port/v1')
    parser.add_argument('--model', default='', metavar='NAME', help='its model')
    parser.add_argument('--second', default='own', choices=('own', 'golden'), help='second turn: the model\'s own, or the golden program (default own)')
    parser.add_argument('--policy', default='', metavar='DIR', help='instead: run directory, policy directory or Hugging Face directory')
    options, overrides = parser.parse_known_args(arguments)

    def act() -> None:
        check_options(options)
        build_corrections(load(options.config, overrides), options)

    return door('build_corrections', act)


if __name__ == '__main__':
    sys.exit(main())
