"""Cold start of the tiny policy: SFT from random weights on synthetic charts, one turn a dialogue.

Data      chart_world, difficulty 0, 2,500 charts (python -m recoder_jax.prepare chart_world --out data --train 2500)
Command   python -m recoder_jax.train --config=configs/tiny/sft.py --workdir=runs/sft
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SFT"
    config.kind = "sft"
    config.steps = 340

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.batch.size = 32
    config.batch.rows = 32
    config.batch.row_tokens = 144

    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup = 50

    config.objective.aggregation = "token_mean"

    config.checkpoint.every = 120
    return config
