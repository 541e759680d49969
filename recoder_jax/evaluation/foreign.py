"""Dialogues of a model behind a server in the form that our own have, so that everything after playing is the same for both."""

from collections.abc import Callable, Sequence

import numpy as np

from recoder_jax.charts.chart import Chart
from recoder_jax.charts.execution import Execution
from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.dialogue.response import parse_response
from recoder_jax.evaluation.remote import Spoken
from recoder_jax.languages.language import Language
from recoder_jax.languages.python import LANGUAGE as PYTHON
from recoder_jax.rewards.mixture import Mixture
from recoder_jax.rollout.trajectory import Group, Trajectory, Turn

_NO_TOKENS = np.zeros(0, np.int32)


def groups_of(charts: Sequence[Chart], spoken: Sequence[Sequence[Spoken]], reward: Mixture, goldens: Callable[[str], Execution],
              language: Language = PYTHON) -> list[Group]:  # fmt: skip
    """A group of one trajectory a chart, without tokens. goldens: golden program -> its execution."""
    asked = [
        [(reward.look(chart.image, turn.execution), reward.ask(chart.image, turn.execution)) for turn in turns]
        for chart, turns in zip(charts, spoken, strict=True)
    ]
    return [_group(chart, turns, questions, reward, goldens(chart.program), language) for chart, turns, questions in zip(charts, spoken, asked, strict=True)]


def _group(chart: Chart, turns: Sequence[Spoken], questions: Sequence, reward: Mixture, golden: Execution, language: Language) -> Group:
    played = []
    for number, (turn, (look, question)) in enumerate(zip(turns, questions, strict=True), start=1):
        response, judgement = parse_response(turn.text, language), question and question.result()
        given = reward(response, turn.execution, golden, judgement, chart.image, chart.program, look and look.result())
        played.append(Turn(number, _NO_TOKENS, np.zeros(0, np.float32), True, response, turn.execution, given, None))
    trajectory = Trajectory(tuple(played), played[-1].reward.total, not any(turn.reward.missing for turn in played))
    return Group(chart, Tokens(_NO_TOKENS), 1, (trajectory,))
