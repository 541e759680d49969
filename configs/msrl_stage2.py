"""MSRL, stage 2: textual and visual rewards (arXiv 2508.13587).

Goes on from stage 1 on other charts. The weights are the paper's divided by their sum, 1.5: advantages are divided by the
standard deviation of their group, so a common factor changes nothing. R_text of the paper contains whether the program runs, and
so does ours (0 without a figure).

Paper     R = 0.5 * R_text + 0.5 * R_vis + 0.5 * R_exec, 11k charts; R_vis is Qwen2.5-VL-72B on six items; no render: 0. After both stages,
          on ChartMimic: executed 96.5, low-level 78.6, high-level 83.8 (the paper's numbers; after SFT 93.2, 73.0, 77.6).
Ours      G 8, batch 128 and learning rate 1e-6 (those of MM-ReCoder), temperature 1, equal weights within the textual reward, data
          values compared in their order, the charts (the paper's 33k come from its own corpus of arXiv tables), mesh, row length.
Measured  not measured.
Data      python -m recoder_jax.prepare chart2code_160k --source=DOWNLOADED --verify=fixed --out=data (docs/evaluation.md). Kept are charts whose
          data are one-dimensional arrays or flat dictionaries (data.keep).
Judge     an OpenAI-compatible server with Qwen2.5-VL-72B: --config.judge.base_url=http://HOST:8000/v1
Command   python -m recoder_jax.train --config=configs/msrl_stage2.py --workdir=runs/7b/msrl_stage2 --config.init=runs/7b/msrl_stage1 \\
          --config.judge.base_url=http://HOST:8000/v1
"""

from recoder_jax.configuration import defaults
from recoder_jax.hardware import adapted


def get_config(on: str = "v5p-128"):
    config = defaults()
    config.name = "7B MSRL stage 2"
    config.kind = "rl"
    config.seed = 1  # other samples than stage 1
    config.steps = 11_000 // 128  # paper: 11k charts, seen once

    config.model.preset = "7b"
    config.model.dtype = "bfloat16"
    config.model.param_dtype = "float32"  # ours: updates of rate 1e-6 vanish in bfloat16
    config.model.remat = "blocks"
    config.tokenizer = "policies/7b/tokenizer"
    config.image.min_pixels = 4 * 28 * 28  # ours; the paper samples with 1280 * 28 * 28 to 16384 * 28 * 28
    config.image.max_pixels = 1280 * 28 * 28  # ours

    adapted(config, on)  # ours: machine, and with a comma another policy: v5e-256, 3b; recoder_jax/hardware.py

    config.data.name = "chart2code_160k"
    config.data.split = "train[67%:]"  # the charts that stage 1 left
    config.data.keep = "flat"  # paper: one-dimensional arrays and non-nested dictionaries

    config.rollout.turns = 1  # paper: the policy answers once
    config.rollout.branch_turn = 1
    config.rollout.group = 8  # ours
    config.rollout.response_tokens = 4096  # paper
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
    config.reward.textual = 0.5 / 1.5  # paper: 0.5 / 0.5 / 0.5, divided by their sum
    config.reward.beta = 0.5 / 1.5
    config.reward.executed = 0.5 / 1.5
    config.judge.model = "Qwen/Qwen2.5-VL-72B-Instruct"  # paper

    config.sandbox.workers = 16
    config.sandbox.seconds = 30.0

    config.checkpoint.every = 50
    return config
