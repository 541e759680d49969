"""Decoding in torch: `generate` of transformers' Qwen2.5-VL on the same cores, compiled by nobody, as its users run it.

Equal to ours: weights, token ids, images, the draw at temperature 1 from the whole vocabulary, and the number of new tokens of every row.
Not equal: each row prefills its whole prompt and images, where ours prefills a prompt once for all its rows; the end token is never drawn.

Torch's threads wait for each other awake, many times a token. All cores are the faster choice on a machine that does nothing else, and
up to a hundred times the slower one where another process takes one of them; so all cores and a single thread are both timed.

    decoder = decoder_of(config, params, prompts, rows=16)
    decoder.last_logits()  # to be compared with ours: times of different policies are not compared
    print(fastest(time_decoding(decoder, new=64, repeats=5)))

Axes: R rows, S tokens of a prompt, N new tokens, V vocabulary.
"""

import dataclasses
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from flax import nnx

from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.models.huggingface import export_policy
from recoder_jax.models.qwen2_5_vl.config import Config

DTYPES = ("float32", "bfloat16")
ATTENTION = "sdpa"


@dataclasses.dataclass(frozen=True)
class Generation:
    """One call of `generate`. seconds: until the tokens are there. core_seconds: that the process had the cores for it, all threads
    together. tokens: int64 [R, N]."""

    seconds: float
    core_seconds: float
    tokens: np.ndarray


@dataclasses.dataclass(frozen=True)
class Decoding:
    """Median seconds of R rows with a number of threads. whole: of a `generate` of `new` tokens a row. first: of a `generate` of one token
    a row, which is the prefill, the images and the first draw. whole_cores, first_cores: the seconds that these had the cores, all threads
    together."""

    threads: int
    rows: int
    prompt: int
    new: int
    whole: float
    first: float
    whole_cores: float
    first_cores: float

    @property
    def step(self) -> float:
        """Seconds of one token of every row after the first."""
        return (self.whole - self.first) / (self.new - 1)

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second, all rows together, the prefill left out."""
        return self.rows / self.step


class TorchDecoder:
    """A model with an exported policy's weights, and a batch of prompts that every call of `generate` begins with."""

    def __init__(self, directory: Path, prompts: Sequence[Tokens], dtype: str, seed: int = 0):
        import torch

        torch.manual_seed(seed)
        self._model = load_model(directory, dtype)
        self._inputs = inputs_of(prompts, self._model.config.image_token_id)
        self.rows, self.prompt = self._inputs["input_ids"].shape

    def generate(self, new: int, threads: int | None = None, sample: bool = True) -> Generation:
        """Decodes `new` tokens for every row: drawn at temperature 1, or the likeliest where `sample` is false. threads: None is one a
        core."""
        import torch

        torch.set_num_threads(threads or cores())
        draw = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {"do_sample": False}
        began, busy = time.perf_counter(), time.process_time()
        out = self._model.generate(**self._inputs, **draw, min_new_tokens=new, max_new_tokens=new, use_cache=True)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
        tokens = out[:, self.prompt :].numpy()
        if tokens.shape != (self.rows, new):
            raise ValueError(f"torch decoded {tokens.shape[1]} tokens a row and {new} were asked for; times of different work are not compared")
        return Generation(seconds, busy, tokens)

    def last_logits(self) -> np.ndarray:
        """Logits float32 [R, V] from which the first new token of every row is drawn."""
        import torch

        with torch.no_grad():
            return self._model(**self._inputs, use_cache=False, logits_to_keep=1).logits[:, -1].float().numpy()


def check(dtype: str, platform: str) -> None:
    """Raises ValueError where there is nothing to compare with. platform: of the devices, such as 'cpu'."""
    if dtype not in DTYPES:
        raise ValueError(f"--against=torch decodes in {' or '.join(DTYPES)}, and model.dtype is {dtype!r}")
    if platform != "cpu":
        raise ValueError(f"--against=torch compares on the cores of a CPU, and the devices are {platform}; set JAX_PLATFORMS=cpu")
    if importlib.util.find_spec("torch") is None:
        raise ValueError("torch is not installed, and --against=torch needs it; pip install -e '.[test]'")


def decoder_of(config: Config, params: nnx.State, prompts: Sequence[Tokens], rows: int, seed: int = 0) -> TorchDecoder:
    """A decoder in `config.dtype` of `rows` rows, in which each of the prompts stands equally often and its copies side by side.

    params: the policy as training holds it, in any dtype. ValueError where the prompts do not fill the rows or differ in length.
    """
    with tempfile.TemporaryDirectory(prefix="recoder-bench-") as folder:
        directory = Path(folder, "policy")
        export_policy(directory, config, params)
        return TorchDecoder(directory, repeated(prompts, rows), config.dtype, seed)


def repeated(prompts: Sequence[Tokens], rows: int) -> list[Tokens]:
    """Each prompt rows / len(prompts) times, its copies side by side, as `generate` lays out several sequences of a prompt."""
    if not prompts or rows < 1 or rows % len(prompts):
        raise ValueError(f"{len(prompts)} prompts cannot stand equally often in {rows} rows; give a multiple")
    return [prompt for prompt in prompts for _ in range(rows // len(prompts))]


def load_model(directory: Path, dtype: str):
    """transformers' model with the weights of a Hugging Face checkpoint in `dtype`, for evaluation."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=getattr(torch, dtype), attn_implementation=ATTENTION)
    return model.eval()


def inputs_of(prompts: Sequence[Tokens], image_id: int) -> dict:
    """What `generate` takes for prompts of one length, with or without images: ids int64 [R, S], a mask of ones, which tokens are of an
    image, and the patches of all images one after another."""
    import torch

    lengths = sorted({len(prompt) for prompt in prompts})
    if len(lengths) != 1:
        raise ValueError(f"prompts of {lengths} tokens do not stand in one batch without padding; give prompts of one length")
    ids = torch.from_numpy(np.stack([prompt.ids for prompt in prompts]).astype(np.int64))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": (ids == image_id).int()}
    images = [image for prompt in prompts for image in prompt.images]
    if images:
        inputs["pixel_values"] = torch.from_numpy(np.concatenate([image.values for image in images]))
        inputs["image_grid_thw"] = torch.tensor([[1, *image.grid] for image in images])
    return inputs


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def time_decoding(
    decoder: TorchDecoder, new: int, repeats: int, threads: Sequence[int] | None = None, progress: Callable[[str], None] = lambda line: None
) -> list[Decoding]:
    """Times `generate` of `new` tokens and of one token, with each number of threads (None: one a core, and one).

    All of them take turns, so that what else the machine does slows each; one turn before them is not counted. ValueError for less than
    two tokens, from which prefill and decoding cannot be told apart.
    """
    if new < 2 or repeats < 1:
        raise ValueError(f"{new} new tokens and {repeats} repeats; give at least 2 and 1")
    counts = sorted(set(threads or (cores(), 1)), reverse=True)
    turns = []
    for number in range(repeats + 1):
        turns.append([(decoder.generate(new, count), decoder.generate(1, count)) for count in counts])
        said = ", ".join(f"{whole.seconds:.3f} s with {count}" for count, (whole, _) in zip(counts, turns[-1], strict=True))
        progress(f"torch, {number} of {repeats}: {said} threads")
    return [decoding(decoder, new, count, turn) for count, turn in zip(counts, zip(*turns[1:], strict=True), strict=True)]


def decoding(decoder: TorchDecoder, new: int, threads: int, pairs: Sequence[tuple[Generation, Generation]]) -> Decoding:
    """Medians of pairs of a whole generation and one of a single token."""
    wholes, firsts = zip(*pairs, strict=True)
    medians = [median(getattr(one, name) for one in part) for name in ("seconds", "core_seconds") for part in (wholes, firsts)]
    return Decoding(threads, decoder.rows, decoder.prompt, new, *medians)


def fastest(decodings: Sequence[Decoding]) -> Decoding:
    """The one whose whole generation takes least."""
    return min(decodings, key=lambda one: one.whole)
