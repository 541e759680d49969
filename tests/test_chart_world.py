"""The chart world: deterministic, disjoint splits, programs that run and whose texts fit into the figure."""
from collections import Counter
import subprocess
import sys

import matplotlib
from matplotlib import colors as matplotlib_colors
import numpy as np
import pytest

from recoder_jax.data.chart_world import ChartWorld, split_of
from recoder_jax.data.chart_world_spec import KINDS, PANELS, SPLITS
from recoder_jax.data.chart_world_words import COLORS, dial, KIND_WEIGHTS

DIFFICULTIES = (0, 1, 2, 3)


def programs(split: str, size: int, difficulty: int) -> list[str]:
    world = ChartWorld(split, size, difficulty)
    return [world.program(index) for index in range(size)]


def test_a_chart_depends_on_split_index_and_difficulty_alone():
    here = programs('validation', 5, 2)
    script = ("from recoder_jax.data.chart_world import ChartWorld\n"
              "print('\\0'.join(ChartWorld('validation', 900, 2).program(i) for i in range(5)), end='')")
    elsewhere = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True,
                               env={'PYTHONHASHSEED': '7', 'PYTHONPATH': ':'.join(path for path in sys.path if path)}).stdout
    assert elsewhere.split('\0') == here
    assert programs('validation', 5, 1) != here
    assert programs('test', 5, 2) != here


def test_no_program_stands_in_two_splits():
    seen = {split: {program for difficulty in DIFFICULTIES for program in programs(split, 60, difficulty)} for split in SPLITS}
    assert not seen['train'] & seen['validation'] and not seen['train'] & seen['test'] and not seen['validation'] & seen['test']
    for split, found in seen.items():
        assert {split_of(program) for program in found} == {split}


@pytest.mark.parametrize('difficulty', DIFFICULTIES)
def test_every_family_of_a_difficulty_appears_and_programs_hardly_repeat(difficulty):
    world = ChartWorld('train', 800, difficulty)
    kinds = Counter(world.kind(index) for index in range(len(world)))
    assert set(kinds) == set(KIND_WEIGHTS[difficulty]) | {PANELS}
    found = programs('train', 800, difficulty)
    assert len(set(found)) > 0.98 * len(found)


def test_the_dial_ends_at_every_kind_and_widens_every_list():
    assert set(KIND_WEIGHTS[3]) == set(KINDS)
    for lower, upper in zip(DIFFICULTIES, DIFFICULTIES[1:]):
        low, high = dial(lower), dial(upper)
        for name in ('titles', 'x_labels', 'y_labels', 'series', 'colors', 'colormaps'):
            assert set(getattr(low, name)) < set(getattr(high, name))
        assert low.panels < high.panels and low.largest < high.largest


def test_programs_are_short_and_colours_are_known_to_matplotlib():
    lines = [program.count('\n') for difficulty in DIFFICULTIES for program in programs('train', 200, difficulty)]
    assert np.mean(lines) < 9 and max(lines) <= 13
    names = [name for row in COLORS for name in row]
    assert len(set(names)) == len(names) and all(matplotlib_colors.is_color_like(name) for name in names)
    assert not {'white', 'none'} & set(names)


def test_golden_programs_run_and_draw_224_by_224_pixels(sandbox):
    sample = [program for difficulty in DIFFICULTIES for program in programs('test', 8, difficulty)]
    for program, execution in zip(sample, sandbox.execute_all(sample)):
        assert execution.ok, f'{execution.log}\n{program}'
        assert execution.render.shape == (224, 224, 3)


def test_no_title_or_label_is_cut_by_the_edge_of_the_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the programs save chart.png
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    for program in [program for difficulty in DIFFICULTIES for program in programs('train', 8, difficulty)]:
        with matplotlib.rc_context({'figure.dpi': 100}):
            exec(compile(program, 'program.py', 'exec'), {})
            figure = plt.gcf()
            figure.canvas.draw()
            for axes in figure.axes:
                for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
                    box = text.get_window_extent()
                    inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= 225 and box.y1 <= 225
                    assert inside or not text.get_text(), f'{text.get_text()!r} lies at {box.extents}\n{program}'
            plt.close(figure)


def test_the_think_text_is_one_line_that_names_kind_and_title():
    world = ChartWorld('train', 60, 0)
    for index in range(len(world)):
        think, spec = world.think(index), world.spec(index)
        assert '\n' not in think and think.endswith('.')
        if spec.kind != PANELS and spec.panels[0].title:
            assert f"'{spec.panels[0].title}'" in think


@pytest.mark.parametrize('arguments, sentence', [
    (('dev', 3, 0), "split 'dev' does not exist"), (('train', 3, 4), 'difficulty 4 does not exist'),
    (('train', -1, 0), 'size -1 is negative')])
def test_a_world_that_cannot_be_is_refused_with_the_value(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ChartWorld(*arguments)


def test_an_index_beyond_the_size_is_refused_so_that_loops_end():
    world = ChartWorld('train', 3, 0)
    assert len(list(world)) == 3
    for index in (3, -1):
        with pytest.raises(IndexError, match=f'chart {index} does not exist'):
            world.program(index)
