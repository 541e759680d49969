"""Study of reward parts: which one second turns compete on, after a shared first turn. One budget, that of `shared` in strategies.py.

    format      1 for the form of a response, and nothing else
    rule        texts, layout, chart types and colours of what was drawn
    visual      the image similarity of render and target, which stands in for the papers' judge
    mixed       0.1 format, 0.45 rule, 0.45 visual

What no part of a reward sees, training does not hold: docs/rewards.md has what each is blind to.

Data      charts of chart_world, difficulty 0
Command   START=tiny DATA=runs/demo/data EVALUATE=configs/tiny/evaluate.py launch/study.sh configs/study/rewards.py runs/rewards
"""

from pathlib import Path

from recoder_jax.configuration import read_file

PARTS = {"format": (0.0, 0.0), "rule": (1.0, 0.0), "visual": (0.0, 1.0), "mixed": (0.45, 0.45)}  # weights of rule and visual; format has the rest
STUDY = {name: name for name in PARTS}


def get_config(part="mixed"):
    if part not in PARTS:
        raise ValueError(f"there is no reward {part!r}; choose {', '.join(PARTS)}")
    config = read_file(f"{Path(__file__).with_name('strategies.py')}:shared")
    config.name = part
    config.reward.alpha, config.reward.similarity = PARTS[part]
    return config
