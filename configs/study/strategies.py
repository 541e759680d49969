"""Study of strategies: what is trained, and on which reward, at one budget. The rows of MM-ReCoder's comparison at the scale of a laptop.

    full            8 whole dialogues compete, reward of the last turn (gamma 0, eta 0), all updates
    full_eta        the same, with 0.1 times the rise of the last turn over the first in the reward
    shared          one first turn a chart, 8 second turns compete, all updates
    shared_half     `shared` for the first half of the updates
    full_half       `full` for the second half, after `shared_half`

An arm samples 144 responses an update: 16 charts of 1 + 8 where the first turn is shared, 9 charts of 8 + 8 where it is not.

Data      charts of chart_world, difficulty 0
Command   START=runs/demo/corrections DATA=runs/demo/data launch/study.sh configs/study/strategies.py runs/strategies
One run   python -m recoder_jax.train --config=configs/study/strategies.py:full --workdir=RUN --config.init=START
"""

from recoder_jax.configuration import defaults

UPDATES = 16
STUDY = {"full": "full", "full_eta": "full_eta", "shared": "shared", "shared_then_full": "shared_half full_half"}  # arm: the trainings it consists of
VARIANTS = {"full": (1, UPDATES, 0.0), "full_eta": (1, UPDATES, 0.1), "shared": (2, UPDATES, 0.0),
        "shared_half": (2, UPDATES // 2, 0.0), "full_half": (1, UPDATES // 2, 0.0)}  # branch turn, updates, eta


def get_config(variant="full"):
    if variant not in VARIANTS:
        raise ValueError(f"there is no variant {variant!r}; choose {', '.join(VARIANTS)}")
    branch_turn, updates, eta = VARIANTS[variant]
    shared = branch_turn == 2
    config = defaults()
    config.name = variant
    config.kind = "rl"
    config.seed = 1
    config.steps = updates

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.rollout.turns = 2
    config.rollout.branch_turn = branch_turn
    config.rollout.group = 8  # the paper's G
    config.rollout.charts = 16 if shared else 9
    config.rollout.eta = eta

    config.batch.size = 16 if shared else 9
    config.batch.micro_batches = 2 if shared else 3
    config.batch.rows = 4 if shared else 6
    config.batch.row_tokens = 1088 if shared else 800
    config.batch.least_trained = 1024 if shared else 512
    config.batch.least_images = 16 if shared else 40
    config.batch.suffixes = 8 if shared else 2  # on a CPU attention over long rows costs more than the repeated prompt

    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 8
    config.checkpoint.keep = 1
    return config
