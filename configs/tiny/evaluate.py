"""Evaluation of a tiny run: 200 unseen charts of chart_world, two turns, sampled at temperature 1.

Temperature 1 is what RL trains at: its objective is the expected reward of sampled dialogues. With temperature 0
(--config.evaluation.temperature=0.0) the likeliest program is drawn, which crashes rarely and gains less from so short a training.

Data      chart_world, difficulty 0 (python -m recoder_jax.prepare chart_world --out data --test 200)
Command   python -m recoder_jax.evaluate --config=configs/tiny/evaluate.py --workdir=runs/stage2
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.evaluation.data = "chart_world"
    config.evaluation.split = "test"
    config.evaluation.charts = 200
    config.evaluation.turns = 2
    config.evaluation.temperature = 1.0
    config.evaluation.batch = 50
    return config
