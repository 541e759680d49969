"""The same update of RL as it is made without trees: every response stands behind a copy of its prompt, shared turns and images.

    packed    [prefix | response 1 | response 2 | ... | response G]
    naive     [prefix | response 1]  [prefix | response 2]  ...  [prefix | response G]

The rows of the copies are as long as one of them, and a micro-batch holds as many tokens, so nothing but the copies is more.
"""

import contextlib
import dataclasses
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from recoder_jax.bench.update import Rival, Update
from recoder_jax.learning.batch import Strand, Tree, split_tree


def check(config: ConfigDict) -> None:
    """Raises ValueError where nothing is shared."""
    if config.kind != "rl" or config.rollout.group < 2:
        raise ValueError(f"--against=naive copies what a group shares, and kind is {config.kind!r}; give an RL config with a group of 2 or more")


def rival_of(update: Update, stack: contextlib.ExitStack, progress: Callable[[str], None]) -> Rival:
    """The naive update of the same groups, ready to step until `stack` closes."""
    alone = [one for tree in update.trees for one in split_tree(tree, 1)]
    trees = [dataclasses.replace(tree, prefix=own(tree.prefix, number)) for number, tree in enumerate(alone)]
    naive = stack.enter_context(Update(naive_config(update.config, trees, update.mesh), 1, trees=trees))
    progress(f"naive: compiled in {naive.compile_seconds:.1f} s")
    work = naive.work()
    return Rival("naive", f"{work['micro_batches']} x {work['rows']} rows of {work['row_tokens']} tokens", naive, work["tokens"], work["flops"])


def own(prefix: Strand, number: int) -> Strand:
    """The prefix with images that no other copy shares."""
    return dataclasses.replace(prefix, images=tuple(dataclasses.replace(image, key=f"{image.key} of copy {number}") for image in prefix.images))


def naive_config(config: ConfigDict, trees: list[Tree], mesh: jax.sharding.Mesh) -> ConfigDict:
    """Rows of one copy each, and micro-batches of at most as many tokens as the config's."""
    config = config.copy_and_resolve_references()
    multiple = 8 if mesh.devices.flat[0].platform == "cpu" else 128  # what attention kernels want
    length = -(-max(tree.size for tree in trees) // multiple) * multiple
    share = mesh.shape["data"] * mesh.shape["fsdp"]
    rows = max(config.batch.rows * config.batch.row_tokens // length // share, 1) * share
    sizes = {"rows": rows, "row_tokens": length, "micro_batches": -(-len(trees) // rows), "least_trained": 1, "least_images": share, "suffixes": 1}
    config.batch.update(sizes)
    return config
