"""MM-ReCoder, cold start 2 (arXiv 2604.01600): SFT on two-turn corrections, two epochs.

Paper     about 7k dialogues of Qwen3-VL-235B whose low-level score rises by more than 0.02; 2 epochs, batch 128, rate 1e-5.
Ours      which turns carry loss (the second), and what `configs/sft.py` labels as ours.
Measured  not measured.
Data      python -m recoder_jax.build_corrections (docs/evaluation.md), which writes chart2code_corrections.
Command   python -m recoder_jax.train --config=configs/sft_corrections.py --workdir=runs/7b/corrections --config.init=runs/7b/sft
"""

from recoder_jax.configuration import defaults
from recoder_jax.hardware import adapted


def get_config(on: str = "v5p-128"):
    config = defaults()
    config.name = "7B SFT + corrections"
    config.kind = "sft"
    config.steps = 2 * 7_000 // 128  # paper: two epochs of about 7k dialogues

    config.model.preset = "7b"
    config.model.dtype = "bfloat16"
    config.model.param_dtype = "float32"
    config.model.remat = "blocks"
    config.tokenizer = "policies/7b/tokenizer"
    config.image.min_pixels = 4 * 28 * 28
    config.image.max_pixels = 1280 * 28 * 28

    adapted(config, on)  # ours: machine, and with a comma another policy: v5e-256, 3b; recoder_jax/hardware.py

    config.data.name = "chart2code_corrections"
    config.data.trained_turns = "last"  # ours: first turns are flawed on purpose

    config.batch.size = 128  # paper
    config.batch.row_tokens = 8192
    config.batch.least_trained = 2048
    config.batch.least_images = 2 * config.batch.rows
    config.batch.least_windows = 88  # holds an image of 1.0 Mpixel up to 20 : 1
    config.batch.logit_chunk = 1024

    config.optimizer.learning_rate = 1e-5  # paper
    config.optimizer.warmup = 5
    config.optimizer.weight_decay = 0.0

    config.objective.aggregation = "token_mean"

    config.rollout.response_tokens = 4096  # paper
    config.rollout.feedback_tokens = 1536

    config.checkpoint.every = 50
    return config
