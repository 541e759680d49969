"""RL over three turns in which every turn has its own competition: a third of the charts branch at turn 1, a third at turn 2, a third at turn 3.

Where whole dialogues compete, a good second turn is blamed for a bad third one. A group that branches at turn t shares what came before and
compares what follows; over the charts of a batch each turn is the first to differ. Charts and turns rotate from step to step.

Measured  not measured.
Data      charts of chart_world, difficulty 0
Command   python -m recoder_jax.train --config=configs/beyond/branch_each.py --workdir=runs/branch_each --config.init=runs/corrections
Control   --config.rollout.branching=one, all charts at turn 1
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "RL, branching at each turn"
    config.kind = "rl"
    config.seed = 1
    config.steps = 24

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.rollout.turns = 3
    config.rollout.branch_turn = 1
    config.rollout.branching = "each"
    config.rollout.group = 8
    config.rollout.charts = 16

    config.batch.size = 18  # six charts a turn
    config.batch.micro_batches = 5
    config.batch.rows = 8
    config.batch.row_tokens = 1792  # the prompt and four suffixes of three turns
    config.batch.suffixes = 4
    config.batch.least_trained = 1024
    config.batch.least_images = 32

    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 8
    return config
