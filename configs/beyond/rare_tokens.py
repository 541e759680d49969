"""Cold start in which rare tokens weigh more: data values and styles over imports and the frame of calls, which every program has.

A token's weight is share ** -0.5, at most 8, with share that of the responses which hold it behind its two predecessors; a dialogue of a batch
that has more of it has less for its other tokens, the sum stays (recoder_jax/learning/rarity.py).

Measured  not measured.
Data      chart_world, difficulty 0, 2,500 charts (python -m recoder_jax.prepare chart_world --out data --train 2500)
Command   python -m recoder_jax.train --config=configs/beyond/rare_tokens.py --workdir=runs/rare
Control   --config.objective.rare=0.0
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SFT, rare tokens"
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
    config.objective.rare = 0.5
    config.objective.rare_most = 8.0

    config.checkpoint.every = 120
    return config
