"""Rule score of a generated against a golden execution: text, layout, chart type and colour F1.

The measures are ChartMimic's four (its evaluators under chart2code/utils/evaluator), in two modes:

    fixed         two empty sides agree (1), one empty side does not (0), every axes and chart type is seen; for rewards
    chartmimic    what its evaluators would give, for comparison with published numbers; `chartmimic` lists the quirks

Equal inputs give equal scores in both, whatever the process, its hash seed or its number of threads.
"""

import ast
import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import linear_sum_assignment

from recoder_jax.charts.chartmimic import match_chart_types, match_colors, match_layout, match_texts
from recoder_jax.charts.colour import color_similarity
from recoder_jax.charts.execution import Execution

MODES = ('fixed', 'chartmimic')


@dataclass(frozen=True)
class RuleScore:
    """F1 of each measure in [0, 1]; all 0 when the generated program gave no figure."""

    executed: bool
    text: float
    layout: float
    chart_type: float
    color: float

    @property
    def low_level(self) -> float:
        """Mean of the four."""
        return (self.text + self.layout + self.chart_type + self.color) / 4

    def measures(self) -> dict[str, float]:
        """Mean and measures by their names."""
        return {'low_level': self.low_level, 'text': self.text, 'layout': self.layout, 'chart_type': self.chart_type, 'color': self.color}


def rule_score(generated: Execution, golden: Execution, mode: str = 'fixed') -> RuleScore:
    """Scores two executions in one of MODES.

    ValueError for an unknown mode, for a golden execution without a figure, or without what the mode compares.
    """
    if mode not in MODES:
        raise ValueError(f'score mode {mode!r} is unknown; use one of {", ".join(MODES)}')
    if golden.elements is None:
        reason = ' '.join(golden.log.splitlines()[-1:])[:200]
        raise ValueError(f'the golden program gave no figure ({golden.status.value}: {reason}); give one that runs')
    if generated.elements is None:
        return RuleScore(False, 0.0, 0.0, 0.0, 0.0)
    if mode == 'chartmimic':
        return _chartmimic_score(generated, golden)
    a, b = generated.elements, golden.elements
    return RuleScore(
        executed=True,
        text=_multiset_f1(Counter(a.texts), Counter(b.texts)),
        layout=_multiset_f1(Counter(a.layout), Counter(b.layout)),
        chart_type=_multiset_f1(Counter(dict(a.chart_types)), Counter(dict(b.chart_types))),
        color=_color_f1(a.colors, b.colors),
    )


def _chartmimic_score(generated: Execution, golden: Execution) -> RuleScore:
    a, b = generated.chartmimic, golden.chartmimic
    if b is None:
        raise ValueError('the golden execution has no ChartMimic elements; execute the golden program again')
    if a is None:                  # its process gave none in the form that is accepted
        return RuleScore(True, 0.0, 0.0, 0.0, 0.0)
    return RuleScore(True, match_texts(a, b).f1, match_layout(a, b).f1, match_chart_types(a, b).f1,
                     match_colors(a, b).f1)


def _f1(matched: float, generated: int, golden: int) -> float:
    """Harmonic mean of matched / generated and matched / golden; 1 when both are empty."""
    return min(1.0, 2 * matched / (generated + golden)) if generated + golden else 1.0


def _multiset_f1(generated: Counter, golden: Counter) -> float:
    return _f1((generated & golden).total(), generated.total(), golden.total())


def _color_f1(generated: Sequence[tuple[str, str]], golden: Sequence[tuple[str, str]]) -> float:
    """Colours of one plotting function are assigned one to one so that the summed similarity is greatest."""
    matched = 0.0
    for function in sorted({function for function, _ in generated} & {function for function, _ in golden}):
        similarity = color_similarity([color for name, color in generated if name == function],
                                      [color for name, color in golden if name == function])
        matched += float(similarity[linear_sum_assignment(similarity, maximize=True)].sum())
    return _f1(matched, len(generated), len(golden))


def same_program(a: str, b: str) -> bool:
    """Whether two programs have the same syntax tree, docstrings and comments aside.

    Programs that do not parse are the same when their lines are, trailing white space and empty lines aside.
    """
    return _normal_form(a) == _normal_form(b)


def program_key(program: str) -> str:
    """A hash that programs share which are the same in the sense of `same_program`."""
    return hashlib.sha256(_normal_form(program).encode('utf-8', 'surrogatepass')).hexdigest()


def _normal_form(program: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')          # invalid escapes in the program are its own affair
            tree = ast.parse(program)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant):
                    node.kind = None                 # u'a' is 'a'
                for name in ('body', 'orelse', 'finalbody'):
                    if isinstance(statements := getattr(node, name, None), list):
                        setattr(node, name, [one for one in statements if not _is_bare_constant(one)])
            return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return '\n'.join(line.rstrip() for line in program.splitlines() if line.strip())


def _is_bare_constant(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
