"""Study of MSRL (arXiv 2508.13587): where SFT stops to gain from more data, and what RL adds from there. One turn.

    sft_310, sft_620, sft_1250, sft_2500    cold starts on so many charts, 340 updates each; START=random
    two_stage       16 updates on textual rewards, then 8 on textual and visual ones
    single_stage    24 updates on both
    ramp            24 updates, the visual weight rising over the first 12

The arms of RL are those of configs/tiny/msrl_*.py, 128 responses an update, and take the seed of the study in place of their own.

Data      charts of chart_world, difficulty 0; RL takes those whose data are flat
Command   START=random DATA=runs/demo/data ARMS="sft_310 sft_620 sft_1250 sft_2500" EVALUATE=configs/study/evaluate.py:1 \\
              launch/study.sh configs/study/msrl.py runs/msrl
          START=runs/demo/sft DATA=runs/demo/data ARMS="two_stage single_stage ramp" EVALUATE=configs/study/evaluate.py:1 \\
              launch/study.sh configs/study/msrl.py runs/msrl
"""

from pathlib import Path

from recoder_jax.configuration import read_file

AMOUNTS = {f"sft_{count}": count for count in (310, 620, 1250, 2500)}  # charts
FILES = {"textual": "msrl_stage1.py", "both": "msrl_stage2.py", "single": "msrl_single_stage.py", "ramp": "msrl_ramp.py"}
STUDY = {name: name for name in AMOUNTS} | {"two_stage": "textual both", "single_stage": "single", "ramp": "ramp"}


def get_config(variant="textual"):
    if variant not in AMOUNTS | FILES:
        raise ValueError(f"there is no variant {variant!r}; choose {', '.join([*AMOUNTS, *FILES])}")
    config = read_file(str(Path(__file__).parents[1] / "tiny" / FILES.get(variant, "sft.py")))
    if variant in AMOUNTS:
        config.name = variant
        config.data.split = f"train[:{AMOUNTS[variant]}]"
    return config
