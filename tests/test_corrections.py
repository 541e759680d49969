"""Corrections: the flawed program is worse than the golden one, and the diagnosis says truly why."""
import ast
from collections import Counter

import numpy as np
import pytest

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.scores import rule_score
from recoder_jax.data.chart_world import ChartWorld
from recoder_jax.data.corrections import CRASHES, EDITS, make_correction, world_correction
from recoder_jax.data.examples import Example

DIFFICULTIES = (0, 1, 2, 3)


def sample(size: int, split: str = 'train'):
    """(golden program, correction) of `size` charts a difficulty."""
    worlds = [ChartWorld(split, size, difficulty) for difficulty in DIFFICULTIES]
    return [(world.program(index), world_correction(world, index)) for world in worlds for index in range(size)]


def keywords(program: str, name: str) -> list[str]:
    """Values of a keyword argument in all calls of a program, in order."""
    calls = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call)]
    return [ast.unparse(keyword.value) for call in calls for keyword in call.keywords if keyword.arg == name]


def test_a_correction_is_a_function_of_spec_and_generator():
    spec = ChartWorld('train', 4, 1).spec(3)
    first, second = (make_correction(spec, np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert first != make_correction(spec, np.random.default_rng(6))


def test_every_edit_and_every_crash_occurs_and_one_in_five_crashes():
    corrections = [correction for _, correction in sample(500)]
    names = Counter(name for correction in corrections for name in correction.edits)
    assert set(names) == {edit.name for edit in EDITS} | {crash.name for crash in CRASHES}
    assert 0.15 < np.mean([bool(correction.error) for correction in corrections]) < 0.25


def test_a_flawed_program_differs_and_its_diagnosis_has_one_sentence_an_edit():
    sentences = {item.name: item.sentence for item in EDITS + CRASHES}
    for golden, correction in sample(250):
        assert correction.flawed != golden
        assert 1 <= len(correction.edits) <= 3
        assert correction.diagnosis == ' '.join(sentences[name] for name in correction.edits)
        assert correction.edits != ('wrong value',)  # no rule score sees values


def test_what_the_diagnosis_says_about_texts_and_colours_is_true():
    fields = {'title': 'title', 'x label': 'xlabel', 'y label': 'ylabel', 'legend': 'label'}
    checked = Counter()
    for golden, correction in sample(250):
        for name in correction.edits if not correction.error and len(correction.edits) == 1 else ():
            how, _, what = name.partition(' ')
            if what in fields:
                before, after = (keywords(program, fields[what]) for program in (golden, correction.flawed))
                assert len(after) == len(before) if how == 'wrong' else len(after) < len(before)
                assert before != after
                checked[how] += 1
            if name == 'wrong color':
                lines = [(a, b) for a, b in zip(golden.split('\n'), correction.flawed.split('\n'), strict=True) if a != b]
                assert lines and all('color' in line or 'cmap' in line for pair in lines for line in pair)
                checked['color'] += 1
    assert min(checked[how] for how in ('wrong', 'missing', 'color')) > 5


def test_flawed_programs_score_below_golden_ones_and_crashes_raise_what_they_name(sandbox):
    pairs = sample(8)
    golden = sandbox.execute_all([program for program, _ in pairs])
    flawed = sandbox.execute_all([correction.flawed for _, correction in pairs])
    for (program, correction), right, wrong in zip(pairs, golden, flawed):
        assert wrong.ok == (not correction.error), f'{correction}\n{wrong.log}'
        assert correction.error in wrong.log
        assert rule_score(right, right).low_level == 1
        assert rule_score(wrong, right).low_level < 1, f'{correction.edits}\n{program}\n{correction.flawed}'


@pytest.mark.parametrize('crash', CRASHES, ids=lambda crash: crash.name)
def test_each_crash_raises_its_error(crash, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    rng = np.random.default_rng(0)
    tried = 0
    for difficulty in DIFFICULTIES:
        world = ChartWorld('validation', 12, difficulty)
        for index in range(len(world)):
            flawed = crash.apply(world.program(index), rng)
            if flawed is None or tried == 12:
                continue
            with matplotlib.rc_context(), pytest.raises(Exception) as raised:
                exec(compile(flawed, 'program.py', 'exec'), {})
            assert raised.type.__name__ == crash.error, flawed
            tried += 1
            plt.close('all')
    assert tried > 3


def test_an_example_whose_parts_disagree_is_refused():
    chart = Chart('chart_world/train/0', np.zeros((28, 28, 3), np.uint8), '')
    Example(chart, ('a', 'b'), (False, True), ((None, 'error'),))
    with pytest.raises(ValueError, match='1 trained flags'):
        Example(chart, ('a', 'b'), (True,), ((None, 'error'),))
    with pytest.raises(ValueError, match='trains no turn'):
        Example(chart, ('a',), (False,))
