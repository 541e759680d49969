"""SCoRe stage I (arXiv 2409.12917, section 5.1), the baseline that MM-ReCoder builds on: the reward of turn 2, both turns trained, and KL
that holds the first turn where it was.

Paper     reward of turn 2 alone; KL to the initial policy on turn 1, and a smaller one on everything; REINFORCE.
Ours      the weights of KL (the paper tunes them by task), its estimator, leave-one-out baseline over a group of 8, the size of everything.
Data      charts of chart_world, difficulty 0
Command   python -m recoder_jax.train --config=configs/tiny/score_stage1.py --workdir=runs/score1 --config.init=runs/corrections
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SCoRe stage I"
    config.kind = "rl"
    config.seed = 2  # other charts and samples than the other stages
    config.steps = 14

    config.model.unroll = 4

    config.data.name = "chart_world"

    config.rollout.turns = 2
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # the paper's G
    config.rollout.charts = 8

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
    config.objective.kl_first_turn = 0.1  # ours
    config.objective.kl_estimator = "k2"  # ours: its gradient in the loss is that of KL

    config.reward.alpha = 0.9  # no judge on a laptop: format 0.1, rule 0.9
    config.reward.beta = 0.0

    config.checkpoint.every = 7
    return config
