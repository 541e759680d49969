"""More of the cold start on two turns, so that a second turn looks at the render and copies what is right.

configs/tiny/sft_corrections.py teaches 200 updates on golden programs with one to three edits, of which "The color is wrong." is the commonest
diagnosis; the policy then says so of right colours too, and does not copy its own lines (docs/findings.md). Behind a colon stands what is tried:

    long      1,200 updates on 7,984 programs with edits and 2,500 charts of one turn, the vision tower trained
    longer    1,200 more behind `long`, in another order
    mixed     100 updates on 600 programs that the policy sampled, each followed by the golden one (own_corrections), beside 700 with edits
    edited    the control of `mixed`: those with edits alone

`mixed` and `edited` hold the vision tower, which saves its backward pass.

Measured  docs/findings.md: `longer` copies what is right, and at temperature 1 its second turn is above its first by 1.4 points (-0.8 to +3.7); `mixed` makes
          the diagnosis right more often, and no second turn better than its first; `edited` loses the first turn as `mixed` does and improves fewer.

Data      chart_world and chart_world_corrections, difficulty 0. For `long` and `longer`, in a directory of their own:
          python -m recoder_jax.prepare chart_world --out data/long --train 2500 --validation 32 --test 200
          python -m recoder_jax.prepare chart_world_corrections --out data/long --train 8000
          For `mixed`:
          python -m recoder_jax.build_corrections --config=configs/tiny/evaluate.py --data=chart_world --split=train[:600] --out=data --config.seed=7 \\
                                                  --workdir=runs/own --policy=runs/sft --second=golden --name=own_corrections
Command   python -m recoder_jax.train --config=configs/study/start.py:long --workdir=runs/long --config.init=runs/demo/corrections --config.data.dir=data/long
          python -m recoder_jax.train --config=configs/study/start.py:longer --workdir=runs/longer --config.init=runs/long --config.data.dir=data/long
"""

from recoder_jax.configuration import defaults

MIXED_WITH = {"long": "chart_world:train", "longer": "chart_world:train", "mixed": "own_corrections:train,chart_world:train[:400]", "edited": "chart_world:train[:400]"}


def get_config(first="long"):
    if first not in MIXED_WITH:
        raise ValueError(f"there is no start {first!r}; choose {', '.join(MIXED_WITH)}")
    long = first in ("long", "longer")
    config = defaults()
    config.name = f"SFT + corrections, {first}"
    config.kind = "sft"
    config.seed = int(first == "longer")
    config.steps = 1200 if long else 100

    config.model.unroll = 4

    config.data.name = "chart_world_corrections"
    config.data.mixed_with = MIXED_WITH[first]
    config.data.trained_turns = "last"

    config.batch.size = 20
    config.batch.rows = 20  # three of four dialogues have two turns and fill a row each
    config.batch.row_tokens = 304

    config.optimizer.learning_rate = 2e-3 if long else 1e-3
    config.optimizer.warmup = 30
    config.optimizer.train_vision = long

    config.objective.aggregation = "token_mean"

    config.checkpoint.every = 100 if long else 50
    return config
