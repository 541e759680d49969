"""MM-ReCoder, cold start 1 (arXiv 2604.01600): Qwen2.5-VL-7B, SFT on Chart2Code-160k, one epoch.

Paper     1 epoch, batch 128, learning rate 1e-5. Hardware there: 16 x 8 H200 for all stages.
Ours      row length, mesh, schedule and optimizer details, which the paper does not print.
Measured  not measured.
Data      python -m recoder_jax.prepare chart2code_160k --source=DOWNLOADED --verify=fixed --out=data (docs/evaluation.md).
Weights   python -m recoder_jax.convert import Qwen2.5-VL-7B-Instruct policies/7b
Command   python -m recoder_jax.train --config=configs/sft.py --workdir=runs/7b/sft --config.init=policies/7b
"""

from recoder_jax.configuration import defaults
from recoder_jax.hardware import adapted


def get_config(on: str = "v5p-128"):
    config = defaults()
    config.name = "7B SFT"
    config.kind = "sft"
    config.steps = 160_000 // 128  # paper: one epoch of 160k charts, batch 128

    config.model.preset = "7b"
    config.model.dtype = "bfloat16"
    config.model.param_dtype = "float32"  # ours: bfloat16 parameters lose updates of this size
    config.model.remat = "blocks"
    config.tokenizer = "policies/7b/tokenizer"
    config.image.min_pixels = 4 * 28 * 28  # ours
    config.image.max_pixels = 1280 * 28 * 28  # ours: about 1.0 Mpixel

    adapted(config, on)  # ours: machine, and with a comma another policy: v5e-256, 3b; recoder_jax/hardware.py

    config.data.name = "chart2code_160k"

    config.batch.size = 128  # paper
    config.batch.row_tokens = 4096
    config.batch.least_trained = 2048
    config.batch.least_images = config.batch.rows
    config.batch.least_windows = 88  # holds an image of 1.0 Mpixel up to 20 : 1
    config.batch.logit_chunk = 1024

    config.optimizer.learning_rate = 1e-5  # paper
    config.optimizer.warmup = 40  # ours, 3 %
    config.optimizer.weight_decay = 0.0  # ours

    config.objective.aggregation = "token_mean"

    config.rollout.response_tokens = 4096  # paper
    config.rollout.feedback_tokens = 1536  # ours: a render of 1.0 Mpixel and the request

    config.checkpoint.every = 250
    return config
