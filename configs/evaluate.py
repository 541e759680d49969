"""Evaluation of a 7B run: four turns over real charts (matplotlib's gallery), near-greedy.

Paper     up to 4 turns over ChartMimic, Plot2Code and ChartX (--config.evaluation.data=chartmimic, once it is prepared: docs/evaluation.md).
Ours      temperature 0.1, as ChartCoder and MSRL sample.
Measured  not measured.
Data      python -m recoder_jax.prepare mpl_gallery --source=download --out=data
Command   python -m recoder_jax.evaluate --config=configs/evaluate.py --workdir=runs/7b/stage2
"""

from recoder_jax.configuration import defaults


def get_config():
    config = defaults()
    config.mesh.fsdp = -1
    config.batch.least_windows = 88
    config.rollout.response_tokens = 4096
    config.rollout.feedback_tokens = 1536
    config.rollout.chunk = 32
    config.evaluation.data = "mpl_gallery"
    config.evaluation.split = "test"
    config.evaluation.charts = 100
    config.evaluation.turns = 4
    config.evaluation.temperature = 0.1
    config.evaluation.batch = 32
    config.sandbox.workers = 16
    config.sandbox.seconds = 30.0
    return config
