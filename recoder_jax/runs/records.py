"""What a run leaves behind, as dataclasses: dialogues with every reward part, and the evaluation of a policy.

Scores of one chart are in [0, 1]; what an `Evaluation` reports is in points (100 times that).
Every record turns into plain JSON with `to_json` and back with `from_json`; a number that is not finite travels as
the string 'nan', 'inf' or '-inf', because JSON has no word for it.
"""

from dataclasses import asdict, dataclass, field
import math

import numpy as np

from recoder_jax.runs.scorecards import Breakdown, Interval, ModeScore, PaperScores, ReferenceCard


@dataclass(frozen=True)
class TurnRecord:
    """One turn of a dialogue.

    Attributes:
      turn: number of the turn, from 1.
      text: the response as decoded from the sampled tokens.
      program: the program found in the response, None when there is none.
      status: how its execution ended ('ok', 'error', 'timeout', ...), '' when nothing was executed.
      log: last lines of the traceback, '' when the program ran.
      render: file name inside `renders/`, None when there is no render.
      parts: reward parts and scores of this turn: format, rule, text, layout, chart_type, color, low_level, total, ...
      tokens: number of sampled tokens.
      shared: whether the turn belongs to the prefix its group shares (then it carries no loss).
      advantage: what weighted its tokens in the update, None outside of training.
      difference: file name inside `renders/` of the picture of differences that its feedback shows, None when it shows none.
    """

    turn: int
    text: str
    program: str | None
    status: str
    log: str
    render: str | None
    parts: dict[str, float]
    tokens: int
    shared: bool
    advantage: float | None
    difference: str | None = None

    @property
    def executed(self) -> bool:
        return self.status == 'ok'


@dataclass(frozen=True)
class DialogueRecord:
    """One trajectory over one chart.

    Attributes:
      step: training step, 0 for an evaluation.
      chart: id of the chart.
      kind: its family, '' when unknown.
      branch: number of the trajectory in its group, from 0.
      branch_turn: first turn sampled once per trajectory.
      golden: the golden program, '' when unknown.
      target: file name of the chart image inside `renders/`.
      reward: trajectory reward.
      turns: the turns in order.
    """

    step: int
    chart: str
    kind: str
    branch: int
    branch_turn: int
    golden: str
    target: str
    reward: float
    turns: tuple[TurnRecord, ...]

    def to_json(self) -> dict:
        return encode_numbers(asdict(self))

    @classmethod
    def from_json(cls, data: dict) -> 'DialogueRecord':
        """Raises ValueError when a field is missing or unknown."""
        try:
            turns = tuple(_turn_from_json(turn) for turn in data['turns'])
            return cls(**{**data, 'reward': decode_number(data['reward']), 'turns': turns})
        except (KeyError, TypeError) as error:
            raise ValueError(f'a dialogue record has a wrong or missing field ({error}); write the rollouts again') from error


def _turn_from_json(data: dict) -> TurnRecord:
    advantage = data['advantage']
    return TurnRecord(**{**data, 'parts': {name: decode_number(value) for name, value in data['parts'].items()},
                         'advantage': None if advantage is None else decode_number(advantage)})


@dataclass(frozen=True)
class AlarmRecord:
    """One line of `alarms.jsonl`: an alarm that began at a step.

    Attributes:
      step: number of the step.
      alarm: its name, a key of the config's section `alarms`.
      sentence: what was measured and what to look at.
      stopped: whether it ended the run.
    """

    step: int
    alarm: str
    sentence: str
    stopped: bool

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> 'AlarmRecord':
        """Raises ValueError when a field is missing, unknown or of another type."""
        fields = {'step': int, 'alarm': str, 'sentence': str, 'stopped': bool}
        if not isinstance(data, dict) or {name: type(value) for name, value in data.items()} != fields:
            raise ValueError(f'an alarm has the fields {", ".join(fields)}, not {data!r}; remove it')
        return cls(**data)


@dataclass(frozen=True)
class ChartResult:
    """How the turns of one evaluated chart went; every tuple has one entry a turn, or is empty where not measured.

    Attributes:
      chart: id of the chart.
      kind: its family, '' when unknown.
      executed: whether the turn's program ran and left a figure.
      low_level: mean of the four rule scores, or image similarity where there are none, in [0, 1]; 0 where the program failed.
      programs: the programs; None where the response holds none.
      text, layout, chart_type, color: the four rule scores, in [0, 1].
      difficulty: '' when unknown.
      code_pass, no_filter: scores in the mode `chartmimic`; a program that raises has 0, or the scores of what it drew before.
      high_level: the judge's score, in [0, 1]; None where it did not answer.
      visible: whether the render is not all white, what Plot2Code counts as a pass.
      text_match: Plot2Code's, in [0, 1]; None where the program does not pass.
      rating: Plot2Code's, 1 to 10; grade: ChartX's, 0 to 5; None where the judge was not asked or did not answer.
    """

    chart: str
    kind: str
    executed: tuple[bool, ...]
    low_level: tuple[float, ...]
    programs: tuple[str | None, ...]
    text: tuple[float, ...] = ()
    layout: tuple[float, ...] = ()
    chart_type: tuple[float, ...] = ()
    color: tuple[float, ...] = ()
    difficulty: str = ''
    code_pass: tuple[ModeScore, ...] = ()
    no_filter: tuple[ModeScore, ...] = ()
    high_level: tuple[float | None, ...] = ()
    visible: tuple[bool, ...] = ()
    text_match: tuple[float | None, ...] = ()
    rating: tuple[float | None, ...] = ()
    grade: tuple[float | None, ...] = ()

    @classmethod
    def from_json(cls, row: dict) -> 'ChartResult':
        """Raises KeyError or TypeError when a field is missing or unknown."""
        modes = {name: tuple(ModeScore(**score) for score in row.get(name, ())) for name in ('code_pass', 'no_filter')}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()} | modes)


@dataclass(frozen=True)
class TurnScores:
    """Means over all charts at one turn, in points; a part that was not measured is None."""

    turn: int
    executed: Interval
    low_level: Interval
    text: float | None
    layout: float | None
    chart_type: float | None
    color: float | None


@dataclass(frozen=True)
class CorrectionScores:
    """Turn `turn` against turn 1, over the `charts` charts whose turn-1 program executes, in points.

    `average_improvement` is the mean difference of low-level, the rates are shares of charts: low-level higher
    (improve), lower (degrade), program equal after normalisation (repeat), program text equal (exact).
    """

    turn: int
    charts: int
    average_improvement: Interval
    improve_rate: Interval
    degrade_rate: Interval
    repeat_rate: Interval
    exact_rate: Interval


@dataclass(frozen=True)
class Evaluation:
    """Content of `evaluation.json`.

    Attributes:
      name: what was evaluated, the row label in tables.
      benchmark: on what.
      charts: number of charts.
      seeds: every seed that decided the numbers.
      config_hash: hash of the config, '' when unknown.
      turns: means per turn, from turn 1.
      corrections: turn t against turn 1, for t = 2, 3, ...
      results: the charts one by one.
      compared: what low-level compares: elements, or pictures in a language whose programs have no elements.
      papers: scores in the papers' forms, turn by turn and by rules that choose a turn; empty where not measured.
      breakdowns: by type and difficulty of the charts, where known.
      card: what decides the numbers; None in evaluations of older versions.
      absent: measure -> why judgements of it are missing, for those that the benchmark has a judge asked.
    """

    name: str
    benchmark: str
    charts: int
    seeds: dict[str, int]
    config_hash: str
    turns: tuple[TurnScores, ...]
    corrections: tuple[CorrectionScores, ...]
    results: tuple[ChartResult, ...]
    compared: str = 'elements'
    papers: tuple[PaperScores, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    card: ReferenceCard | None = None
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def average_improvement(self) -> float | None:
        """Of the last turn over turn 1, in points; None with a single turn. So are the next three."""
        return self.corrections[-1].average_improvement.value if self.corrections else None

    @property
    def improve_rate(self) -> float | None:
        return self.corrections[-1].improve_rate.value if self.corrections else None

    @property
    def degrade_rate(self) -> float | None:
        return self.corrections[-1].degrade_rate.value if self.corrections else None

    @property
    def repeat_rate(self) -> float | None:
        return self.corrections[-1].repeat_rate.value if self.corrections else None

    def to_json(self) -> dict:
        return encode_numbers(asdict(self))

    @classmethod
    def from_json(cls, data: dict) -> 'Evaluation':
        """Raises ValueError when a field is missing or unknown."""
        try:
            return cls(**{**data,
                          'turns': tuple(_turn_scores(row) for row in data['turns']),
                          'corrections': tuple(_correction_scores(row) for row in data['corrections']),
                          'results': tuple(map(ChartResult.from_json, data['results'])),
                          'papers': tuple(map(PaperScores.from_json, data.get('papers', ()))),
                          'breakdowns': tuple(map(Breakdown.from_json, data.get('breakdowns', ()))),
                          'card': ReferenceCard(**data['card']) if data.get('card') else None})
        except (KeyError, TypeError) as error:
            raise ValueError(f'an evaluation has a wrong or missing field ({error}); run the evaluation again') from error


def _turn_scores(row: dict) -> TurnScores:
    return TurnScores(**{**row, 'executed': Interval(**row['executed']), 'low_level': Interval(**row['low_level'])})


def _correction_scores(row: dict) -> CorrectionScores:
    plain = ('turn', 'charts')
    return CorrectionScores(**{name: value if name in plain else Interval(**value) for name, value in row.items()})


def encode_numbers(value):
    """The same JSON value with tuples as lists, numpy scalars as numbers, and numbers that are not finite as strings."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {key: encode_numbers(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode_numbers(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def decode_number(value: float | int | str) -> float:
    """Inverse of `encode_numbers` for one number. Raises ValueError on anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f'{value!r} is not a number')
    if isinstance(value, str) and value not in ('nan', 'inf', '-inf'):
        raise ValueError(f'{value!r} is not a number')
    return float(value)
