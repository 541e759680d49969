"""The packed batch: dialogues as trees, laid out in rows of tokens, with a weight on every trained token.

Axes: A micro-batches, R rows, S tokens of a row, T trained tokens of a row, I images, W windows, M merged tokens.

SFT and RL are one update, `-sum_t weight_t * surrogate(logprob_t)`; only the weights differ. A tree's prefix stands once in
its row; every suffix attends to it and to itself, never to its siblings (segments; 0 is padding):

    tokens    [ p p p p p | a a a a | b b b | c c c c c | q q q | d d . . ]     two trees in one row
    segment     1 1 1 1 1   2 2 2 2   3 3 3   4 4 4 4 4   5 5 5   6 6 0 0
    prefix      0 0 0 0 0   1 1 1 1   1 1 1   1 1 1 1 1   0 0 0   5 5 0 0
    position    0 1 2 3 4   5 6 7 8   5 6 7   5 6 7 8 9   0 1 2   3 4

A trained token is predicted from the hidden state at its `source`: the token before it, or for the first token of a suffix
the last token of its prefix. Hidden states are gathered there, so logits exist for trained tokens only.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from recoder_jax.dialogue.encoder import Tokens
from recoder_jax.dialogue.images import Patches
from recoder_jax.models.qwen2_5_vl.positions import mrope_positions
from recoder_jax.models.qwen2_5_vl.windows import VisionInputs, vision_inputs, vision_shapes, windows_needed
from recoder_jax.sampling.buckets import power_of_two, quarter_step
from recoder_jax.sampling.layout import image_slots


AGGREGATIONS = ("sequence_mean", "token_mean", "constant")


@dataclasses.dataclass(frozen=True)
class Strand:
    """A run of tokens of one dialogue.

    ids: int32 [n]. images: in the order of their image tokens. trained: bool [n]. logprobs: float32 [n], the sampler's log
    probability of each trained token (0 elsewhere and in SFT). emphasis: float32 [n], what a trained token counts for beside the others;
    None where each counts as one. reference: float32 [n], the log probability of each trained token under the reference policy, and
    anchor: float32 [n], the weight of KL to it; None without a reference.
    """

    ids: np.ndarray
    images: tuple[Patches, ...]
    trained: np.ndarray
    logprobs: np.ndarray
    emphasis: np.ndarray | None = None
    reference: np.ndarray | None = None
    anchor: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Tree:
    """A prefix and the suffixes that continue it; an SFT dialogue is a prefix without suffixes.

    advantages: one a suffix (for a tree without suffixes one, of the prefix's own trained tokens).
    """

    prefix: Strand
    suffixes: tuple[Strand, ...]
    advantages: tuple[float, ...]

    def strands(self) -> list[tuple[Strand, float]]:
        """(strand, advantage) in packed order, the prefix first."""
        if not self.suffixes:
            return [(self.prefix, self.advantages[0])]
        return [(self.prefix, 0.0), *zip(self.suffixes, self.advantages, strict=True)]

    @property
    def size(self) -> int:
        return sum(len(strand.ids) for strand, _ in self.strands())


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """Arrays of one update. tokens, segment, prefix, image_slot: int32 [A, R, S]; positions: int32 [A, 3, R, S];
    source, target, strand: int32 [A, R, T], strand the segment a trained token lies in; weight, advantage, logprob: float32 [A, R, T], weight 0 on padding;
    reference and anchor: float32 [A, R, T], see Strand, 0 without a reference; vision: every image of a micro-batch once, with
    leading axis A."""

    tokens: np.ndarray
    positions: np.ndarray
    segment: np.ndarray
    prefix: np.ndarray
    image_slot: np.ndarray
    vision: VisionInputs
    source: np.ndarray
    target: np.ndarray
    strand: np.ndarray
    weight: np.ndarray
    advantage: np.ndarray
    logprob: np.ndarray
    reference: np.ndarray
    anchor: np.ndarray


@dataclasses.dataclass(frozen=True)
class Shape:
    """Padded sizes of a batch: least number of micro-batches, rows of one and tokens a row from the config; the rest rounded
    up to powers of two times the least, so that few shapes are compiled."""

    micro_batches: int
    rows: int
    row_tokens: int
    least_trained: int = 64
    least_images: int = 1
    least_windows: int = 4


def strand(parts: Sequence[tuple[Tokens, bool, np.ndarray | None]]) -> Strand:
    """Join parts (tokens, trained, log probabilities or None) into one strand."""
    size = [len(tokens.ids) for tokens, *_ in parts]
    return Strand(
        ids=np.concatenate([np.asarray(tokens.ids, np.int32) for tokens, *_ in parts]),
        images=tuple(image for tokens, *_ in parts for image in tokens.images),
        trained=np.repeat([part[1] for part in parts], size),
        logprobs=np.concatenate(
            [np.zeros(n, np.float32) if part[2] is None else np.asarray(part[2], np.float32) for part, n in zip(parts, size)]
        ),
    )


def split_tree(tree: Tree, most: int) -> list[Tree]:
    """The same group as trees of at most `most` suffixes, each with its own copy of the prefix, for rows that hold no more.

    The prefix must carry no loss, so that nothing is trained twice.
    """
    if len(tree.suffixes) <= most:
        return [tree]
    starts = range(0, len(tree.suffixes), most)
    return [Tree(tree.prefix, tree.suffixes[i : i + most], tree.advantages[i : i + most]) for i in starts]


@dataclasses.dataclass(frozen=True)
class Counts:
    """What weights are made from. strands: with a trained token. tokens: trained. mass: sum of their emphasis. size: tokens of all trees."""

    strands: int = 0
    tokens: int = 0
    mass: float = 0.0
    size: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.strands + other.strands, self.tokens + other.tokens, self.mass + other.mass, self.size + other.size)


def counts_of(trees: Sequence[Tree]) -> Counts:
    """The counts of these trees; those of several processes add up."""
    strands = [strand for tree in trees for strand, _ in tree.strands()]
    counts = [int(strand.trained.sum()) for strand in strands]
    mass = sum(_mass(strand) for strand in strands)
    return Counts(sum(count > 0 for count in counts), sum(counts), mass, sum(tree.size for tree in trees))


def token_weights(
    trees: Sequence[Tree], aggregation: str, constant: float = 1.0, counts: Counts | None = None,
) -> list[list[float | np.ndarray]]:
    """Weight of each trained token, one number a strand, from counts over the whole batch of all processes and micro-batches.

    A strand with an emphasis gets one number a trained token, float64: the emphasis, with sums of it in the place of counts, so that the
    weights of the batch, and with sequence_mean those of each strand, have the sum they have without.

    sequence_mean: 1 / (strands * tokens of the strand). token_mean: 1 / tokens of the batch (DAPO, arXiv 2503.14476 eq. 8).
    constant: 1 / (strands * constant); constant 1 is the sum over tokens as MM-ReCoder prints its objective, and a fixed
    length is Dr. GRPO's (arXiv 2503.20783). Strands whose advantage is 0 count, and add nothing. counts: of the whole batch, by default those
    of `trees`.
    """
    whole = counts_of(trees) if counts is None else counts

    def weights(strand: Strand) -> float | np.ndarray:
        if not strand.trained.any():
            return 0.0
        each = 1.0 if strand.emphasis is None else strand.emphasis[strand.trained].astype(np.float64)
        if aggregation == "sequence_mean":
            return each / (whole.strands * _mass(strand))
        if aggregation == "token_mean":
            return each / whole.mass
        return each / (whole.strands * constant * (whole.mass / max(whole.tokens, 1)))

    if aggregation not in AGGREGATIONS:
        raise ValueError(f"aggregation is {aggregation!r}; choose {', '.join(AGGREGATIONS)}")
    return [[weights(strand) for strand, _ in tree.strands()] for tree in trees]


def _mass(strand: Strand) -> int | float:
    """Sum of the emphasis of the trained tokens, their number where each counts as one."""
    return int(strand.trained.sum()) if strand.emphasis is None else float(strand.emphasis[strand.trained].astype(np.float64).sum())


def assign_rows(sizes: Sequence[int], shape: Shape) -> list[list[int]]:
    """Assign trees to rows, the largest first and each into the emptiest row: [A * R] lists of tree indices.

    A is `shape.micro_batches`, or as many as it takes. Raises ValueError for a tree that is longer than a row.
    """
    if max(sizes, default=0) > shape.row_tokens:
        raise ValueError(f"a tree of {max(sizes)} tokens does not fit a row of {shape.row_tokens}; raise batch.row_tokens or shorten responses")
    parts = shape.micro_batches
    while (rows := _fill(sizes, parts * shape.rows, shape.row_tokens)) is None:
        parts += 1
    return rows


def _fill(sizes: Sequence[int], count: int, row_tokens: int) -> list[list[int]] | None:
    """Trees in `count` rows, or None when they do not fit."""
    rows, free = [[] for _ in range(count)], [row_tokens] * count
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        emptiest = max(range(count), key=lambda row: (free[row], -row))
        if free[emptiest] < sizes[index]:
            return None
        rows[emptiest].append(index)
        free[emptiest] -= sizes[index]
    return [sorted(row) for row in rows]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where trees go, and the sizes of the batch that holds them. micro: tree indices [A][R][...]; images: of each micro-batch, by
    content key; trained, image_count, windows: T, I, W of the module docstring."""

    micro: list[list[list[int]]]
    images: list[dict]
    trained: int
    image_count: int
    windows: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """A, T, I, W: what all processes must agree on."""
        return len(self.micro), self.trained, self.image_count, self.windows

    def grown(self, sizes: Sequence[int]) -> "Layout":
        """The same in a batch of these sizes, none smaller than its own; micro-batches that are added are empty."""
        parts, trained, images, windows = sizes
        more = parts - len(self.micro)
        return Layout(self.micro + [[[] for _ in self.micro[0]]] * more, self.images + [{}] * more, trained, images, windows)


def layout(trees: Sequence[Tree], shape: Shape) -> Layout:
    """Rows of every tree, and padded sizes. Every tree must fit one row of `shape.row_tokens` tokens."""
    rows = assign_rows([tree.size for tree in trees], shape)
    micro = [rows[a * shape.rows : (a + 1) * shape.rows] for a in range(len(rows) // shape.rows)]
    images = [{image.key: image for row in part for t in row for s, _ in trees[t].strands() for image in s.images} for part in micro]
    count = power_of_two(max(map(len, images)), shape.least_images)
    grids = [windows_needed(image.grid) for part in images for image in part.values()]
    trained = max(sum(int(s.trained.sum()) for t in row for s, _ in trees[t].strands()) for row in rows)
    windows = quarter_step(max(grids, default=1), shape.least_windows)
    return Layout(micro, images, power_of_two(trained, shape.least_trained), count, windows)


def row_segments(trees: Sequence[Tree], size: int) -> tuple[np.ndarray, np.ndarray]:
    """segment and prefix of one row, int32 [size]."""
    segment, prefix = np.zeros(size, np.int32), np.zeros(size, np.int32)
    at = number = 0
    for tree in trees:
        own = number + 1
        for index, (piece, _) in enumerate(tree.strands()):
            number += 1
            segment[at : at + len(piece.ids)] = number
            prefix[at : at + len(piece.ids)] = own if index else 0
            at += len(piece.ids)
    return segment, prefix


def abstract_batch(trees: Sequence[Tree], shape: Shape) -> Batch:
    """The shapes and dtypes of what `pack` returns; reads no pixels."""
    laid = layout(trees, shape)
    parts, row = len(laid.micro), _lay_row([], shape.row_tokens, laid.trained, {}, 0)
    vision = vision_shapes(laid.image_count, laid.windows, laid.windows * 16)
    arrays = {name: jax.ShapeDtypeStruct((parts, *x.shape[:-1], shape.rows, x.shape[-1]), x.dtype) for name, x in row.items()}
    return Batch(**arrays, vision=jax.tree.map(lambda x: jax.ShapeDtypeStruct((parts, *x.shape), x.dtype), vision))


def pack(
    trees: Sequence[Tree], weights: list[list[float | np.ndarray]], shape: Shape, image_id: int, where: Layout | None = None, process: int = 0,
) -> Batch:
    """Lay trees out in rows. Every tree must fit one row of `shape.row_tokens` tokens.

    where: by default what `layout` says. process: this one's number; its images stand behind those of the processes before it.
    """
    where, parts = layout(trees, shape) if where is None else where, []
    trained, count, windows = where.trained, where.image_count, where.windows
    images = [image for unique in where.images for image in unique.values()]
    shapes = vision_shapes(count, windows, windows * 16, *[image.values.shape[1] for image in images[:1]])
    vision = jax.tree.map(lambda leaf: np.zeros((len(where.micro), *leaf.shape), leaf.dtype), shapes)  # once: patches are the bulk of a batch
    for number, (part, unique) in enumerate(zip(where.micro, where.images, strict=True)):
        place = {key: (process * count + index) * windows * 16 for index, key in enumerate(unique)}
        laid = [_lay_row([(trees[t], weights[t]) for t in row], shape.row_tokens, trained, place, image_id) for row in part]
        vision_inputs(list(unique.values()), count, windows, windows * 16, jax.tree.map(lambda leaf: leaf[number], vision))
        parts.append({name: np.stack([row[name] for row in laid], axis=1 if name == "positions" else 0) for name in laid[0]})
    return Batch(**{name: np.stack([part[name] for part in parts]) for name in parts[0]}, vision=vision)


def unpack(values: np.ndarray, trees: Sequence[Tree], where: Layout) -> list[list[np.ndarray]]:
    """Numbers [A, R, T] of trained tokens as they belong to strands, the inverse of `pack`: one array [n] a strand of each tree, 0 on
    tokens that are not trained."""
    found: list[list[np.ndarray]] = [[] for _ in trees]
    for part, rows in zip(values, where.micro, strict=True):
        for line, row in zip(part, rows, strict=True):
            done = 0
            for t in row:
                for strand, _ in trees[t].strands():
                    own, count = np.zeros(len(strand.ids), values.dtype), int(strand.trained.sum())
                    own[strand.trained] = line[done : done + count]
                    found[t].append(own)
                    done += count
    return found


def _lay_row(trees, size: int, trained: int, place: dict[str, int], image_id: int) -> dict[str, np.ndarray]:
    """One row: token arrays [S] (positions [3, S]) and trained-token arrays [T], by the names of Batch."""
    row = dict(zip(("segment", "prefix"), row_segments([tree for tree, _ in trees], size), strict=True))
    row["tokens"] = np.zeros(size, np.int32)
    row["positions"] = np.zeros((3, size), np.int32)
    row["image_slot"] = np.full(size, -1, np.int32)
    row |= {name: np.zeros(trained, np.int32) for name in ("source", "target", "strand")}
    row |= {name: np.zeros(trained, np.float32) for name in ("weight", "advantage", "logprob", "reference", "anchor")}
    at, segment, done = 0, 0, 0
    for tree, weights in trees:
        prefix_end, start = at + len(tree.prefix.ids) - 1, 0
        for index, ((strand, advantage), weight) in enumerate(zip(tree.strands(), weights, strict=True)):
            n, segment = len(strand.ids), segment + 1
            span = slice(at, at + n)
            row["tokens"][span] = strand.ids
            grids = [image.grid for image in strand.images]
            row["positions"][:, span], following = mrope_positions(strand.ids, grids, image_id, start)
            row["image_slot"][span] = image_slots(strand.ids, grids, [place[image.key] for image in strand.images], image_id)
            where = np.flatnonzero(strand.trained)
            source = at + where - 1
            if index:
                source[where == 0] = prefix_end
            elif len(where) and where[0] == 0:
                raise ValueError("the first token of a dialogue is trained, and nothing stands before it to predict it")
            span = slice(done, done + len(where))
            row["source"][span], row["target"][span], row["strand"][span] = source, strand.ids[where], segment
            row["weight"][span], row["advantage"][span], row["logprob"][span] = weight, advantage, strand.logprobs[where]
            if strand.anchor is not None:
                row["reference"][span], row["anchor"][span] = strand.reference[where], strand.anchor[where]
            at, done = at + n, done + len(where)
            start = following if index == 0 else start
    return row
