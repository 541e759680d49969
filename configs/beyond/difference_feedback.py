"""Feedback that shows where render and target differ: beside the render a second picture, white where both agree, blue where something is
missing, red where something is too much, green where a colour is wrong. The papers show the render alone.

Behind a colon stands the stage: `corrections`, SFT on two-turn dialogues, or `rl`, a shared first turn and G second turns that compete.
Evaluation and `correct` show what the run was trained with.

Measured  not measured.
Data      chart_world_corrections, difficulty 0, and charts of chart_world
Command   python -m recoder_jax.train --config=configs/beyond/difference_feedback.py --workdir=runs/difference --config.init=runs/sft
          python -m recoder_jax.train --config=configs/beyond/difference_feedback.py:rl --workdir=runs/difference_rl --config.init=runs/difference
Control   --config.rollout.difference=False
"""

from recoder_jax.configuration import defaults

STAGES = ("corrections", "rl")


def get_config(stage: str = "corrections"):
    if stage not in STAGES:
        raise ValueError(f"the stage is {stage!r}; choose corrections or rl")
    config = defaults()
    config.model.unroll = 4
    config.rollout.difference = True
    config.rollout.feedback_tokens = 208  # two pictures and the text
    (corrections if stage == "corrections" else rl)(config)
    return config


def corrections(config) -> None:
    """As configs/tiny/sft_corrections.py, with longer rows."""
    config.name = "SFT + corrections, differences"
    config.kind = "sft"
    config.steps = 200

    config.data.name = "chart_world_corrections"
    config.data.mixed_with = "chart_world:train[:700]"
    config.data.trained_turns = "last"

    config.batch.size = 20
    config.batch.rows = 16
    config.batch.row_tokens = 416

    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 15

    config.objective.aggregation = "token_mean"

    config.checkpoint.every = 100


def rl(config) -> None:
    """As configs/tiny/stage1_shared_first_turn.py, with longer rows."""
    config.name = "RL stage 1, differences"
    config.kind = "rl"
    config.seed = 1
    config.steps = 24

    config.data.name = "chart_world"

    config.rollout.turns = 2
    config.rollout.branch_turn = 2
    config.rollout.group = 8
    config.rollout.charts = 16

    config.batch.size = 16
    config.batch.micro_batches = 2
    config.batch.rows = 4
    config.batch.row_tokens = 1216
    config.batch.least_trained = 1024
    config.batch.least_images = 32

    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 8
