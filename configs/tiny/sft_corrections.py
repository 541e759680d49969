"""Second part of the cold start: SFT on two-turn dialogues, a flawed first program, its render or error, the golden program.

The loss is on the second turn only: the first one is wrong on purpose.

Data      chart_world_corrections, difficulty 0 (python -m recoder_jax.prepare chart_world_corrections --out data)
Command   python -m recoder_jax.train --config=configs/tiny/sft_corrections.py --workdir=runs/corrections --config.init=runs/sft
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SFT + corrections"
    config.kind = "sft"
    config.steps = 200

    config.data.name = "chart_world_corrections"
    config.data.trained_turns = "last"

    config.batch.size = 32
    config.batch.rows = 32
    config.batch.row_tokens = 384

    config.optimizer.learning_rate = 5e-4
    config.optimizer.warmup = 20

    config.objective.aggregation = "token_mean"

    config.checkpoint.every = 100
    return config
