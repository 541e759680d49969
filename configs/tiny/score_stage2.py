"""SCoRe stage II (arXiv 2409.12917, section 5.2): the rewards of both turns and a bonus for the change between them, alpha * (R(o_2) - R(o_1)).

Paper     reward of both turns; the bonus with its sign, so that a turn 2 that is worse than turn 1 is punished; KL to the initial policy.
Ours      alpha 1 (the paper's rewards are 0 or 1, ours lie between), the weight of KL (the paper tunes them by task), its estimator, leave-one-out baseline over a group of 8, the size of everything.
Data      charts of chart_world, difficulty 0
Command   python -m recoder_jax.train --config=configs/tiny/score_stage2.py --workdir=runs/score2 --config.init=runs/score1
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SCoRe stage II"
    config.kind = "rl"
    config.seed = 3  # other charts and samples than the other stages
    config.steps = 14

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.rollout.turns = 2
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # the paper's G
    config.rollout.charts = 8
    config.rollout.gamma = 1.0  # paper
    config.rollout.eta = 1.0  # ours
    config.rollout.bonus = "change"  # paper

    config.batch.size = 8
    config.batch.micro_batches = 2
    config.batch.rows = 8
    config.batch.row_tokens = 800
    config.batch.least_trained = 512
    config.batch.least_images = 40
    config.batch.suffixes = 2  # on a CPU attention over long rows costs more than the repeated prompt

    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2

    config.objective.baseline = "leave_one_out"
    config.objective.normalize_std = False  # paper: REINFORCE
    config.objective.kl = 0.01  # ours
    config.objective.kl_estimator = "k2"  # ours: its gradient in the loss is that of KL

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 7
    return config
