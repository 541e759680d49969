"""RL stage 2, full trajectory: G dialogues a chart, gradient on both turns, one reward from the last turn.

Data      charts of chart_world, difficulty 0
Command   python -m recoder_jax.train --config=configs/tiny/stage2_full_trajectory.py --workdir=runs/stage2 --config.init=runs/stage1
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "RL stage 2"
    config.kind = "rl"
    config.steps = 30

    config.data.name = "chart_world"

    config.rollout.turns = 2
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # the paper's G
    config.rollout.charts = 16

    config.batch.size = 16
    config.batch.micro_batches = 4
    config.batch.rows = 4
    config.batch.row_tokens = 2560

    config.optimizer.learning_rate = 2e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 10
    return config
