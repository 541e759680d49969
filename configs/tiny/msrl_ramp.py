"""MSRL with a ramp: the visual weight rises linearly over the first half of the updates. The visual part is the image similarity.

Data      charts of chart_world, difficulty 0, whose data are flat
Command   python -m recoder_jax.train --config=configs/tiny/msrl_ramp.py --workdir=runs/msrl_ramp --config.init=runs/sft
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "MSRL ramp"
    config.kind = "rl"
    config.seed = 4  # other charts and samples than the other stages
    config.steps = 24

    config.model.unroll = 4

    config.data.name = "chart_world"
    config.data.keep = "flat"

    config.rollout.turns = 1
    config.rollout.branch_turn = 1
    config.rollout.group = 8
    config.rollout.charts = 16

    config.batch.size = 16
    config.batch.micro_batches = 2
    config.batch.rows = 8
    config.batch.row_tokens = 704
    config.batch.least_trained = 512
    config.batch.least_images = 16

    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.0
    config.reward.textual = 0.5 / 1.5  # paper: 0.5 / 0.5 / 0.5, divided by their sum
    config.reward.similarity = 0.5 / 1.5
    config.reward.executed = 0.5 / 1.5
    config.reward.ramp_steps = 12  # half of the updates
    config.reward.ramp_textual = 1.0 / 1.5  # stage 1 of the paper
    config.reward.ramp_executed = 0.5 / 1.5

    config.checkpoint.every = 8
    return config
