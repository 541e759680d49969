"""Machines by name, and what of a config follows from machine and policy: `--config=configs/sft.py:v5e-256,7b`.

A TPU's name has the number of its cores for v5p (two a chip) and of its chips for v5e, as Google's product names do. The meshes are those
of docs/plans.md, where the compiler says that they fit.
"""

import dataclasses

import ml_collections


# Least size of the tensor axis that leaves room for the sampler's copy of the weights, 2 bytes each: a chip of v5e has 16 GB, 15 of which
# the 7B weights would take. No more than the key/value heads, 2, 4 and 8, nor than the devices of a host: 4 of a TPU's.
SPLIT = {"cpu": {"3b": 1, "7b": 1}, "v5e": {"3b": 1, "7b": 4}, "v5p": {"3b": 1, "7b": 1, "72b": 4}, "gpu": {"3b": 1, "7b": 1, "72b": 8}}
LEAST = {"72b": 16}  # devices: beside the copy lie weights, gradients and moments, at least 8 bytes a weight


@dataclasses.dataclass(frozen=True)
class Machine:
    """kind: of its devices, a key of SPLIT. devices: how many jax devices it has."""

    kind: str
    devices: int


MACHINES = {
    "cpu": Machine("cpu", 1), "gpu": Machine("gpu", 1), "gpu-8": Machine("gpu", 8),
    "v5e-16": Machine("v5e", 16), "v5e-64": Machine("v5e", 64), "v5e-256": Machine("v5e", 256),
    "v5p-8": Machine("v5p", 4), "v5p-32": Machine("v5p", 16), "v5p-64": Machine("v5p", 32), "v5p-128": Machine("v5p", 64),
    "v5p-256": Machine("v5p", 128),
}
POLICIES = ("3b", "7b", "72b")


def adapted(config: ml_collections.ConfigDict, words: str) -> ml_collections.ConfigDict:
    """The config for the machine and policy that `words` name, separated by commas: the policy's preset and tokenizer, the mesh, and a
    row of the batch and a lane of rollouts for every device on the batch axes. What is not named stays as it is.

    Raises ValueError for a word that names neither, and for a policy that the machine cannot hold.
    """
    named = [word.strip() for word in words.split(",") if word.strip()]
    strange = [word for word in named if word not in MACHINES and word not in POLICIES]
    if strange:
        raise ValueError(f"{strange[0]!r} is no machine and no policy; choose among {', '.join((*MACHINES, *POLICIES))}")
    for policy in (word for word in named if word in POLICIES):
        config.model.preset = policy
        config.tokenizer = f"policies/{policy}/tokenizer"
    for name in (word for word in named if word in MACHINES):
        machine, policy = MACHINES[name], config.model.preset
        tensor = SPLIT[machine.kind].get(policy, 0)
        if not tensor or machine.devices < max(tensor, LEAST.get(policy, 1)):
            raise ValueError(f"{name} cannot hold the sampler's copy of a policy of size {policy} beside its training; choose a larger machine")
        config.mesh.data, config.mesh.fsdp, config.mesh.tensor, config.mesh.sequence = 1, machine.devices // tensor, tensor, 1
        config.batch.rows = config.rollout.lanes = config.mesh.fsdp
    return config
