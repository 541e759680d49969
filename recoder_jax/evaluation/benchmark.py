"""Playing a policy over a benchmark: every chart once, T turns, one dialogue a chart."""

from collections.abc import Sequence

from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.rollout.play import Plan, Player
from recoder_jax.rollout.trajectory import Group
from recoder_jax.runs.records import ChartResult

PARTS = ("text", "layout", "chart_type", "color")


def play_benchmark(player: Player, params, charts: Sequence[Chart], plan: Plan, seed: int, name: str) -> list[Group]:
    """One dialogue a chart, with the parameters that `player.sampler.load` made."""
    with tqdm(total=len(charts), desc=name, unit="chart", mininterval=1.0) as progress:
        groups, _ = player.play(params, charts, plan, seed, 0, done=progress.update)
    return groups


def chart_results(groups: Sequence[Group]) -> list[ChartResult]:
    """The scores of every turn of each chart's dialogue."""
    results = []
    for group in groups:
        turns = group.trajectories[0].turns
        scores = [turn.reward.scores for turn in turns]
        measures = [score.measures() for score in scores]
        parts = {name: tuple(each[name] for each in measures) for name in PARTS if all(name in each for each in measures)}
        results.append(
            ChartResult(
                chart=group.chart.id,
                kind=group.chart.kind,
                executed=tuple(score.executed for score in scores),
                low_level=tuple(score.low_level for score in scores),
                programs=tuple(turn.response.program for turn in turns),
                **parts,
            )
        )
    return results
