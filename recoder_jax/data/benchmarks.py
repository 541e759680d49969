"""Builders of the benchmarks: ChartMimic, Plot2Code and ChartX, each from the files that are published.

    ChartMimic    test.tar.gz or dataset/: SUBSET/bar_1.{py,png,pdf}, and {easy,medium,hard}_list.json with names of charts; the subsets of v1 are
                  ori_500 (direct) and customized_500, those of v2 direct_600, customized_600, direct_1800, customized_1800; for customized, the
                  instructions in dimentions_info_edit.jsonl of its code repository: idx, instruction, width, height (legacy/ has that of v1)
    Plot2Code     python_matplotlib: metadata.jsonl with file_name and code; or ground_truth_code_with_instruction.jsonl, whose line n belongs to
                  ground_truth_image_n.png
    ChartX        ChartX_annotation.json (test), ChartX_annotation_val.json (validation): chart_type, imgname, img, title, csv, redrawing.output; pictures by img

They become charts to draw from the picture alone. A chart of a customized task is shown as its benchmark shows it: the figure of the direct task, with
the instruction, in which the user's data stand; its golden figure is the hidden target. The instruction of Plot2Code's conditional task is left out.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from recoder_jax.data.archives import Pictures, find_file
from recoder_jax.data.building import Built, Request, Tally
from recoder_jax.data.chart2code import read_records
from recoder_jax.data.released import Item, Options, Splits, prepare_released

CHARTMIMIC, PLOT2CODE, CHARTX = 'chartmimic', 'plot2code', 'chartx'
SUBSETS = {'direct': ('ori_500', 'direct_600', 'direct_1800'), 'customized': ('customized_500', 'edit_500', 'customized_600', 'customized_1800')}
REFERENCES = {'customized_500': 'ori_500', 'edit_500': 'ori_500', 'customized_600': 'direct_600', 'customized_1800': 'direct_1800'}  # whose figures are shown
INSTRUCTIONS, OLD = 'dimentions_info_edit.jsonl', 'legacy'
LEVELS = ('easy', 'medium', 'hard')
# ChartX's two groups of types, as its evaluation has them
CHARTX_HARD = ('rose', 'area_chart', '3D-Bar', 'bubble', 'multi-axes', 'radar')
_NUMBER = re.compile(r'ground_truth_image_(\d+)$')


def prepare_chartmimic(source: str, out: str, task: str, subset: str, options: Options) -> Built:
    """task: 'direct', which shows its targets, or 'customized', which hides them behind instructions. subset: a name of SUBSETS[task]; '' takes the one
    that is there."""
    if subset and subset not in SUBSETS[task]:
        raise ValueError(f'--subset is {subset!r}; for {task} choose one of {", ".join(SUBSETS[task])}')
    extras = ('instruction', 'reference') if task == 'customized' else ()
    request = Request(
        name=CHARTMIMIC, config=subset or task, form='charts', extras=extras,
        arguments={'task': task, 'subset': subset} | ({'extras': list(extras)} if extras else {}),
        description='ChartMimic: figures of scientific papers, their programs written by people.' + ('' if task == 'direct' else
                    ' An instruction with new data, and a figure whose style its chart is to have.'),
        licence='Apache-2.0', origin='ChartMimic/ChartMimic on the Hugging Face hub',
    )  # fmt: skip
    return prepare_released(request, source, lambda directories: _chartmimic(directories, task, subset), out, options)


def prepare_plot2code(source: str, out: str, options: Options) -> Built:
    request = Request(
        name=PLOT2CODE, config='python_matplotlib', form='charts', arguments={}, licence='Apache-2.0 for research; see TencentARC/Plot2Code',
        description="Plot2Code: plots of matplotlib's gallery with their programs.", origin='TencentARC/Plot2Code on the Hugging Face hub',
    )  # fmt: skip
    return prepare_released(request, source, _plot2code, out, options)


def prepare_chartx(source: str, out: str, options: Options) -> Built:
    request = Request(
        name=CHARTX, config='redrawing', form='charts', arguments={'extras': ['title', 'csv']}, extras=('title', 'csv'), licence='as U4R/ChartX states it',
        description='ChartX: synthetic charts of 18 types with the programs that drew them.', origin='U4R/ChartX on the Hugging Face hub',
    )  # fmt: skip
    return prepare_released(request, source, _chartx, out, options)


def _chartmimic(directories: list[Path], task: str, subset: str) -> Splits:
    wanted = (subset,) if subset else SUBSETS[task]
    found = {path.name: path for directory in directories for path in [directory, *sorted(directory.rglob('*'))] if path.is_dir() and path.name in wanted}
    if len(found) != 1:
        there = f'several subsets ({", ".join(sorted(found))}); choose with --subset' if found else f'none of {", ".join(wanted)}; give the directory of ChartMimic\'s data or test.tar.gz'
        raise ValueError(f'the source holds {there}')
    (name, folder), = found.items()
    levels = {chart: level for level in LEVELS if (file := find_file(directories, f'{level}_list.json')) for chart in read_records(file)}
    if task == 'direct':
        return {'test': lambda tally: _chartmimic_items(folder, name, levels)}
    below = [path for directory in directories for path in [directory, *sorted(directory.rglob(REFERENCES[name]))]]
    shown = next((path for path in below if path.is_dir() and path.name == REFERENCES[name]), None)
    if shown is None:
        raise FileNotFoundError(f'the source holds no {REFERENCES[name]}, whose figures the instructions of {name} refer to; give the directory of both')
    asked = _instructions(directories, old=REFERENCES[name] == 'ori_500')
    return {'test': lambda tally: _customized_items(_chartmimic_items(folder, name, levels), asked(tally), shown)}


def _chartmimic_items(folder: Path, subset: str, levels: dict[str, str]) -> Iterator[Item]:
    programs = {file.stem: file for file in sorted(folder.glob('*.py'))}
    pictures = {file.stem: file for ending in ('*.png', '*.jpg') for file in sorted(folder.glob(ending))}
    for stem in sorted({*programs, *pictures}):
        level = f'difficulty_{levels[stem]}/' if stem in levels else ''
        program = programs[stem].read_bytes() if stem in programs else None
        yield Item(f'{CHARTMIMIC}/{subset}/{level}{stem}', program, pictures.get(stem), kind_of(stem), origin=f'ChartMimic {subset}/{stem}.py')


def _customized_items(items: Iterator[Item], asked: dict[str, str], shown: Path) -> Iterator[Item]:
    """The items with their instructions and the figures of `shown`, by the first two words of their names, as the benchmark finds them."""
    figures = {file.stem: file for ending in ('*.jpg', '*.png') for file in sorted(shown.glob(ending))}
    for item in items:
        stem = item.id.rpartition('/')[2]
        name = '_'.join(stem.split('_')[:2])
        yield replace(item, instruction=asked.get(name, ''), reference=figures.get(stem) or figures.get(name))


def _instructions(directories: list[Path], old: bool) -> Callable[[Tally], dict[str, str]]:
    """What reads the instruction of each chart, with the size of its figure; the first of a name counts. old: of v1, which stand in legacy/ where both do."""
    files = sorted((file for directory in directories for file in directory.rglob(INSTRUCTIONS)), key=lambda file: (OLD in file.parts) != old)
    if not files:
        raise FileNotFoundError(f'the source holds no {INSTRUCTIONS}; put that of ChartMimic\'s code repository beside the data, for v1 the one in {OLD}/, '
                                'and give the directory of both')

    def read(tally: Tally) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, line in enumerate(files[0].read_bytes().splitlines()):
            try:
                row = json.loads(line)
                size = f'The figure has figsize=({float(row["width"])}, {float(row["height"])}).'
                if row['instruction'].strip():
                    found.setdefault(str(row['idx']), f'{row["instruction"].rstrip()}\n{size}')
            except (ValueError, KeyError, TypeError, AttributeError):
                tally.drop('instruction of another form', f'{INSTRUCTIONS}, line {number + 1}')
        return found

    return read


def kind_of(stem: str) -> str:
    """The type in a name such as 'errorbar_12' or 'HR_3'."""
    return stem.rpartition('_')[0].split('_')[0]


def _plot2code(directories: list[Path]) -> Splits:
    pictures = Pictures(directories)
    for name in ('metadata.jsonl', 'ground_truth_code_with_instruction.jsonl'):
        file = find_file(directories, name)
        if file:
            return {'test': lambda tally: _plot2code_items(file, pictures, tally)}
    raise FileNotFoundError('the source holds neither metadata.jsonl nor ground_truth_code_with_instruction.jsonl; give the python_matplotlib directory of Plot2Code')


def _plot2code_items(file: Path, pictures: Pictures, tally: Tally) -> Iterator[Item]:
    for number, line in enumerate(file.read_bytes().splitlines()):
        try:
            record = json.loads(line)
            picture = record.get('file_name') or f'ground_truth_image_{number}.png'
            stem = Path(picture).stem
            name = found[1] if (found := _NUMBER.match(stem)) else stem
            yield Item(f'{PLOT2CODE}/{name}', record['code'], pictures.find(picture), origin=str(record.get('url') or f'Plot2Code {stem}'))
        except (ValueError, KeyError, TypeError, AttributeError):
            tally.drop('record of another form', f'{file.name}, line {number + 1}')


def _chartx(directories: list[Path]) -> Splits:
    files = {'test': find_file(directories, 'ChartX_annotation.json'), 'validation': find_file(directories, 'ChartX_annotation_val.json')}
    if not any(files.values()):
        raise FileNotFoundError('the source holds no ChartX_annotation.json; give the directory of ChartX with its pictures')
    pictures = Pictures(directories)
    return {split: lambda tally, file=file, split=split: _chartx_items(read_records(file), split, pictures, tally) for split, file in files.items() if file}


def _text(value) -> str:
    """Raises TypeError for what is no text."""
    if not isinstance(value, str):
        raise TypeError(f'{value!r} is no text')
    return value


def _chartx_items(records: list, split: str, pictures: Pictures, tally: Tally) -> Iterator[Item]:
    for number, record in enumerate(records):
        try:
            kind, level = _text(record['chart_type']), 'hard' if record['chart_type'] in CHARTX_HARD else 'easy'
            name = f'{CHARTX}/{split}/difficulty_{level}/{kind}/{_text(record["imgname"])}'
            yield Item(name, record['redrawing']['output'], pictures.find(record['img']), kind, origin=f'ChartX {record["img"]}',
                       title=_text(record['title']), csv=_text(record['csv']))
        except (KeyError, TypeError, AttributeError):
            tally.drop('record of another form', f'{split} record {number}')
