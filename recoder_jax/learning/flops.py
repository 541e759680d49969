"""The FLOP rule of MFU: two FLOPs a multiply-add of the weights and of attention; recomputation, padding and hidden keys not counted.

A forward pass counts every token of a tree once, the shared prefix once for all its suffixes, the context of a token as what it can
see, the head for trained tokens, and every image once a tree. Training is three forward passes, less two thirds of a vision tower that
is held.
"""

from collections.abc import Sequence

from recoder_jax.learning.batch import Tree
from recoder_jax.models.qwen2_5_vl.config import Config


def forward_flops(trees: Sequence[Tree], config: Config) -> tuple[float, float]:
    """FLOPs of a forward pass over trees: (decoder and head, vision tower)."""
    text = vision = 0.0
    head = config.flops_per_token(0) - config.flops_per_token(0, logits=False)
    for tree in trees:
        before = 0
        for index, (strand, _) in enumerate(tree.strands()):
            count = len(strand.ids)
            text += count * config.flops_per_token(before + (count + 1) / 2, logits=False) + int(strand.trained.sum()) * head
            vision += sum(config.flops_per_image(image.grid[0] * image.grid[1]) for image in strand.images)
            before = len(tree.prefix.ids) if index == 0 else before
    return text, vision


def training_flops(trees: Sequence[Tree], config: Config, train_vision: bool = True) -> float:
    """FLOPs of forward and backward passes over trees, on all chips."""
    text, vision = forward_flops(trees, config)
    return 3 * text + (3 if train_vision else 1) * vision
