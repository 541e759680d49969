"""A config is adapted to a machine and a policy by name, and what does not go together is refused before anything is compiled."""

import math

import pytest
from flax import nnx

from recoder_jax.configuration import load
from recoder_jax.hardware import LEAST, MACHINES, POLICIES, SPLIT
from recoder_jax.models import weights
from recoder_jax.models.qwen2_5_vl.config import preset
from recoder_jax.models.qwen2_5_vl.model import abstract_model
from recoder_jax.sharding import SAMPLING, TABLE, mesh_axes

JUDGE = "--config.judge.base_url=http://judge/v1"
FILES = (
    "sft", "sft_corrections", "stage1_shared_first_turn", "stage2_full_trajectory",
    "msrl_stage1", "msrl_stage2", "msrl_single_stage", "msrl_ramp", "vincicoder_virl", "chartmaster",
)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("file", FILES)
def test_the_mesh_of_a_config_covers_every_machine(file, machine):
    config = load(f"configs/{file}.py:{machine}", [JUDGE])
    mesh = config.mesh
    assert mesh.data * mesh.fsdp * mesh.tensor * mesh.sequence == MACHINES[machine].devices
    assert config.batch.rows == mesh.data * mesh.fsdp
    assert config.batch.least_images % config.batch.rows == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_every_machine_splits_every_weight_of_every_policy(policy):
    """Training's table and the sampler's."""
    rows = [(leaf.get_value().shape, row) for leaf, row in weights.rows(nnx.state(abstract_model(preset(policy))))]
    for name, machine in MACHINES.items():
        if policy not in SPLIT[machine.kind] or machine.devices < max(SPLIT[machine.kind][policy], LEAST.get(policy, 1)):
            continue
        mesh = load(f"configs/sft.py:{name},{policy}").mesh
        for shape, row in rows:
            for table in (TABLE, SAMPLING):
                for size, axes in zip(shape, mesh_axes(row.axes, table), strict=True):
                    assert size % math.prod(mesh[axis] for axis in axes or ()) == 0, (name, row.name)


def test_a_word_that_names_nothing_is_refused():
    with pytest.raises(ValueError, match="'v4-8' is no machine and no policy; choose among cpu, gpu, gpu-8"):
        load("configs/sft.py:v4-8")


@pytest.mark.parametrize("machine", ["gpu", "v5p-8", "v5e-256"])
def test_a_policy_that_a_machine_cannot_hold_is_refused(machine):
    with pytest.raises(ValueError, match=f"{machine} cannot hold the sampler's copy of a policy of size 72b"):
        load(f"configs/sft.py:{machine},72b")


def test_a_config_that_takes_no_machine_says_so():
    with pytest.raises(ValueError, match="takes no argument"):
        load("configs/tiny/sft.py:v5e-16")
