"""Evaluation of a study's runs: 200 unseen charts of chart_world, two turns, the likeliest token at each place.

At temperature 1 a policy this small never writes a program twice, so repeat rates are 0 whatever the strategy; its likeliest dialogues show them.

Behind a colon stands the number of turns, 2 where none is given: `evaluate.py:1` for the arms that learn one.

Data      chart_world, difficulty 0 (python -m recoder_jax.prepare chart_world --out data --test 200)
Command   python -m recoder_jax.evaluate --config=configs/study/evaluate.py --workdir=runs/strategies/full_seed1
"""

from recoder_jax.configuration import defaults


def get_config(turns="2"):
    config = defaults()
    config.evaluation.data = "chart_world"
    config.evaluation.split = "test"
    config.evaluation.charts = 200
    config.evaluation.turns = int(turns)
    config.evaluation.temperature = 0.0
    config.evaluation.batch = 50
    return config
