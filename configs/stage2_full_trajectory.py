"""MM-ReCoder, RL stage 2, full trajectory (arXiv 2604.01600).

8 whole dialogues a chart compete; the gradient is on both turns, with one reward, that of the last turn.

Paper     G 8, batch 128, learning rate 1e-6, one epoch, responses of at most 4,096 tokens; no clip and no KL in the
          objective as printed; gamma = eta = 0; reward of format, rule (ChartMimic low-level) and a Qwen2.5-VL-72B judge.
Ours      alpha = beta = 0.45 (not published), number of charts, temperature 1, mesh, row length.
Measured  not measured.
Data      python -m recoder_jax.prepare chart2code_160k --source=DOWNLOADED --verify=fixed --out=data (docs/evaluation.md).
Judge     an OpenAI-compatible server with Qwen2.5-VL-72B: --config.judge.base_url=http://HOST:8000/v1
Command   python -m recoder_jax.train --config=configs/stage2_full_trajectory.py --workdir=runs/7b/stage2 --config.init=runs/7b/stage1 \\
          --config.judge.base_url=http://HOST:8000/v1
"""

from recoder_jax.configuration import defaults
from recoder_jax.hardware import adapted


def get_config(on: str = "v5p-128"):
    config = defaults()
    config.name = "7B RL stage 2"
    config.kind = "rl"
    config.steps = 160_000 // 128  # paper: one epoch; the number of charts is ours

    config.model.preset = "7b"
    config.model.dtype = "bfloat16"
    config.model.param_dtype = "float32"  # ours: updates of rate 1e-6 vanish in bfloat16
    config.model.remat = "blocks"
    config.tokenizer = "policies/7b/tokenizer"
    config.image.min_pixels = 4 * 28 * 28
    config.image.max_pixels = 1280 * 28 * 28

    adapted(config, on)  # ours: machine, and with a comma another policy: v5e-256, 3b; recoder_jax/hardware.py

    config.data.name = "chart2code_160k"

    config.rollout.turns = 2  # paper
    config.rollout.branch_turn = 1  # paper: both turns are sampled 8 times and trained
    config.rollout.group = 8  # paper
    config.rollout.response_tokens = 4096  # paper
    config.rollout.feedback_tokens = 1536
    config.rollout.temperature = 1.0  # ours
    config.rollout.charts = 128
    config.rollout.chunk = 32
    config.rollout.gamma = 0.0  # paper
    config.rollout.eta = 0.0  # paper

    config.batch.size = 128  # paper
    config.batch.row_tokens = 40960  # the prompt and four suffixes of two turns
    config.batch.least_trained = 8192
    config.batch.least_images = 5 * config.batch.rows
    config.batch.least_windows = 88  # holds an image of 1.0 Mpixel up to 20 : 1
    config.batch.suffixes = 4
    config.batch.logit_chunk = 1024

    config.optimizer.learning_rate = 1e-6  # paper
    config.optimizer.schedule = "constant"  # ours
    config.optimizer.warmup = 10
    config.optimizer.weight_decay = 0.0

    config.objective.aggregation = "sequence_mean"  # ours: the paper prints the sum over tokens
    config.objective.updates = 1  # paper: on-policy

    config.reward.alpha = 0.45  # ours
    config.reward.beta = 0.45  # ours
    config.judge.model = "Qwen/Qwen2.5-VL-72B-Instruct"  # paper

    config.sandbox.workers = 16
    config.sandbox.seconds = 30.0

    config.checkpoint.every = 50
    return config
