"""Evaluation of a tiny run: 200 unseen charts of chart_world, two turns, greedy.

Command   python -m recoder_jax.evaluate --config=configs/tiny/evaluate.py --workdir=runs/stage2
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.evaluation.data = "chart_world"
    config.evaluation.split = "test"
    config.evaluation.charts = 200
    config.evaluation.turns = 2
    config.evaluation.temperature = 0.0
    config.evaluation.batch = 50
    return config
