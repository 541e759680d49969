"""Second part of the cold start on SVG documents: a flawed document, its render or error, the golden one; and as many one-turn dialogues.

Data      svg_world_corrections (python -m recoder_jax.prepare svg_world_corrections --out data --train 700; needs pip install -e .[svg])
Command   python -m recoder_jax.train --config=configs/tiny/svg_corrections.py --workdir=runs/svg_corrections --config.init=runs/svg_sft
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.name = "SVG SFT + corrections"
    config.kind = "sft"
    config.steps = 200

    config.model.unroll = 4
    config.tokenizer = "tiny_svg"

    config.data.name = "svg_world_corrections"
    config.data.language = "svg"
    config.data.mixed_with = "svg_world:train[:700]"
    config.data.trained_turns = "last"

    config.batch.size = 20
    config.batch.rows = 16
    config.batch.row_tokens = 400

    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 15

    config.objective.aggregation = "token_mean"

    config.rollout.response_tokens = 112

    config.checkpoint.every = 100
    return config
