"""RL on SVG documents, full trajectory: G dialogues a chart, both turns trained.

SVG documents have no elements, so the reward is how alike render and target look (0.9) and the form of the response (0.1).

Data      charts of svg_world (needs pip install -e .[svg])
Command   python -m recoder_jax.train --config=configs/tiny/svg_rl.py --workdir=runs/svg_rl --config.init=runs/svg_corrections
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SVG RL"
    config.kind = "rl"
    config.seed = 2  # other charts and samples than the other stages
    config.steps = 24

    config.model.unroll = 4
    config.tokenizer = "tiny_svg"

    config.data.name = "svg_world"
    config.data.language = "svg"

    config.rollout.turns = 2
    config.rollout.branch_turn = 1
    config.rollout.group = 8
    config.rollout.charts = 8
    config.rollout.response_tokens = 112

    config.batch.size = 8
    config.batch.micro_batches = 2
    config.batch.rows = 8
    config.batch.row_tokens = 800
    config.batch.least_trained = 512
    config.batch.least_images = 40
    config.batch.suffixes = 2  # on a CPU attention over long rows costs more than the repeated prompt

    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.0
    config.reward.similarity = 0.9

    config.checkpoint.every = 8
    return config
