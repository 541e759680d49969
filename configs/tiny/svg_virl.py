"""VinciCoder's visual RL on a desk (arXiv 2511.00391): one turn of SVG documents, with the image similarity in the place of DINOv2.

Paper     R = 0.9 * visual + 0.1 * language; batch of the rollout, G 8, clip 0.2 / 0.3, dual clip 3, token mean, KL off, weight decay 0.01.
Ours      tiny policy, 8 charts a step, learning rate 1.5e-4; the similarity needs no pretrained weights (configs/vincicoder_virl.py has DINOv2).
Measured  16 steps change low-level (image similarity) of turn 1 by +2.0 points on 200 charts (-1.4 to +5.6): no gain beyond chance (docs/languages.md).

Data      charts of svg_world (needs pip install -e .[svg])
Command   python -m recoder_jax.train --config=configs/tiny/svg_virl.py --workdir=runs/svg_virl --config.init=runs/svg_sft
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SVG ViRL"
    config.kind = "rl"
    config.seed = 3  # other charts and samples than the other stages
    config.steps = 16

    config.model.unroll = 4
    config.tokenizer = "tiny_svg"

    config.data.name = "svg_world"
    config.data.language = "svg"

    config.rollout.turns = 1
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # paper
    config.rollout.charts = 8
    config.rollout.response_tokens = 112

    config.batch.size = 8
    config.batch.micro_batches = 2
    config.batch.rows = 8
    config.batch.row_tokens = 544
    config.batch.least_trained = 512
    config.batch.least_images = 8
    config.batch.suffixes = 4

    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 2
    config.optimizer.weight_decay = 0.01  # paper

    config.objective.aggregation = "token_mean"  # paper
    config.objective.clip_low = 0.2  # paper
    config.objective.clip_high = 0.3  # paper
    config.objective.clip_dual = 3.0  # paper
    config.objective.kl = 0.0  # paper

    config.reward.alpha = 0.0
    config.reward.similarity = 0.9  # paper: of DINOv2
    config.reward.language = 0.1  # paper

    config.checkpoint.every = 8
    return config
