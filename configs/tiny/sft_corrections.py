"""Second part of the cold start: SFT on two-turn dialogues, a flawed first program, its render or error, the golden program.

The loss is on the second turn only, because the first one is wrong on purpose. As many one-turn dialogues are mixed in: without
them the policy forgets the first turn (tried: low-level of turn 1 fell from 71 to 34 in 120 steps).

Data      chart_world_corrections, difficulty 0 (python -m recoder_jax.prepare chart_world_corrections --out data --train 700)
Command   python -m recoder_jax.train --config=configs/tiny/sft_corrections.py --workdir=runs/corrections --config.init=runs/sft
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SFT + corrections"
    config.kind = "sft"
    config.steps = 200

    config.model.unroll = 4

    config.data.name = "chart_world_corrections"
    config.data.mixed_with = "chart_world:train[:700]"
    config.data.trained_turns = "last"

    config.batch.size = 20
    config.batch.rows = 16
    config.batch.row_tokens = 304

    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 15

    config.objective.aggregation = "token_mean"

    config.checkpoint.every = 100
    return config
