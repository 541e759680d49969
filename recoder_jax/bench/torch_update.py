"""The same update in torch: transformers' Qwen2.5-VL in float32 on the same cores, compiled by nobody, as its users run it.

Equal to ours: weights, token ids, images, trained tokens and their weights, AdamW with its decayed matrices, clipping, rates.
The dialogues stand as one batch of rows, their positions computed beforehand, as ours are; logits exist for trained tokens only.
"""

import dataclasses
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from recoder_jax.bench.update import Rival, Step, Update
from recoder_jax.learning.batch import Tree, token_weights
from recoder_jax.models.huggingface import export_policy

ATTENTIONS = ("sdpa", "eager")
OPTIMIZERS = ("fused", "foreach")
_TRIALS = 3  # steps of a variant; the first is not counted


def check(config: ConfigDict, platform: str) -> None:
    """Raises ValueError where there is nothing to compare with. platform: of the devices, such as 'cpu'."""
    if config.kind != "sft":
        raise ValueError("--against=torch trains dialogues, and kind is 'rl'; give an SFT config")
    if {config.model.dtype, config.model.param_dtype, config.optimizer.moment_dtype} != {"float32"}:
        raise ValueError("--against=torch compares in float32; set model.dtype, model.param_dtype and optimizer.moment_dtype to float32")
    if platform != "cpu":
        raise ValueError(f"--against=torch compares on the cores of a CPU, and the devices are {platform}; set JAX_PLATFORMS=cpu")
    if importlib.util.find_spec("torch") is None:
        raise ValueError("torch is not installed, and --against=torch needs it; pip install -e '.[test]'")


@dataclasses.dataclass(frozen=True)
class Part:
    """Tensors of a micro-batch of N dialogues of S tokens with M trained tokens. inputs: of transformers' model. row, source:
    int64 [M], where a trained token is predicted. target: int64 [M]. weight: float32 [M]."""

    inputs: dict
    row: object
    source: object
    target: object
    weight: object


class TorchUpdate:
    """A model with an exported policy's weights, its optimizer and one batch; every step trains on that batch."""

    def __init__(self, directory: Path, update: Update, attention: str, optimizer: str):
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        config = update.config
        self._clip, self._rate, self._done = config.optimizer.clip_norm, update.learner.rate, 0
        self._model = load_model(directory, attention)
        if config.model.remat != "none":
            self._model.gradient_checkpointing_enable()
        self._model.model.visual.requires_grad_(config.optimizer.train_vision)
        self._parameters = [p for p in self._model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            decay_groups(self._model, config.optimizer.weight_decay), lr=1.0, betas=(config.optimizer.b1, config.optimizer.b2),
            eps=1e-8, **{optimizer: True},
        )
        weights = [tree[0] for tree in token_weights(update.trees, config.objective.aggregation, config.objective.constant)]
        cuts = np.array_split(np.arange(len(update.trees)), min(config.batch.micro_batches, len(update.trees)))
        self._parts = [part_of([update.trees[i] for i in cut], [weights[i] for i in cut], self._model) for cut in cuts]

    def step(self) -> Step:
        """Trains once on the batch."""
        import torch

        rate = float(self._rate(self._done))
        began, cores = time.perf_counter(), time.process_time()
        self._optimizer.zero_grad(set_to_none=True)
        loss = sum(self._backward(part) for part in self._parts) / sum(len(part.target) for part in self._parts)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._clip))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._done += 1
        return Step(time.perf_counter() - began, time.process_time() - cores, loss, norm)

    def _backward(self, part: Part) -> float:
        """Adds a part's gradient; the sum of -log p over its trained tokens."""
        import torch

        hidden = self._model.model(**part.inputs, use_cache=False).last_hidden_state[part.row, part.source]
        nll = torch.nn.functional.cross_entropy(self._model.lm_head(hidden), part.target, reduction="none")
        (part.weight * nll).sum().backward()
        return float(nll.detach().sum())


def load_model(directory: Path, attention: str):
    """transformers' model with the weights of a Hugging Face checkpoint, float32, in training mode."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=torch.float32, attn_implementation=attention)
    return model.train()


def decay_groups(model, weight_decay: float) -> list[dict]:
    """Parameter groups of AdamW: matrices decay; embeddings (and a head tied to them), norms and biases do not."""
    import torch

    table = model.get_input_embeddings().weight
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv3d)) and m.weight is not table}
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]


def part_of(trees: Sequence[Tree], weights: Sequence[float], model) -> Part:
    """Dialogues, one a row and all of one length; `weights` has the weight of a trained token of each."""
    import torch

    strands = [tree.prefix for tree in trees]
    ids = torch.from_numpy(np.stack([strand.ids for strand in strands]).astype(np.int64))
    row, column = np.nonzero(np.stack([strand.trained for strand in strands]))
    images = [image for strand in strands for image in strand.images]
    grids = torch.tensor([[1, *image.grid] for image in images])
    kinds = (ids == model.config.image_token_id).int()
    positions, _ = model.model.get_rope_index(ids, kinds, image_grid_thw=grids, attention_mask=torch.ones_like(ids))
    inputs = {
        "input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds, "position_ids": positions,
        "pixel_values": torch.from_numpy(np.concatenate([image.values for image in images])), "image_grid_thw": grids,
    }
    row, column = torch.from_numpy(row), torch.from_numpy(column)
    return Part(inputs, row, column - 1, ids[row, column], torch.tensor(weights, dtype=torch.float32)[row])


def fastest(update: Update, progress: Callable[[str], None]) -> Rival:
    """Times the attentions, then the optimizers with the faster attention, and starts the best of them from the first weights."""
    trials: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory(prefix="recoder-bench-") as folder:
        directory = Path(folder, "policy")
        export_policy(directory, update.policy.config, update.initial_params())

        def best(attentions: Sequence[str], optimizers: Sequence[str]) -> tuple[str, str]:
            choices = [(attention, optimizer) for attention in attentions for optimizer in optimizers]
            for choice in choices:
                if choice not in trials:
                    one = TorchUpdate(directory, update, *choice)
                    trials[choice] = min([one.step().seconds for _ in range(_TRIALS)][1:])
                    del one  # its weights and moments, before the next ones come
                    progress(f"torch, {' attention, '.join(choice)} AdamW: {trials[choice]:.3f} s")
            return min(choices, key=trials.get)

        attention, _ = best(ATTENTIONS, OPTIMIZERS[:1])
        choice = best([attention], OPTIMIZERS)
        rival = TorchUpdate(directory, update, *choice)
    work, named = update.work(), {", ".join(name): seconds for name, seconds in trials.items()}
    return Rival("torch", f"{choice[0]} attention, {choice[1]} AdamW", rival, work["tokens"], work["flops"], named)
