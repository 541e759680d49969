"""Cold start of the tiny policy in another language: SFT from random weights on the charts of chart_world drawn as SVG documents.

The tokenizer is one of SVG documents, with which a response takes 53 tokens in the mean and 110 at most (200 charts of the test split).

Data      svg_world, 2,500 charts (python -m recoder_jax.prepare svg_world --out data --train 2500; needs pip install -e .[svg])
Command   python -m recoder_jax.train --config=configs/tiny/svg_sft.py --workdir=runs/svg_sft
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SVG SFT"
    config.kind = "sft"
    config.steps = 340

    config.model.unroll = 4
    config.tokenizer = "tiny_svg"

    config.data.name = "svg_world"
    config.data.language = "svg"

    config.batch.size = 32
    config.batch.rows = 32
    config.batch.row_tokens = 208

    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup = 50

    config.objective.aggregation = "token_mean"

    config.rollout.response_tokens = 112

    config.checkpoint.every = 120
    return config
