"""What stands beside the numbers of an evaluation: scores in the papers' forms, breakdowns, and what is needed to get them again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate and its bootstrap interval, in points. All None when no chart counts."""

    value: float | None
    low: float | None
    high: float | None


UNMEASURED = Interval(None, None, None)


@dataclass(frozen=True)
class ModeScore:
    """The four scores of one program in one score mode, in [0, 1]."""

    text: float
    layout: float
    chart_type: float
    color: float

    @property
    def low_level(self) -> float:
        """Mean of the four."""
        return (self.text + self.layout + self.chart_type + self.color) / 4


@dataclass(frozen=True)
class PaperScores:
    """What the papers print, over all charts, in points.

    Attributes:
      choice: which turn of a dialogue counts: 'turn 1', ..., 'last turn', 'last executed turn', or 'best executed turn', which is chosen by
        low-level and so knows the golden program.
      executed: ChartMimic's execution rate.
      fixed: low-level in the score mode `fixed`.
      text, layout, chart_type, color, code_pass: in the mode `chartmimic`, failing programs 0; code_pass is their mean.
      no_filter: the same mean where a program that raises is scored by what it drew before.
      high_level: the judge's score, over the charts it answered for; overall: mean of code_pass and high_level.
      pass_rate, text_match: Plot2Code's, the second over the programs that pass.
      rating: Plot2Code's, 1 to 10, over the programs that pass and that the judge answered for. grade: ChartX's, 0 to 5. No points of 100 these two.
    """

    choice: str
    executed: Interval
    fixed: Interval
    text: Interval
    layout: Interval
    chart_type: Interval
    color: Interval
    code_pass: Interval
    no_filter: Interval
    high_level: Interval
    overall: Interval
    pass_rate: Interval
    text_match: Interval
    rating: Interval = UNMEASURED
    grade: Interval = UNMEASURED

    @classmethod
    def from_json(cls, row: dict) -> 'PaperScores':
        return cls(**{name: Interval(**value) if isinstance(value, dict) else value for name, value in row.items()})


@dataclass(frozen=True)
class Breakdown:
    """The charts that agree in `by` ('kind' or 'difficulty'), in points: the first and the last turn, low-level in the mode `fixed`.

    improvement: as `CorrectionScores.average_improvement`; all None with one turn. rating, grade: of the last turn, as in `PaperScores`.
    """

    by: str
    value: str
    charts: int
    executed_first: Interval
    executed_last: Interval
    low_level_first: Interval
    low_level_last: Interval
    improvement: Interval
    rating: Interval = UNMEASURED
    grade: Interval = UNMEASURED

    @classmethod
    def from_json(cls, row: dict) -> 'Breakdown':
        return cls(**{name: Interval(**value) if isinstance(value, dict) else value for name, value in row.items()})


@dataclass(frozen=True)
class ReferenceCard:
    """What decides the numbers of an evaluation.

    Attributes:
      subject: what was evaluated: RUN@STEP by the name of its directory, a policy directory, or a model at a server.
      config_hash: of the evaluation's config.
      code_version: hash of this package's sources.
      packages: version by name.
      fonts: how many fonts matplotlib knows, and a hash of their names and sizes.
      seeds: by name.
      judge_model: '' where no judge was asked.
      date: year-month-day of the evaluation, UTC.
    """

    subject: str
    config_hash: str
    code_version: str
    packages: dict[str, str]
    fonts: str
    seeds: dict[str, int]
    judge_model: str
    date: str
