"""RL over three turns with a shared first turn: one first turn a chart, then G second and third turns that compete. The papers train two.

The reward is that of the third turn; both turns behind the branch carry it.

Measured  not measured.
Data      charts of chart_world, difficulty 0
Command   python -m recoder_jax.train --config=configs/beyond/three_turns.py --workdir=runs/three_turns --config.init=runs/corrections
Evaluate  python -m recoder_jax.evaluate --config=configs/tiny/evaluate.py --workdir=runs/three_turns --config.evaluation.turns=3
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "RL, three turns"
    config.kind = "rl"
    config.seed = 1
    config.steps = 24

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.rollout.turns = 3
    config.rollout.branch_turn = 2
    config.rollout.group = 8
    config.rollout.charts = 16

    config.batch.size = 16
    config.batch.micro_batches = 4
    config.batch.rows = 8
    config.batch.row_tokens = 1280  # the prompt, a shared turn and four suffixes of two turns
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
