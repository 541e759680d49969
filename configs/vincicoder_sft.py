"""VinciCoder, SFT (arXiv 2511.00391): generation and visual refinement mixed, in several languages, one turn and two turns. Qwen2.5-VL-7B here.

Paper     1.6 million pairs: charts, web pages, SVG, LaTeX, chemistry, and refinement of a flawed program after its render. Qwen3-VL-8B there.
Ours      the policy, the sets that stand for its corpus (python and SVG), rate, batch, row length, mesh and optimizer, of which we know no
          published numbers. A refinement is a dialogue of two turns whose second carries the loss; each set brings its language, and with it
          the request and the fence.
Measured  not measured.
Data      vincicoder_charts, vincicoder_svg and their _refinement sets in data.dir, in the layout `prepare` writes; their builders are not
          part of this release.
Weights   python -m recoder_jax.convert import Qwen2.5-VL-7B-Instruct policies/7b
Command   python -m recoder_jax.train --config=configs/vincicoder_sft.py --workdir=runs/7b/vincicoder_sft --config.init=policies/7b
"""

from recoder_jax.configuration import defaults
from recoder_jax.hardware import adapted

MIXED = ("vincicoder_charts_refinement:train", "vincicoder_svg:train", "vincicoder_svg_refinement:train")


def get_config(on: str = "v5p-128"):
    config = defaults()
    config.name = "7B VinciCoder SFT"
    config.kind = "sft"
    config.steps = 1_600_000 // 128  # paper: 1.6 million pairs; ours: one epoch of them, batch 128

    config.model.preset = "7b"
    config.model.dtype = "bfloat16"
    config.model.param_dtype = "float32"
    config.model.remat = "blocks"
    config.tokenizer = "policies/7b/tokenizer"
    config.image.min_pixels = 4 * 28 * 28
    config.image.max_pixels = 1280 * 28 * 28

    adapted(config, on)  # ours: machine, and with a comma another policy: v5e-256, 3b; recoder_jax/hardware.py

    config.data.name = "vincicoder_charts"
    config.data.language = "python"  # of the first set; `correct` asks in it unless told otherwise
    config.data.mixed_with = ",".join(MIXED)
    config.data.trained_turns = "last"  # a refinement begins with a flawed program

    config.batch.size = 128
    config.batch.row_tokens = 8192  # ours: two programs, two images
    config.batch.least_trained = 2048
    config.batch.least_images = 2 * config.batch.rows
    config.batch.least_windows = 88  # holds an image of 1.0 Mpixel up to 20 : 1
    config.batch.logit_chunk = 1024

    config.optimizer.learning_rate = 1e-5
    config.optimizer.warmup = 40
    config.optimizer.weight_decay = 0.0

    config.objective.aggregation = "token_mean"

    config.rollout.response_tokens = 4096
    config.rollout.feedback_tokens = 1536

    config.checkpoint.every = 500
    return config
