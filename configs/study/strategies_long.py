"""The strategies of strategies.py with 60 updates, each seed from a cold start of its own.

Sixteen updates show no gain, and two trainings of one cold start differ by 1.9 points (docs/findings.md, MSRL). So seed N of every arm here starts from
seed N of the cold start, and what an arm has over its start holds the chance of both.

    start                                       SFT and corrections of `make demo`, with the seed of the study
    full, full_eta, shared, shared_then_full    as in strategies.py; the combination has 30 updates of each

Measured  docs/findings.md, at 1e-4 and at 3e-4 (--config.optimizer.learning_rate=3e-4 behind copies of the starts), which spoils first turns.

Data      charts of chart_world and chart_world_corrections, difficulty 0
Command   START=random DATA=runs/demo/data EVALUATE=configs/tiny/evaluate.py launch/study.sh configs/study/strategies_long.py runs/strategies_long
"""

from pathlib import Path

from recoder_jax.configuration import read_file

UPDATES = 60
STEPS = {"full": UPDATES, "full_eta": UPDATES, "shared": UPDATES, "shared_half": UPDATES // 2, "full_half": UPDATES // 2}
FILES = {"sft": "../tiny/sft.py", "corrections": "../tiny/sft_corrections.py"} | {name: f"strategies.py:{name}" for name in STEPS}
STUDY = {"start": "sft corrections", "full": "start full", "full_eta": "start full_eta", "shared": "start shared", "shared_then_full": "start shared_half full_half"}


def get_config(variant="full"):
    if variant not in FILES:
        raise ValueError(f"there is no variant {variant!r}; choose {', '.join(FILES)}")
    config = read_file(str(Path(__file__).parent / FILES[variant]))
    config.name = variant
    if variant in STEPS:
        config.steps = STEPS[variant]
        config.optimizer.learning_rate = 1e-4
        config.checkpoint.every = 15
    return config
