"""Study of VinciCoder (arXiv 2511.00391) on SVG: visual RL behind a cold start with refinement data, and behind one without.

    start           the cold start of configs/tiny/svg_sft.py, with the seed of the study
    plain_sft       200 more updates of SFT on charts of one turn
    refined_sft     200 on as many charts, every second one a refinement: a flawed document, its render, the golden document
    plain, refined  and 60 updates of visual RL behind each, one turn, 64 responses an update: configs/tiny/svg_virl.py at rate 1e-4

All arms are evaluated over two turns, of which visual RL trains the first.

Data      svg_world and svg_world_corrections, difficulty 0 (docs/languages.md has the commands; needs pip install -e .[svg])
Command   START=random DATA=data EVALUATE=configs/tiny/svg_evaluate.py launch/study.sh configs/study/vincicoder.py runs/vincicoder
"""

from pathlib import Path

from recoder_jax.configuration import read_file

FILES = {"cold": "svg_sft.py", "charts": "svg_corrections.py", "refinements": "svg_corrections.py", "visual": "svg_virl.py"}
STUDY = {"start": "cold", "plain_sft": "start charts", "refined_sft": "start refinements", "plain": "plain_sft visual", "refined": "refined_sft visual"}


def get_config(variant="refinements"):
    if variant not in FILES:
        raise ValueError(f"there is no variant {variant!r}; choose {', '.join(FILES)}")
    config = read_file(str(Path(__file__).parents[1] / "tiny" / FILES[variant]))
    config.name = variant
    if variant == "charts":
        config.data.name, config.data.mixed_with = "svg_world", ""
        config.batch.rows = 10  # two dialogues a row
    if variant == "visual":
        config.steps = 60
        config.optimizer.learning_rate = 1e-4  # served 60 updates of the strategies better than 3e-4 (docs/findings.md)
        config.checkpoint.every = 15
    return config
