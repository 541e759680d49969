"""Study beyond the papers' tables: one thing changed in `shared` of strategies.py, near its budget of 16 updates on 144 responses.

    group_4         groups of 4: 28 charts of 1 + 4, 140 responses an update
    group_16        groups of 16: 8 charts of 1 + 16, 136 responses
    branch_each     half of the charts branch at turn 1, half at turn 2: 12 charts, 150 responses in the mean
    clipped         two updates on each batch, ratios clipped to 0.8 and 1.28 (DAPO)
    kl              KL to the start, weight 0.01
    three_turns     second and third turns compete for the reward of the third: 8 charts of 1 + 16, 136 responses
    difference      feedback shows where render and target differ: 60 updates of SFT on such dialogues, then RL
    score           SCoRe (configs/tiny/score_stage1.py, score_stage2.py): 8 updates of each, 144 responses

The control is `shared` of strategies.py, and `full` there is the arm whose trajectories compete from turn 1. The cold start with rare tokens is compared before RL, by its first turn:

    rare, plain     310 updates with objective.rare 0.5, and without

Data      charts of chart_world and chart_world_corrections, difficulty 0
Command   START=tiny DATA=runs/demo/data EVALUATE=configs/tiny/evaluate.py ARMS="group_4 group_16 kl clipped branch_each three_turns difference score" \\
              launch/study.sh configs/study/beyond.py runs/beyond
          START=random DATA=runs/demo/data ARMS="rare plain" EVALUATE=configs/study/evaluate.py:1 launch/study.sh configs/study/beyond.py runs/beyond
"""

from pathlib import Path

from recoder_jax.configuration import read_file

HERE = Path(__file__).parent
SHARED = {  # what an arm changes in `shared`; batch.size and rollout.charts are the charts of an update
    "group_4": {"rollout.group": 4, "batch.size": 28, "rollout.charts": 28, "batch.rows": 7, "batch.micro_batches": 4, "batch.row_tokens": 704},
    "group_16": {"rollout.group": 16, "batch.size": 8, "rollout.charts": 8},
    "branch_each": {"rollout.branching": "each", "rollout.branch_turn": 1, "batch.size": 12, "rollout.charts": 12, "batch.suffixes": 2,
            "batch.rows": 6, "batch.row_tokens": 800, "batch.micro_batches": 6, "batch.least_trained": 512, "batch.least_images": 40},
    "clipped": {"objective.updates": 2, "objective.clip_high": 0.28},
    "kl": {"objective.kl": 0.01},
    "three_turns": {"rollout.turns": 3, "rollout.group": 8, "batch.size": 8, "rollout.charts": 8, "batch.rows": 4, "batch.micro_batches": 4,
            "batch.row_tokens": 1280, "batch.suffixes": 4, "batch.least_images": 32},
}
FILES = {"difference_sft": "../beyond/difference_feedback.py:corrections", "difference_rl": "../beyond/difference_feedback.py:rl",
        "score_1": "../tiny/score_stage1.py", "score_2": "../tiny/score_stage2.py", "rare": "../beyond/rare_tokens.py", "plain": "../tiny/sft.py"}
CHANGES = {"difference_sft": {"steps": 60}, "difference_rl": {"steps": 16}, "score_1": {"steps": 8, "batch.size": 9, "rollout.charts": 9},
        "score_2": {"steps": 8, "batch.size": 9, "rollout.charts": 9}, "rare": {"steps": 310}, "plain": {"steps": 310}}
STUDY = {name: name for name in (*SHARED, "rare", "plain")} | {"difference": "difference_sft difference_rl", "score": "score_1 score_2"}


def get_config(variant="kl"):
    if variant not in SHARED | FILES:
        raise ValueError(f"there is no variant {variant!r}; choose {', '.join([*SHARED, *FILES])}")
    config = read_file(str(HERE / FILES.get(variant, "strategies.py:shared")))
    config.name = variant
    config.update_from_flattened_dict(SHARED.get(variant, {}) | CHANGES.get(variant, {}))
    return config
