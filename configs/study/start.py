"""The start of the study: SFT on two-turn dialogues until a second turn copies what is right in the first and changes what is wrong.

Four times the updates of configs/tiny/sft_corrections.py, 3,200 flawed golden programs in place of 700, and two dialogues of two turns for one of
one turn. Behind a colon stands what the first programs are:

    flawed    golden programs with one to three edits (chart_world_corrections)
    mixed     these, and programs that the policy itself sampled, each followed by the golden one (own_corrections)

Data      python -m recoder_jax.prepare chart_world_corrections --out data --train 3200
          python -m recoder_jax.build_corrections --config=configs/tiny/evaluate.py --data=chart_world --split=train[:1600] --out=data \\
                                                  --workdir=runs/own --policy=runs/sft --second=golden --name=own_corrections
Command   python -m recoder_jax.train --config=configs/study/start.py:mixed --workdir=runs/start --config.init=runs/sft
"""

from recoder_jax.configuration import defaults

MIXED_WITH = {"flawed": "chart_world:train[:1600]", "mixed": "own_corrections:train,chart_world:train"}


def get_config(first="mixed"):
    if first not in MIXED_WITH:
        raise ValueError(f"there are no first programs {first!r}; choose {', '.join(MIXED_WITH)}")
    config = defaults()
    config.name = f"SFT + corrections, {first}"
    config.kind = "sft"
    config.steps = 800

    config.model.unroll = 4

    config.data.name = "chart_world_corrections"
    config.data.mixed_with = MIXED_WITH[first]
    config.data.trained_turns = "last"

    config.batch.size = 20
    config.batch.rows = 20
    config.batch.row_tokens = 304

    config.optimizer.learning_rate = 1.5e-3
    config.optimizer.warmup = 30

    config.objective.aggregation = "token_mean"

    config.checkpoint.every = 100
    return config
