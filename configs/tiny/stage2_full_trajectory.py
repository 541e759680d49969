"""RL stage 2, full trajectory: G dialogues a chart, gradient on both turns, one reward from the last turn.

Data      charts of chart_world, difficulty 0
Command   python -m recoder_jax.train --config=configs/tiny/stage2_full_trajectory.py --workdir=runs/stage2 --config.init=runs/stage1
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "RL stage 2"
    config.kind = "rl"
    config.seed = 2  # other charts and samples than the other stages
    config.steps = 30

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.rollout.turns = 2
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # the paper's G
    config.rollout.charts = 8

    config.batch.size = 8
    config.batch.micro_batches = 2
    config.batch.rows = 8
    config.batch.row_tokens = 800
    config.batch.least_trained = 512
    config.batch.least_images = 40
    config.batch.suffixes = 2  # on a CPU attention over long rows costs more than the repeated prompt

    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 10
    return config
