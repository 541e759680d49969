"""Playing a policy over a benchmark: every chart once, T turns, one dialogue a chart."""

from collections.abc import Sequence

from tqdm import tqdm

from recoder_jax.charts.chart import Chart
from recoder_jax.rollout.play import Plan, Player
from recoder_jax.rollout.trajectory import Group


def play_benchmark(player: Player, params, charts: Sequence[Chart], plan: Plan, seed: int, name: str) -> list[Group]:
    """One dialogue a chart, with the parameters that `player.sampler.load` made."""
    with tqdm(total=len(charts), desc=name, unit="chart", mininterval=1.0) as progress:
        groups, _ = player.play(params, charts, plan, seed, 0, done=progress.update)
    return groups

