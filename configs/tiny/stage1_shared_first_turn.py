"""RL stage 1, shared first turn: one first turn a chart, G second turns that compete, gradient on the second turn only.

Data      charts of chart_world, difficulty 0
Command   python -m recoder_jax.train --config=configs/tiny/stage1_shared_first_turn.py --workdir=runs/stage1 --config.init=runs/corrections
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "RL stage 1"
    config.kind = "rl"
    config.seed = 1  # other charts and samples than the other stages
    config.steps = 30

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.rollout.turns = 2
    config.rollout.branch_turn = 2
    config.rollout.group = 8  # the paper's G
    config.rollout.charts = 16

    config.batch.size = 16
    config.batch.micro_batches = 2
    config.batch.rows = 4
    config.batch.row_tokens = 1088
    config.batch.least_trained = 1024
    config.batch.least_images = 16

    config.optimizer.learning_rate = 1e-4  # at 3e-4 the first turn, which is not trained, drifts (docs/findings.md)
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 10
    return config
