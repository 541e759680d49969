"""Runs that never happened, with real renders: what the report and its tests are looked at with.

    python -m tests.made_up_run OUT     writes OUT/sft, OUT/corrections, OUT/stage1, OUT/stage2, OUT/report.html,
                                        and OUT/plain_seed0, ..., OUT/clipped_seed2, OUT/compared.html
"""

from dataclasses import replace
import io
import math
import os
from pathlib import Path
import sys

import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from recoder_jax.evaluation.metrics import evaluation_of
from recoder_jax.runs.directory import RunDirectory
from recoder_jax.runs.records import AlarmRecord, ChartResult, DialogueRecord, TurnRecord

COLOURS = ['steelblue', 'tomato', 'seagreen', 'goldenrod', 'orchid', 'slategray']
WORDS = ['Sales', 'Rainfall', 'Visitors', 'Energy', 'Harvest', 'Exports']
BODIES = {
    'bar': "ax.bar(['A', 'B', 'C', 'D'], {data}, color='{colour}')",
    'line': "ax.plot([1, 2, 3, 4], {data}, color='{colour}', marker='o', label='{label}')\nax.legend()",
    'scatter': "ax.scatter([1, 2, 3, 4], {data}, color='{colour}')\nax.grid(True)",
    'pie': "ax.pie({data}, labels=['A', 'B', 'C', 'D'], colors=['{colour}', 'gold', 'silver', 'tan'])",
}
CRASH = 'Traceback (most recent call last):\n  File "program.py", line 4, in <module>\nAttributeError: {message}'


def golden(kind: str, rng: np.random.Generator) -> str:
    title, label = rng.choice(WORDS, 2, replace=False)
    body = BODIES[kind].format(data=list(map(int, rng.integers(1, 9, 4))), colour=rng.choice(COLOURS), label=label)
    axes = '' if kind == 'pie' else f"ax.set_xlabel('Month')\nax.set_ylabel('{label}')\n"
    return ('import matplotlib.pyplot as plt\n\nfig, ax = plt.subplots(figsize=(2.24, 2.24))\n'
            f"{body}\nax.set_title('{title}', fontsize=9)\n{axes}plt.savefig('chart.png')\n")


def flawed(program: str, rng: np.random.Generator) -> tuple[str, str, float]:
    """(program, diagnosis, low-level score) after one realistic edit; a score of -1 means that it crashes."""
    colour = next(colour for colour in COLOURS if f"'{colour}'" in program)
    word = program.split("set_title('")[1].split("'")[0]
    others = [each for each in COLOURS if each != colour]
    edits = [
        (program.replace(colour, rng.choice(others)), 'The colour differs.', 0.86),
        (program.replace(f"'{word}'", "'Costs'"), 'The title reads otherwise.', 0.84),
        (program.replace('ax.set_title', 'ax.title_set'), 'AttributeError: the method is misspelled.', -1.0),
        (program.replace(f"ax.set_title('{word}', fontsize=9)\n", ''), 'The title is missing.', 0.79),
    ]
    return edits[rng.integers(len(edits))]


def draw(program: str) -> np.ndarray:
    plt.close('all')
    saved = plt.savefig
    plt.savefig = lambda *_, **__: None
    try:
        exec(program, {})
    finally:
        plt.savefig = saved
    buffer = io.BytesIO()
    plt.gcf().savefig(buffer, dpi=100)
    plt.close('all')
    return np.asarray(Image.open(buffer).convert('RGB'))


class Player:
    """Plays dialogues of a policy that has some skill, and stores their renders."""

    def __init__(self, run: RunDirectory, seed: int):
        self.run = run
        self.rng = np.random.default_rng(seed)
        self.renders: dict[str, str] = {}
        self.goldens = {kind: [golden(kind, self.rng) for _ in range(6)] for kind in BODIES}

    def render(self, program: str) -> str:
        if program not in self.renders:
            self.renders[program] = self.run.store_render(draw(program))
        return self.renders[program]

    def turn(self, number: int, program: str, think: str, low_level: float, shared: bool = False) -> TurnRecord:
        text = f'<think>\n{think}\n</think>\n```python\n{program}\n```'
        if low_level < 0:
            log = CRASH.format(message="'Axes' object has no attribute 'title_set'. Did you mean: 'set_title'?")
            parts = {'format': 1.0, 'rule': 0.0, 'low_level': 0.0, 'total': 0.1}
            return TurnRecord(number, text, program, 'error', log, None, parts, 61, shared, None)
        loss = 4 * (1 - low_level)
        parts = {'format': 1.0, 'rule': low_level, 'low_level': low_level, 'text': max(0.0, 1 - 0.6 * loss), 'layout': 1.0,
                 'chart_type': 1.0, 'color': max(0.0, 1 - 0.4 * loss), 'total': 0.1 + 0.9 * low_level}
        return TurnRecord(number, text, program, 'ok', '', self.render(program), parts, 64, shared, None)

    def attempt(self, target: str, skill: float) -> tuple[str, str, float]:
        if self.rng.random() < skill:
            return target, 'I see one chart with a title.', 1.0
        return flawed(target, self.rng)

    def group(self, step: int, chart: str, kind: str, branch_turn: int, skill: float, size: int) -> list[DialogueRecord]:
        target = str(self.rng.choice(self.goldens[kind]))
        shared = self.attempt(target, 0.3 * skill)
        records = []
        for branch in range(size):
            program, think, low = shared if branch_turn == 2 else self.attempt(target, 0.6 * skill)
            later = (program, 'The render equals the chart.', low) if self.rng.random() < 0.3 else self.attempt(target, skill)
            turns = (self.turn(1, program, think, low, branch_turn == 2), self.turn(2, later[0], later[1], later[2]))
            records.append(DialogueRecord(step, chart, kind, branch, branch_turn, target, self.render(target),
                                          turns[-1].parts['total'], turns))
        rewards = np.array([record.reward for record in records])
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        return [replace(record, turns=tuple(turn if turn.shared else replace(turn, advantage=float(round(advantage, 4)))
                                            for turn in record.turns))
                for record, advantage in zip(records, advantages)]


def config(name: str, seed: int, branch_turn: int | None, lr: float) -> dict:
    settings = {'name': name, 'seed': seed, 'model': {'preset': 'tiny', 'dtype': 'float32'},
                'optimizer': {'lr': lr, 'clip': 1.0}, 'data': {'name': 'chart_world', 'train': 6000, 'difficulty': 0},
                'versions': {'python': '3.11.9', 'jax': '0.10.2', 'flax': '0.12.8', 'matplotlib': matplotlib.__version__}}
    return settings if branch_turn is None else settings | {'rollout': {'group': 8, 'branch_turn': branch_turn, 'turns': 2}}


def supervised_run(path: Path, steps: int, seed: int, start: float) -> RunDirectory:
    run, rng = RunDirectory(path), np.random.default_rng(seed)
    run.write_config(config(path.name, seed, None, 1e-3))
    for step in range(1, steps + 1):
        noise = rng.normal()
        run.write_metrics(step, {
            'loss/total': 0.12 + start * math.exp(-step / (0.2 * steps)) + 0.02 * noise,
            'optimizer/grad_norm': 0.9 + 0.2 * abs(noise),
            'optimizer/lr': 1e-3 * min(1, 10 * step / steps) * (1 + math.cos(math.pi * step / steps)) / 2,
            'throughput/trained_tokens_per_s': 5200 + 150 * noise, 'time/step': 0.42 + 0.02 * noise,
            'process/devices': 4.0})
    return run


def rl_run(path: Path, steps: int, seed: int, branch_turn: int, skills: tuple[float, float], charts: int,
           size: int) -> RunDirectory:
    run, rng = RunDirectory(path), np.random.default_rng(seed)
    run.write_config(config(path.name, seed, branch_turn, 1e-4))
    player = Player(run, seed)
    for step in range(1, steps + 1):
        skill = skills[0] + (skills[1] - skills[0]) * step / steps
        kinds = list(BODIES)
        records = [record for index in range(charts)
                   for record in player.group(step, f'chart_world/train/{step * charts + index}',
                                              kinds[(step + index) % len(kinds)], branch_turn, skill, size)]
        run.write_rollouts(step, records)
        noise = rng.normal()

        def mean(turn: int, part: str) -> float:
            return float(np.mean([record.turns[turn].parts[part] for record in records]))

        executed = [float(np.mean([record.turns[turn].executed for record in records])) for turn in (0, 1)]
        run.write_metrics(step, {
            'reward/total': mean(1, 'total'), 'reward/format': 1.0, 'reward/rule': mean(1, 'rule'),
            'turn1/executed': executed[0], 'turn2/executed': executed[1],
            'turn1/low_level': 100 * mean(0, 'low_level'), 'turn2/low_level': 100 * mean(1, 'low_level'),
            'correction/average_improvement': 100 * (mean(1, 'low_level') - mean(0, 'low_level')),
            'correction/improve_rate': 0.2 + 0.2 * skill + 0.03 * noise,
            'correction/degrade_rate': 0.15 - 0.1 * skill + 0.01 * abs(noise),
            'correction/repeat_rate': 0.4 - 0.1 * skill + 0.02 * noise,
            'loss/total': 0.03 * noise, 'loss/clip_fraction': 0.02 + 0.01 * abs(noise),
            'optimizer/grad_norm': 0.5 + 0.1 * abs(noise), 'optimizer/lr': 1e-4,
            'sampling/logprob_gap': 1e-6 * (2 + abs(noise)),
            'sampling/response_tokens': 63 + noise, 'sampling/tokens': 2000.0, 'sampling/truncated': 0.0,
            'time/rollout': 2.1 + 0.1 * noise, 'time/execute': 0.5, 'time/update': 1.2, 'time/step': 3.4 + 0.1 * noise,
            'time/spent_rollout': 1.7, 'time/spent_update': 1.2, 'time/spent_execute': 0.3 - 0.2 * step / steps, 'time/spent_judge': 0.1,
            'time/spent_save': 0.4 * (step % 10 == 1), 'time/spent_idle': 0.1 + 0.2 * step / steps + 0.1 * noise, 'process/devices': 4.0,
            'throughput/sampled_tokens_per_s': 1900 + 60 * noise, 'throughput/trained_tokens_per_s': 3600 + 90 * noise,
            'throughput/executions_per_s': 41 + noise})
    return run


def evaluate(run: RunDirectory, skills: tuple[float, float], charts: int, seed: int) -> None:
    """Turn 1 and turn 2 succeed as often as `skills` say, over the same charts for every run."""
    rng = np.random.default_rng(seed)
    results = []
    for index in range(charts):
        luck = rng.random(2)
        low = [1.0 if luck[0] < skills[0] else 0.8 if luck[0] < 0.93 else 0.0, 0.0]
        low[1] = 1.0 if luck[1] < skills[1] else low[0] if luck[1] < 0.97 else 0.5
        programs = tuple(f'x = {score}' for score in low)
        results.append(ChartResult(chart=f'chart_world/test/{index}', kind=list(BODIES)[index % 4],
                                   executed=tuple(score > 0 for score in low), low_level=tuple(low), programs=programs,
                                   text=tuple(low), layout=(1.0, 1.0), chart_type=(1.0, 1.0), color=tuple(low)))
    run.write_evaluation(evaluation_of(results, str.__eq__, name=run.name, benchmark='chart_world test, difficulty 0',
                                       seeds={'sampling': seed}, config_hash='5d2c9f01'))


def chain(out: Path, sft_steps: int = 300, rl_steps: int = 60, charts: int = 4, size: int = 8,
          evaluated: int = 256) -> list[Path]:
    """sft, corrections, stage1, stage2 under `out`, each evaluated."""
    runs = [supervised_run(out / 'sft', sft_steps, 1, 2.4),
            supervised_run(out / 'corrections', max(2, sft_steps // 3), 2, 0.4),
            rl_run(out / 'stage1', rl_steps, 3, 2, (0.35, 0.7), charts, size),
            rl_run(out / 'stage2', rl_steps, 4, 1, (0.6, 0.85), charts, size)]
    for run, skills in zip(runs, [(0.45, 0.02), (0.45, 0.12), (0.47, 0.3), (0.55, 0.36)]):
        evaluate(run, skills, evaluated, seed=7)
    return [run.path for run in runs]


def study(out: Path, seeds: int = 3, steps: int = 60, charts: int = 2, size: int = 4, evaluated: int = 128) -> list[Path]:
    """Two settings of one stage under `out`, some seeds each; one run of the first gave alarms."""
    runs = []
    for name, high, end in (('plain', 0.2, 0.6), ('clipped', 0.28, 0.75)):
        for seed in range(seeds):
            run = rl_run(out / f'{name}_seed{seed}', steps, 10 * seed + int(100 * high), 1, (0.3, end + 0.02 * seed), charts, size)
            settings = config(run.name, seed, 1, 1e-4)
            run.write_config(settings | {'kind': 'rl', 'objective': {'clip_high': high}})
            evaluate(run, (0.5, end - 0.1 + 0.02 * seed), evaluated, seed=7)
            runs.append(run)
    runs[0].write_alarms([
        AlarmRecord(steps // 2, 'repeat', 'the repeat rate rose from 0.21 (steps 1 to 20) to 0.41 (steps 11 to 30); the last turn copies the first; '
                    'look at dialogues tagged repeated, and at rollout.eta', False),
        AlarmRecord(steps // 3, 'tampering', '2 of 64 programs show signs of tampering with the sandbox', False),
        AlarmRecord(steps - 3, 'tampering', '1 of 64 programs show signs of tampering with the sandbox', False)])
    return [run.path for run in runs]


if __name__ == '__main__':
    from recoder_jax.report import build
    place = Path(sys.argv[1])
    os.makedirs(place, exist_ok=True)
    print(build(chain(place), place / 'report.html', title='chart_world, tiny policy'))
    print(build(study(place), place / 'compared.html', title='chart_world, clip_high'))
