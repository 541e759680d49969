"""VinciCoder, visual reinforcement learning: renders are compared with their targets by DINOv2 (arXiv 2511.00391), charts in Python.

Starts from a supervised policy. The constants are those of the published scripts; the languages beside Python are not part of this file.

Paper     R = 0.9 * visual + 0.1 * language; tiles of 448 pixels, at most 12, and a thumbnail, DINOv2-large, (1 + cos) / 2; no render: 0.
          Qwen3-VL-8B, 42k examples of five languages, once; batch 256, G 8, learning rate 1e-6, clip 0.2 / 0.3, dual clip 3, token mean, KL off.
Ours      Qwen2.5-VL-7B, charts only, one update a batch as the paper, so that the clips change nothing until objective.updates is raised;
          responses up to 4096 tokens, images up to 1.0 Mpixel, mesh, row length. The advantage's deviation divides by G, the paper's by G - 1.
Blind     the published mapping gives a blank page most of the points, whatever the chart: advantages compare within a group, but a group in
          which renders are all poor learns from differences of hundredths. --config.visual.mapping=calibrated sends a blank page to 0.
Measured  not measured.
Data      chart2code_160k in data.dir, in the layout `prepare` writes; its builder is not part of this release.
Weights   facebook/dinov2-large in visual.weights, as Hugging Face stores it (config.json, model.safetensors). Without them `train` does not start.
Command   python -m recoder_jax.train --config=configs/vincicoder_virl.py --workdir=runs/7b/virl --config.init=runs/7b/sft
"""

from recoder_jax.configuration import defaults
from recoder_jax.hardware import adapted


def get_config(on: str = "v5p-128"):
    config = defaults()
    config.name = "7B ViRL"
    config.kind = "rl"
    config.steps = 42_000 // 256  # paper: 42k examples, seen once

    config.model.preset = "7b"
    config.model.dtype = "bfloat16"
    config.model.param_dtype = "float32"  # ours: updates of rate 1e-6 vanish in bfloat16
    config.model.remat = "blocks"
    config.tokenizer = "policies/7b/tokenizer"
    config.image.min_pixels = 4 * 28 * 28  # ours; the paper samples with 262,144 to 4,194,304 pixels
    config.image.max_pixels = 1280 * 28 * 28  # ours

    adapted(config, on)  # ours: machine, and with a comma another policy: v5e-256, 3b; recoder_jax/hardware.py
    config.data.name = "chart2code_160k"

    config.rollout.turns = 1
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # paper
    config.rollout.response_tokens = 4096  # ours; paper: 10,240
    config.rollout.feedback_tokens = 1536  # read in evaluation, where turns follow
    config.rollout.temperature = 1.0  # paper
    config.rollout.charts = 128
    config.rollout.chunk = 32

    config.batch.size = 256  # paper
    config.batch.row_tokens = 40960  # the prompt once and 8 responses
    config.batch.least_trained = 8192
    config.batch.least_images = config.batch.rows
    config.batch.least_windows = 88  # holds an image of 1.0 Mpixel up to 20 : 1
    config.batch.logit_chunk = 1024

    config.optimizer.learning_rate = 1e-6  # paper
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 0
    config.optimizer.weight_decay = 0.01  # paper
    config.optimizer.clip_norm = 1.0  # paper

    config.objective.aggregation = "token_mean"  # paper
    config.objective.clip_low = 0.2  # paper
    config.objective.clip_high = 0.3  # paper
    config.objective.clip_dual = 3.0  # paper
    config.objective.kl = 0.0  # paper

    config.reward.alpha = 0.0
    config.reward.visual = 0.9  # paper
    config.reward.language = 0.1  # paper
    config.visual.weights = "weights/dinov2-large"
    config.visual.model = "dinov2-large"  # paper
    config.visual.dtype = "bfloat16"  # paper
    config.visual.side = 448  # paper
    config.visual.tiles = 12  # paper
    config.visual.mapping = "half"  # paper

    config.sandbox.workers = 16
    config.sandbox.seconds = 10.0  # paper

    config.checkpoint.every = 50
    return config
