"""Evaluation of a tiny run on SVG documents: 200 unseen charts of svg_world, two turns, sampled at temperature 1.

Low-level in its table is the image similarity of render and target, which a star says.

Data      svg_world (python -m recoder_jax.prepare svg_world --out data --test 200; needs pip install -e .[svg])
Command   python -m recoder_jax.evaluate --config=configs/tiny/svg_evaluate.py --workdir=runs/svg_rl
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.data.language = "svg"
    config.reward.alpha = 0.0
    config.reward.similarity = 0.9
    config.evaluation.data = "svg_world"
    config.evaluation.split = "test"
    config.evaluation.charts = 200
    config.evaluation.turns = 2
    config.evaluation.temperature = 1.0
    config.evaluation.batch = 50
    return config
