"""ChartMaster: GRPO on the similarity of charts, in attributes and in pictures (arXiv 2508.17608, ChartSimRL).

Starts from a supervised policy. Half of the reward is the Jaccard index of layout, colours, texts and values, half the cosine of ResNet-18
features, averaged over its stages.

Paper     Qwen2.5-VL-7B on ReChartPrompt-240K, then ChartSimRL: attribute similarity + visual similarity. How attributes are extracted, which
          blocks are averaged and how both are weighed is not documented.
Ours      equal weights; attributes from what the programs drew; cosines of the four stages' feature maps on the whole chart at 224 x 224; G 8,
          batch 128 and learning rate 1e-6 (those of MM-ReCoder), mesh, row length.
Blind     feature maps are compared place by place, so a shift costs more than a change of texture; charts on white share much of them.
Measured  not measured.
Data      chart2code_160k in data.dir, in the layout `prepare` writes, in place of ReChartPrompt-240K; no builder is part of this release.
Weights   ResNet-18 of ImageNet as safetensors under torchvision's names in visual.weights. Without them `train` does not start.
Command   python -m recoder_jax.train --config=configs/chartmaster.py --workdir=runs/7b/chartmaster --config.init=runs/7b/sft
"""

from recoder_jax.configuration import defaults
from recoder_jax.hardware import adapted


def get_config(on: str = "v5p-128"):
    config = defaults()
    config.name = "7B ChartMaster"
    config.kind = "rl"
    config.steps = 20_000 // 128  # ours

    config.model.preset = "7b"  # paper
    config.model.dtype = "bfloat16"
    config.model.param_dtype = "float32"  # ours: updates of rate 1e-6 vanish in bfloat16
    config.model.remat = "blocks"
    config.tokenizer = "policies/7b/tokenizer"
    config.image.min_pixels = 4 * 28 * 28  # ours
    config.image.max_pixels = 1280 * 28 * 28  # ours

    adapted(config, on)  # ours: machine, and with a comma another policy: v5e-256, 3b; recoder_jax/hardware.py

    config.data.name = "chart2code_160k"

    config.rollout.turns = 1  # paper: the policy answers once
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # ours
    config.rollout.response_tokens = 4096  # ours
    config.rollout.feedback_tokens = 1536  # read in evaluation, where turns follow
    config.rollout.temperature = 1.0  # ours
    config.rollout.charts = 128
    config.rollout.chunk = 32

    config.batch.size = 128  # ours
    config.batch.row_tokens = 40960  # the prompt once and 8 responses
    config.batch.least_trained = 8192
    config.batch.least_images = config.batch.rows
    config.batch.least_windows = 88  # holds an image of 1.0 Mpixel up to 20 : 1
    config.batch.logit_chunk = 1024

    config.optimizer.learning_rate = 1e-6  # ours
    config.optimizer.schedule = "constant"  # ours
    config.optimizer.warmup = 10
    config.optimizer.weight_decay = 0.0

    config.objective.aggregation = "sequence_mean"  # ours

    config.reward.alpha = 0.0
    config.reward.attributes = 0.5  # ours: equal weights
    config.reward.visual = 0.5
    config.visual.weights = "weights/resnet18"
    config.visual.model = "resnet18"  # paper
    config.visual.side = 224  # ours: the size it was trained with
    config.visual.tiles = 1
    config.visual.mapping = "cosine"  # paper

    config.sandbox.workers = 16
    config.sandbox.seconds = 30.0

    config.checkpoint.every = 50
    return config
