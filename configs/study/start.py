"""More of the cold start on two turns, so that a second turn looks at the render: the policy learns from its own mistakes.

configs/tiny/sft_corrections.py teaches on golden programs with one to three edits, of which "The color is wrong." is the commonest diagnosis; the
policy then says so of right colours too (docs/findings.md). Behind a colon stands what the first programs are:

    mixed     600 programs that the policy sampled, each followed by the golden one (own_corrections), beside 700 with edits
    edited    the control: those with edits alone

The vision tower is held, which saves its backward pass.

Measured  docs/findings.md: `mixed` makes the diagnosis right more often, and no second turn better than its first; `edited` has not run.

Data      chart_world and chart_world_corrections, difficulty 0
          python -m recoder_jax.build_corrections --config=configs/tiny/evaluate.py --data=chart_world --split=train[:600] --out=data --config.seed=7 \\
                                                  --workdir=runs/own --policy=runs/sft --second=golden --name=own_corrections
Command   python -m recoder_jax.train --config=configs/study/start.py --workdir=runs/start --config.init=runs/corrections
"""

from recoder_jax.configuration import defaults

MIXED_WITH = {"mixed": "own_corrections:train,chart_world:train[:400]", "edited": "chart_world:train[:400]"}


def get_config(first="mixed"):
    if first not in MIXED_WITH:
        raise ValueError(f"there are no first programs {first!r}; choose {', '.join(MIXED_WITH)}")
    config = defaults()
    config.name = f"SFT + corrections, {first}"
    config.kind = "sft"
    config.steps = 100

    config.model.unroll = 4

    config.data.name = "chart_world_corrections"
    config.data.mixed_with = MIXED_WITH[first]
    config.data.trained_turns = "last"

    config.batch.size = 20
    config.batch.rows = 20  # three of four dialogues have two turns and fill a row each
    config.batch.row_tokens = 304

    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 30
    config.optimizer.train_vision = False

    config.objective.aggregation = "token_mean"

    config.checkpoint.every = 50
    return config
